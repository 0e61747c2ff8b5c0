package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func yamlConfig(t *testing.T, src string) *Config {
	t.Helper()
	return mustLoad(t, files{"c.yaml": src}, "c.yaml")
}

// TestVoters: servers, else the first 1, 3 or 5 of distributed, else of the
// sync lists and self; an arbiter besides; never two.
func TestVoters(t *testing.T) {
	dist := func(names string) string { return "distributed: [{app: a, nodes: [" + names + "]}]\n" }
	for _, tt := range []struct{ src, self, want string }{
		{dist("a@h"), "a@h", "[a@h]"},
		{dist("b@h, a@h"), "a@h", "two"},
		{dist("c@h, [b@h, a@h]"), "x@h", "[a@h, b@h, c@h]"},
		{dist("d@h, c@h, b@h, a@h"), "d@h", "[a@h, b@h, c@h]"},
		{dist("e@h, d@h, c@h, b@h, a@h, f@h"), "f@h", "[a@h, b@h, c@h, d@h, e@h]"},
		{dist("a@h, b@h") + "arbiter: z@h", "a@h", "[a@h, b@h, z@h]"},
		{dist("a@h, b@h, c@h") + "arbiter: z@h", "a@h", "[a@h, b@h, z@h]"},
		{dist("a@h, b@h, c@h, d@h") + "arbiter: z@h", "a@h", "[a@h, b@h, c@h, d@h, z@h]"},
		{dist("a@h") + "arbiter: z@h", "a@h", "two"},
		{dist("a@h, b@h, c@h") + "servers: [c@h]", "a@h", "[c@h]"},
		{dist("a@h, b@h") + "servers: [y@h, x@h, a@h]", "a@h", "[a@h, x@h, y@h]"},
		{"servers: [a@h, b@h]\narbiter: z@h", "a@h", "[a@h, b@h, z@h]"},
		{"sync: {mandatory: [b@h], optional: [c@h], timeout: 1s}", "a@h", "[a@h, b@h, c@h]"},
		{"sync: {mandatory: [b@h], timeout: 1s}", "a@h", "two"},
		{"", "a@h", "[a@h]"},
		{"", "", "[]"},
	} {
		c := yamlConfig(t, tt.src)
		voters, err := c.Voters(node.Name(tt.self))
		got := nodeText(voters)
		if errors.Is(err, ErrTwoVoters) {
			got = "two"
		} else if err != nil {
			t.Error(err)
		}
		if got != tt.want {
			t.Errorf("%q as %s: voters %s, want %s", tt.src, tt.self, got, tt.want)
		}
	}
}

func TestTwoVotersPointsAtDistributed(t *testing.T) {
	_, err := yamlConfig(t, "lease: 3s\ndistributed:\n  - {app: a, nodes: [a@h, b@h]}").Voters("a@h")
	d, ok := errors.AsType[Diagnostic](err)
	if !ok || d.Position != (Position{"c.yaml", 3, 3}) || !strings.Contains(d.Hint, "arbiter") {
		t.Errorf("error %#v", err)
	}
}

func portMap(t *testing.T, c *Config, self node.Name, resolve func(string) (string, error)) string {
	t.Helper()
	addresses, err := c.PortMap(self, resolve)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&b, "%s %s %s\n", a.Node, a.Client, a.Cluster)
	}
	return b.String()
}

// TestPortMap: each host counts its own nodes, in the order of their names.
func TestPortMap(t *testing.T) {
	c := yamlConfig(t, `
distributed: [{app: a, nodes: [b@h1, a@h1, c@h2]}]
arbiter: z@h2
sync: {optional: [aa@h2], timeout: 1s}
hosts: {h2: "::1"}
addresses: {b@h1: {client: "pub:99"}}
`)
	want := "a@h1 h1:4222 h1:6222\naa@h2 [::1]:4222 [::1]:6222\nb@h1 pub:99 h1:6223\nc@h2 [::1]:4223 [::1]:6223\nz@h2 [::1]:4224 [::1]:6224\n"
	if got := portMap(t, c, "x@h1", nil); got != want {
		t.Errorf("port map\n%s, want\n%s", got, want)
	}
	c.OverrideHosts(Host{"h2", "10.0.0.2"}, Host{"h1", "10.0.0.1"})
	same := func(string) (string, error) { return "one machine", nil }
	want = "a@h1 10.0.0.1:4222 10.0.0.1:6222\naa@h2 10.0.0.2:4223 10.0.0.2:6223\nb@h1 pub:99 10.0.0.1:6224\nc@h2 10.0.0.2:4225 10.0.0.2:6225\nz@h2 10.0.0.2:4226 10.0.0.2:6226\n"
	if got := portMap(t, c, "", same); got != want {
		t.Errorf("port map of one machine\n%s, want\n%s", got, want)
	}
	failing := func(h string) (string, error) { return "", errors.New("no such host") }
	if got := portMap(t, c, "", failing); got != `resolve host "10.0.0.1" of a@h1: no such host` {
		t.Errorf("failed resolution: %s", got)
	}
}

// TestPortMapOfSelf: with nothing distributed a node isn't in its own lists,
// yet all nodes must count alike.
func TestPortMapOfSelf(t *testing.T) {
	a := yamlConfig(t, "sync: {mandatory: [b@h, c@h], timeout: 1s}")
	b := yamlConfig(t, "sync: {mandatory: [a@h, c@h], timeout: 1s}")
	if x, y := portMap(t, a, "a@h", nil), portMap(t, b, "b@h", nil); x != y || strings.Count(x, "\n") != 3 {
		t.Errorf("as a:\n%s, as b:\n%s", x, y)
	}
	if diffs := Compare(a, b); len(diffs) > 0 {
		t.Errorf("Compare: %v", diffs)
	}
}

func TestPortMapRefusesCollisions(t *testing.T) {
	near := yamlConfig(t, "distributed: [{app: a, nodes: [a@h, b@h, c@h]}]\nports: {client: 4222, cluster: 4224}")
	if got := portMap(t, near, "", nil); !strings.HasPrefix(got, "a@h and c@h would both use h:4224") {
		t.Errorf("near bases: %s", got)
	}
	high := yamlConfig(t, "distributed: [{app: a, nodes: [a@h, b@h, c@h]}]\nports: {client: 65534}")
	if got := portMap(t, high, "", nil); !strings.HasPrefix(got, "no port left for c@h") {
		t.Errorf("high base: %s", got)
	}
}

// TestTiming: the defaults of both modes fit; a lease that is too short is an
// error where it is said.
func TestTiming(t *testing.T) {
	c := yamlConfig(t, "")
	embedded, err := c.Timing(false)
	if err != nil || embedded != policy.NewLease(policy.EmbeddedTTL, policy.EmbeddedKVOutage) {
		t.Errorf("embedded %+v, %v", embedded, err)
	}
	external, err := c.Timing(true)
	if err != nil || external.TTL != policy.ExternalTTL || external.KVOutage != policy.ExternalKVOutage {
		t.Errorf("external %+v, %v", external, err)
	}
	_, err = yamlConfig(t, "\nlease: 2s").Timing(false)
	if d, ok := errors.AsType[Diagnostic](err); !ok || d.Position != (Position{"c.yaml", 2, 8}) {
		t.Errorf("short lease: %v", err)
	}
	_, err = yamlConfig(t, "kv_outage: 9s").Timing(false)
	if d, ok := errors.AsType[Diagnostic](err); !ok || d.Position != (Position{"c.yaml", 1, 12}) {
		t.Errorf("long outage: %v", err)
	}
	l, err := yamlConfig(t, "lease: 2s\nkv_outage: 500ms").Timing(false)
	if err != nil || l.TTL != 2*time.Second || l.KVOutage != 500*time.Millisecond {
		t.Errorf("short lease and outage: %+v, %v", l, err)
	}
}

// TestDigest: what nodes must agree on changes it, nothing else does.
func TestDigest(t *testing.T) {
	const base = "distributed: [{app: a, timeout: 1s, nodes: [a@h, [b@h, c@h]]}, {app: b, nodes: [a@h]}]\n"
	voters := []node.Name{"a@h", "b@h", "c@h"}
	digest := func(src string) string { return yamlConfig(t, src).Digest("default", voters) }
	want := digest(base)
	for _, equal := range []string{
		"distributed: [{app: b, nodes: [a@h]}, {app: a, timeout: 1s, nodes: [a@h, [c@h, b@h]]}]",
		base + "apps: {a: {command: [x], env: {A: b}, restart: {max: 1}}, c: }\nlease: 5s\nsync: {mandatory: [b@h], timeout: 1s}",
	} {
		if got := digest(equal); got != want {
			t.Errorf("%q: another digest", equal)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "1s", "2s", 1),
		strings.Replace(base, "[b@h, c@h]", "b@h, c@h", 1),
		base + "apps: {a: {takeover: never}}",
		base + "apps: {a: {start_phases: [x]}}",
		base + "apps: {a: {start_type: otp}}",
		"",
	} {
		if digest(other) == want {
			t.Errorf("%q: the same digest", other)
		}
	}
	c := yamlConfig(t, base)
	if c.Digest("other", voters) == want || c.Digest("default", voters[:1]) == want {
		t.Error("cluster or voters don't count")
	}
	turned := slices.Clone(voters)
	slices.Reverse(turned)
	if c.Digest("default", turned) != want {
		t.Error("the order of voters counts")
	}
}

// TestCompare: B-10 wants a readable difference of order, sets, Timeout and
// phases.
func TestCompare(t *testing.T) {
	const base = "distributed: [{app: a, timeout: 1s, nodes: [a@h, [b@h, c@h]]}]\n"
	for _, tt := range []struct{ other, want string }{
		{base, ""},
		{"distributed: [{app: a, timeout: 1s, nodes: [a@h, [c@h, b@h]]}]\n", ""},
		{"distributed: [{app: a, timeout: 2s, nodes: [b@h, [a@h, c@h]]}]\n", "a: order differs: [a@h, {b@h, c@h}] and [b@h, {a@h, c@h}]\na: timeout differs: 1s and 2s\n"},
		{"distributed: [{app: a, timeout: infinity, nodes: [a@h, b@h, c@h]}]\n", "a: equals differs: [a@h, {b@h, c@h}] and [a@h, b@h, c@h]\na: timeout differs: 1s and infinity\n"},
		{"distributed: [{app: a, timeout: 1s, nodes: [a@h, [b@h, d@h]]}]\n", "a: list differs: [a@h, {b@h, c@h}] and [a@h, {b@h, d@h}]\nvoters differs: [a@h, b@h, c@h] and [a@h, b@h, d@h]\n"},
		{base + "apps: {a: {takeover: never, start_phases: [x, {y: 1}], start_type: otp}}", "a: takeover differs: exclusive and never\na: start_phases differs: [] and [x, y 1]\n"},
		{base + "apps: {a: {start_type: otp}}\nservers: [b@h]", "a: start_type differs: full and otp\nvoters differs: [a@h, b@h, c@h] and [b@h]\n"},
		{base + "ports: {client: 5222}\nhosts: {h: i}", "address of a@h differs: h:4222 h:6222 and i:5222 i:6222\naddress of b@h differs: h:4223 h:6223 and i:5223 i:6223\naddress of c@h differs: h:4224 h:6224 and i:5224 i:6224\n"},
		{"distributed: [{app: b, nodes: [a@h, b@h, c@h]}]", "a: list differs: [a@h, {b@h, c@h}] and not distributed\nb: list differs: not distributed and [a@h, b@h, c@h]\n"},
	} {
		var b strings.Builder
		for _, d := range Compare(yamlConfig(t, base), yamlConfig(t, tt.other)) {
			fmt.Fprintln(&b, d)
		}
		if b.String() != tt.want {
			t.Errorf("%q:\n%s, want\n%s", tt.other, b.String(), tt.want)
		}
	}
}

// TestCheckNode: a node is of the configuration's kind of names, and one in
// distributed isn't hidden (B-18).
func TestCheckNode(t *testing.T) {
	c := yamlConfig(t, "sync: {mandatory: [m@h], timeout: 1s}\ndistributed: [{app: a, nodes: [n@h]}]")
	for _, tt := range []struct {
		self   node.Name
		hidden bool
		want   string
	}{
		{"n@h", false, ""},
		{"x@h", true, ""},
		{"m@h", true, ""},
		{"n@h", true, "c.yaml:2:32: n@h is hidden and can't be in distributed"},
		{"n@h.example.org", false, "c.yaml:2:32: n@h is a short name, but this node's, n@h.example.org, is a long one"},
	} {
		got := ""
		if err := c.CheckNode(tt.self, tt.hidden); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s, hidden %t: %q, want %q", tt.self, tt.hidden, got, tt.want)
		}
	}
	if err := yamlConfig(t, "").CheckNode("n@h.example.org", true); err != nil {
		t.Error(err)
	}
}
