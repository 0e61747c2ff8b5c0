package bus

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
)

// TestRightsOfAppsDoNotMeet: nothing that one app may publish or hear is
// another's, or a node's.
func TestRightsOfAppsDoNotMeet(t *testing.T) {
	c := testCluster
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[A-Za-z][A-Za-z0-9_@-]{0,6}`)
		a := policy.App(name.Draw(t, "a"))
		b := policy.App(name.Filter(func(s string) bool { return s != string(a) }).Draw(t, "b"))
		mine, others := c.AppRights(a), c.AppRights(b)
		for _, pair := range [][2][]string{{mine.Publish, others.Publish}, {mine.Subscribe, others.Subscribe}} {
			for _, p := range pair[0] {
				for _, q := range pair[1] {
					if overlap(p, q) {
						t.Fatalf("%s and %s have %s and %s in common", a, b, p, q)
					}
				}
			}
		}
		for _, node := range []string{c.Beats(), c.Certs(), c.Records(), c.Events(), "regent.default.api.>", "regent.default.node.>", "$KV.>", "$SYS.>", "$JS.API.STREAM.*.KV_regent_default", "$JS.API.STREAM.NAMES"} {
			for _, p := range slices.Concat(mine.Publish, mine.Subscribe) {
				if overlap(p, node) {
					t.Fatalf("%s may use %s by %s", a, node, p)
				}
			}
		}
	})
}

// overlap reports whether some subject matches both patterns.
func overlap(p, q string) bool {
	ps, qs := strings.Split(p, "."), strings.Split(q, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(ps) || i == len(qs):
			return len(ps) == len(qs)
		case ps[i] == ">" || qs[i] == ">":
			return true
		case ps[i] != qs[i] && ps[i] != "*" && qs[i] != "*":
			return false
		}
	}
}

func TestAppRights(t *testing.T) {
	r := testCluster.AppRights("my@app")
	if r.Stream != "regent_default_app_my=40app" || r.Inbox != "_INBOX.regent.default.app.my=40app" {
		t.Errorf("stream %q, inbox %q", r.Stream, r.Inbox)
	}
	for _, want := range []string{"regent.default.app.my=40app.>", "$JS.API.STREAM.MSG.GET.regent_default_app_my=40app", "$JS.ACK.regent_default_app_my=40app.>"} {
		if !slices.Contains(r.Publish, want) {
			t.Errorf("may not publish %s", want)
		}
	}
	for _, p := range r.Publish {
		for _, call := range []string{".DELETE.regent", ".PURGE.", ".UPDATE.", ".RESTORE."} {
			if strings.HasPrefix(p, "$JS.API.STREAM.") && strings.Contains(p, call) {
				t.Errorf("may undo what fences it: %s", p)
			}
		}
	}
}
