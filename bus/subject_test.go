package bus

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

const testCluster Cluster = "default"

func TestSubjectsBothWays(t *testing.T) {
	c := testCluster
	key := policy.AppKey("my@app")
	for _, tt := range []struct {
		built string
		want  string
		means Subject
	}{
		{c.Beat("node1@lxw"), "regent.default.hb.node1=40lxw", Subject{Kind: KindBeat, Node: "node1@lxw"}},
		{c.Beat("n@10.0.0.1"), "regent.default.hb.n=4010=2E0=2E0=2E1", Subject{Kind: KindBeat, Node: "n@10.0.0.1"}},
		{c.Cert("node1@lxw"), "regent.default.cert.node1=40lxw", Subject{Kind: KindCert, Node: "node1@lxw"}},
		{c.API("node1@lxw", "start"), "regent.default.api.node1=40lxw.start", Subject{KindAPI, "node1@lxw", []string{"start"}}},
		{c.Ping("node1@lxw"), "regent.default.node.node1=40lxw.ping", Subject{KindNode, "node1@lxw", []string{"ping"}}},
		{c.Messages("node1@lxw"), "regent.default.node.node1=40lxw.msg", Subject{KindNode, "node1@lxw", []string{"msg"}}},
		{c.Node("node1@lxw", "proc", "in box"), "regent.default.node.node1=40lxw.proc.in=20box", Subject{KindNode, "node1@lxw", []string{"proc", "in box"}}},
		{c.Record(string(key.Kind), key.Name), "regent.default.kv." + key.String(), Subject{KindRecord, "", []string{"app", "my@app"}}},
		{c.Record("config"), "regent.default.kv.config", Subject{KindRecord, "", []string{"config"}}},
		{c.Subject(Subject{Kind: KindApp, Parts: []string{"my@app", "fence"}}), "regent.default.app.my=40app.fence", Subject{KindApp, "", []string{"my@app", "fence"}}},
		{c.Event("node_up", "node1@lxw"), "regent.default.event.node_up.node1=40lxw", Subject{KindEvent, "", []string{"node_up", "node1@lxw"}}},
	} {
		if tt.built != tt.want {
			t.Errorf("built %q, want %q", tt.built, tt.want)
		}
		got, err := c.Parse(tt.want)
		if err != nil || !reflect.DeepEqual(got, tt.means) {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.want, got, err, tt.means)
		}
	}
}

func TestSubjectsOfOthersAreRefused(t *testing.T) {
	for _, subject := range []string{
		"",
		"regent",
		"regent.default",
		"regent.default.hb",
		"regent.default.hb.",
		"regent.other.hb.node1=40lxw",
		"regent.Default.hb.node1=40lxw",
		"regent.default.hb.node1=40lxw.more",
		"regent.default.hb.node1",
		"regent.default.hb.*",
		"regent.default.hb.node1@lxw",
		"regent.default.hb.node1=40lx=77",
		"regent.default.api.node1=40lxw",
		"regent.default.api.node1=40lxw.start.now",
		"regent.default.node.node1=40lxw",
		"regent.default.node.node1=40lxw..x",
		"regent.default.node.node1=40lxw.a.b.c.d.e.f.g.h.i",
		"regent.default.kv",
		"regent.default.kv.>",
		"regent.default.event.node_up",
		"regent.default.app.myapp",
		"regent.default.app.my@app.x",
		"$SRV.INFO.regent",
	} {
		if s, err := testCluster.Parse(subject); !errors.Is(err, ErrSubject) {
			t.Errorf("Parse(%q) = %+v, %v, want ErrSubject", subject, s, err)
		}
	}
}

func TestWildcardsCoverTheirKindOnly(t *testing.T) {
	c := testCluster
	for _, tt := range []struct{ pattern, match, not string }{
		{c.Beats(), c.Beat("a@b"), c.Ping("a@b")},
		{c.Records(), c.Record("app", "x"), c.Event("x", "y")},
		{c.Events(), c.Event("x", "y"), c.Record("app", "x")},
		{c.AppSubjects("x"), c.Subject(Subject{Kind: KindApp, Parts: []string{"x", "y"}}), c.Subject(Subject{Kind: KindApp, Parts: []string{"xx", "y"}})},
		{c.Beats(), c.Beat("a@b"), Cluster("other").Beat("a@b")},
	} {
		prefix := strings.TrimRight(tt.pattern, "*>")
		if !strings.HasPrefix(tt.match, prefix) || strings.HasPrefix(tt.not, prefix) {
			t.Errorf("%q: want %q in and %q out", tt.pattern, tt.match, tt.not)
		}
	}
}

func TestSubjectRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{KindBeat, KindAPI, KindNode, KindRecord, KindEvent, KindCert, KindApp}).Draw(t, "kind")
		least, most := kind.parts()
		want := Subject{Kind: kind}
		if kind.ofNode() {
			want.Node = node.Name(rapid.StringMatching(`[A-Za-z0-9_-]{1,9}@[A-Za-z0-9_.:-]{1,9}`).Draw(t, "node"))
		}
		for range rapid.IntRange(least, most).Draw(t, "parts") {
			want.Parts = append(want.Parts, rapid.StringN(1, 8, 40).Draw(t, "part"))
		}
		subject := testCluster.Subject(want)
		if strings.ContainsAny(subject, " *>\r\n\t") {
			t.Fatalf("unsafe subject %q", subject)
		}
		got, err := testCluster.Parse(subject)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Parse(%q) = %+v, %v, want %+v", subject, got, err, want)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add("regent.default.hb.node1=40lxw")
	f.Add("regent.default.node.node1=40lxw.a.=2E")
	f.Fuzz(func(t *testing.T, subject string) {
		s, err := testCluster.Parse(subject)
		if err == nil && testCluster.Subject(s) != subject {
			t.Errorf("%q parses to %+v, which builds %q", subject, s, testCluster.Subject(s))
		}
	})
}

func TestParseCluster(t *testing.T) {
	for _, s := range []string{"default", "A_b-9", strings.Repeat("x", 32)} {
		if c, err := ParseCluster(s); err != nil || string(c) != s {
			t.Errorf("ParseCluster(%q) = %q, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "a.b", "a b", "a*", "ü", strings.Repeat("x", 33)} {
		if _, err := ParseCluster(s); !errors.Is(err, ErrCluster) {
			t.Errorf("ParseCluster(%q): %v, want ErrCluster", s, err)
		}
	}
}
