package manager

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
)

// configured reads a configuration in YAML.
func configured(t *testing.T, yaml string) *Config {
	t.Helper()
	cfg, err := config.Load(func(string) ([]byte, error) { return []byte(yaml), nil }, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const threeNodes = `
sync: {mandatory: [node1@lxw, node2@lxw, node3@lxw], timeout: 5s}
distributed:
  - {app: myapp, timeout: 5s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
hosts: {lxw: 127.0.0.1}
apps: {myapp: {command: [sleep, "1000"], args: {a: 1}, restart: {max: 2}}, here: {command: [cat]}}
permissions: {myapp: false}
`

func planned(t *testing.T, o Options, yaml string) plan {
	t.Helper()
	o.Config = configured(t, yaml)
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n.plan
}

func TestPlanOfAVoter(t *testing.T) {
	p := planned(t, Options{Name: "node2@lxw"}, threeNodes)
	if !p.voter || len(p.voters) != 3 || !slices.Equal(p.firstBoot, p.voters) || p.external {
		t.Errorf("voter %t of %v, first boot %v", p.voter, p.voters, p.firstBoot)
	}
	if want := []string{"tls://127.0.0.1:4223", "tls://127.0.0.1:4222", "tls://127.0.0.1:4224"}; !slices.Equal(p.clientURLs, want) {
		t.Errorf("servers %v, want its own first: %v", p.clientURLs, want)
	}
	if v := p.server.Voters; len(v) != 3 || v[2] != (embedded.Peer{Name: "node3@lxw", ClusterAddr: "127.0.0.1:6224"}) {
		t.Errorf("voters of the server: %v", v)
	}
	if p.lease.TTL != policy.EmbeddedTTL {
		t.Errorf("lease %v", p.lease.TTL)
	}
}

func TestPlanOfAClient(t *testing.T) {
	p := planned(t, Options{Name: "extra@lxw"}, threeNodes)
	if p.voter || p.server.Name != "" || len(p.clientURLs) != 3 {
		t.Errorf("voter %t, server %q, servers %v", p.voter, p.server.Name, p.clientURLs)
	}
	if voter := planned(t, Options{Name: "node1@lxw"}, threeNodes); voter.digest != p.digest {
		t.Error("nodes with one configuration have different digests")
	}
	if other := planned(t, Options{Name: "node1@lxw", Cluster: "other"}, threeNodes); other.digest == p.digest {
		t.Error("clusters of different names have one digest")
	}
}

func TestPlanWithoutDistribution(t *testing.T) {
	p := planned(t, Options{Name: "solo@localhost"}, `apps: {here: {command: [cat]}}`)
	if !p.voter || len(p.voters) != 1 || len(p.clientURLs) != 1 {
		t.Errorf("voter %t of %v at %v", p.voter, p.voters, p.clientURLs)
	}
}

func TestPlanOnExternalServers(t *testing.T) {
	p := planned(t, Options{Name: "node1@lxw", Server: "nats://a:4222, nats://b:4222"}, threeNodes)
	if p.voter || !p.external || !slices.Equal(p.clientURLs, []string{"nats://a:4222", "nats://b:4222"}) || len(p.firstBoot) != 3 {
		t.Errorf("voter %t, external %t, servers %v, first boot %v", p.voter, p.external, p.clientURLs, p.firstBoot)
	}
	if p.lease.TTL != policy.ExternalTTL {
		t.Errorf("lease %v", p.lease.TTL)
	}
}

// What a node binds: its own address where the configuration tells it, else all
// interfaces, and what the flags say before that. What others dial comes from
// the configuration alone.
func TestWhatANodeBinds(t *testing.T) {
	one := func(host, more string) string {
		return fmt.Sprintf("distributed: [{app: a, timeout: 0s, nodes: [n@%s]}]\n%s", host, more)
	}
	for _, c := range []struct {
		what, host, more         string
		listen, clusterListen    string
		client, cluster          string // bound
		dialClient, dialClusters string // advertised
	}{
		{"nothing told", "localhost", "", "", "",
			"0.0.0.0:4222", "0.0.0.0:6222", "localhost:4222", "localhost:6222"},
		{"nothing told, a long name that is IPv6", "localhost", "hosts: {localhost: \"::1\"}", "", "",
			"[::1]:4222", "[::1]:6222", "[::1]:4222", "[::1]:6222"},
		{"its host", "h", "hosts: {h: 127.0.0.9}", "", "",
			"127.0.0.9:4222", "127.0.0.9:6222", "127.0.0.9:4222", "127.0.0.9:6222"},
		{"its addresses", "h", `addresses: {n@h: {client: "127.0.0.9:1", cluster: "127.0.0.9:2"}}` + "\nhosts: {h: 127.0.0.8}", "", "",
			"127.0.0.9:1", "127.0.0.9:2", "127.0.0.9:1", "127.0.0.9:2"},
		{"one of its addresses", "localhost", `addresses: {n@localhost: {client: "127.0.0.9:1"}}`, "", "",
			"127.0.0.9:1", "0.0.0.0:6222", "127.0.0.9:1", "localhost:6222"},
		{"another node's addresses", "localhost", `addresses: {m@localhost: {client: "127.0.0.9:1", cluster: "127.0.0.9:2"}}`, "", "",
			"0.0.0.0:4223", "0.0.0.0:6223", "localhost:4223", "localhost:6223"},
		{"flags", "h", "hosts: {h: 127.0.0.9}", "10.0.0.1:7", "10.0.0.1:8",
			"10.0.0.1:7", "10.0.0.1:8", "127.0.0.9:4222", "127.0.0.9:6222"},
		{"one flag", "localhost", "", "", "10.0.0.1:8",
			"0.0.0.0:4222", "10.0.0.1:8", "localhost:4222", "localhost:6222"},
		{"other bases", "h", "hosts: {h: 127.0.0.9}\nports: {client: 5000, cluster: 7000}", "", "",
			"127.0.0.9:5000", "127.0.0.9:7000", "127.0.0.9:5000", "127.0.0.9:7000"},
	} {
		s := planned(t, Options{Name: "n@" + c.host, Listen: c.listen, ClusterListen: c.clusterListen}, one(c.host, c.more)).server
		if s.ClientListen != c.client || s.ClusterListen != c.cluster {
			t.Errorf("%s: binds %s and %s, want %s and %s", c.what, s.ClientListen, s.ClusterListen, c.client, c.cluster)
		}
		if s.ClientAdvertise != c.dialClient || s.ClusterAdvertise != c.dialClusters {
			t.Errorf("%s: is dialled at %s and %s, want %s and %s", c.what, s.ClientAdvertise, s.ClusterAdvertise, c.dialClient, c.dialClusters)
		}
		host, _, _ := strings.Cut(c.dialClient, ":")
		if !strings.HasPrefix(c.dialClient, "[") && !slices.Contains(s.Hosts, host) {
			t.Errorf("%s: its certificate is for %v", c.what, s.Hosts)
		}
	}
}

func TestAllInterfaces(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1:1":            "0.0.0.0:1",
		"[2001:db8::1]:1":       "[::]:1",
		"no-such.invalid:1":     "0.0.0.0:1",
		"without a port at all": "without a port at all",
	} {
		if got := anyHost(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// What is wrong is said before anything is touched, with the place in the file
// where there is one.
func TestPlansThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		what string
		opts Options
		yaml string
		is   error
		want string
	}{
		{"no configuration", Options{Name: self}, "", ErrOptions, "no configuration"},
		{"no name", Options{}, threeNodes, ErrOptions, ""},
		{"a name without host", Options{Name: "node1"}, threeNodes, ErrOptions, "node1"},
		{"cluster name", Options{Name: self, Cluster: "a b"}, threeNodes, ErrOptions, "a b"},
		{"long name in a short cluster", Options{Name: "n@a.b"}, threeNodes, ErrConfig, "cluster.yaml:4:39"},
		{"hidden and distributed", Options{Name: self, Hidden: true}, threeNodes, ErrConfig, "cluster.yaml:"},
		{"two voters", Options{Name: self}, "distributed:\n  - {app: a, timeout: 0s, nodes: [node1@lxw, node2@lxw]}\nhosts: {lxw: 127.0.0.1}", ErrConfig, "cluster.yaml:"},
		{"lease", Options{Name: self}, threeNodes + "lease: 1s\n", ErrConfig, "cluster.yaml:8:8"},
		{"unknown host", Options{Name: "n@no-such-host-at-all"}, "distributed: [{app: a, timeout: 0s, nodes: [n@no-such-host-at-all]}]", ErrConfig, "--host no-such-host-at-all=ADDRESS"},
		{"external without URL", Options{Name: self, Server: " , "}, threeNodes, ErrOptions, "no server URL"},
		{"credentials", Options{Name: self, Server: "nats://a", Creds: filepath.Join(t.TempDir(), "none")}, threeNodes, ErrOptions, "credentials file"},
	} {
		if c.yaml != "" {
			c.opts.Config = configured(t, c.yaml)
		}
		n, err := New(c.opts)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || n != nil {
			t.Errorf("%s: %v, want %v with %q", c.what, err, c.is, c.want)
		}
	}
}

func TestAppsOfANode(t *testing.T) {
	o := Options{
		Name: self, Config: configured(t, threeNodes), Start: []StartRequest{{App: "here", Type: Permanent}, {App: "myapp"}},
		Apps: map[string]func() Application{"here": nil},
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.Config.Apps, func(a config.App) bool { return a.Name == "here" })
	here := n.appConfig(&o.Config.Apps[i])
	if here.Spec != nil || !here.Defined || here.Denied || here.Type != Permanent || !here.Start {
		t.Errorf("local app: %+v", here)
	}
	i = slices.IndexFunc(o.Config.Apps, func(a config.App) bool { return a.Name == "myapp" })
	dist := n.appConfig(&o.Config.Apps[i])
	if dist.Spec == nil || !dist.Defined || !dist.Denied || dist.Type != Temporary || !dist.Start || dist.Restart.Max != 2 {
		t.Errorf("distributed app: %+v", dist)
	}
	if args := string(n.args("myapp")); args != `{"a":1}` {
		t.Errorf("arguments %s", args)
	}
	if n.args("here") != nil || n.args("other") != nil || n.phases("other") != nil {
		t.Error("an app without arguments has some")
	}
	runner := (&parts{node: n}).runners(nil)
	for name, want := range map[policy.App]bool{"myapp": true, "here": true, "other": false} {
		if _, ok := runner(name); ok != want {
			t.Errorf("runner of %s: %t", name, ok)
		}
	}
}

func TestExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("come up: %w", err) }
	for _, c := range []struct {
		err      error
		external bool
		code     int
		hint     string
	}{
		{ErrOptions, false, ExitConfig, ""},
		{ErrConfig, false, ExitConfig, ""},
		{embedded.ErrOptions, false, ExitConfig, ""},
		{bus.ErrRefused, false, ExitRefused, "cookie"},
		{bus.ErrRefused, true, ExitRefused, "--creds"},
		{kv.ErrOtherCookie, true, ExitRefused, ""},
		{embedded.ErrDataDirInUse, false, ExitDuplicate, "runs here already"},
		{fmt.Errorf("%w: %w", ErrNameTaken, embedded.ErrPortTaken), false, ExitDuplicate, "runs here already"},
		{embedded.ErrPortTaken, false, ExitFailed, "ports"},
		{embedded.ErrModeChanged, false, ExitFailed, "--data"},
		{ErrState, false, ExitFailed, "epochs"},
		{bus.ErrUnreachable, false, ExitFailed, ""},
		{errors.New("anything"), false, ExitFailed, ""},
	} {
		n := &Node{plan: plan{external: c.external}}
		e := n.exitFor(wrap(c.err))
		if e.Code != c.code || !strings.Contains(e.Hint, c.hint) || !strings.Contains(e.Reason, c.err.Error()) {
			t.Errorf("%v (external %t): %+v, want code %d, a hint with %q", c.err, c.external, e, c.code, c.hint)
		}
	}
}
