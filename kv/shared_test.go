package kv

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

var (
	anyName   = rapid.StringMatching(`[A-Za-z][A-Za-z0-9_@-]{0,20}`)
	anyPermit = rapid.Custom(func(t *rapid.T) *policy.PermitRecord {
		r := &policy.PermitRecord{App: policy.App(anyName.Draw(t, "app"))}
		for range rapid.IntRange(0, 3).Draw(t, "nodes") {
			r = r.With(policy.NodePermit{Node: anyNode.Draw(t, "node"), Permitted: rapid.Bool().Draw(t, "permitted")})
		}
		return r
	})
	anySpecs = rapid.Custom(func(t *rapid.T) []policy.Spec {
		var list []policy.Spec
		for range rapid.IntRange(0, 3).Draw(t, "specs") {
			s := policy.Spec{
				App:       policy.App(anyName.Draw(t, "app")),
				Timeout:   rapid.SampledFrom([]policy.Timeout{0, policy.Infinite, policy.Timeout(5 * time.Second)}).Draw(t, "timeout"),
				Takeover:  rapid.SampledFrom([]policy.TakeoverMode{policy.Exclusive, policy.Overlap, policy.Never}).Draw(t, "takeover"),
				FullStart: rapid.Bool().Draw(t, "full"),
				Groups:    rapid.SampledFrom([][][]node.Name{{{"n1@h"}}, {{"n2@h"}, {"n1@h", "n3@h"}}}).Draw(t, "groups"),
			}
			if rapid.Bool().Draw(t, "phases") {
				s.StartPhases = []policy.Phase{{Name: "init", Args: rapid.String().Draw(t, "args")}}
			}
			list = policy.PutSpec(list, s)
		}
		return list
	})
	anySpec = rapid.Custom(func(t *rapid.T) *policy.SpecRecord {
		return &policy.SpecRecord{
			Node: anyNode.Draw(t, "node"), Session: policy.Session(rapid.String().Draw(t, "session")),
			Digest: rapid.String().Draw(t, "digest"), Applied: rapid.Bool().Draw(t, "applied"),
			Voters: rapid.SampledFrom([][]node.Name{nil, {"n1@h"}, {"n1@h", "n2@h", "n3@h"}}).Draw(t, "voters"),
			Specs:  anySpecs.Draw(t, "specs"), Loaded: anySpecs.Draw(t, "loaded"),
		}
	})
)

// A specification from the bucket is acted on: whatever could not stand in a
// configuration file is damage.
func TestSpecificationsFromTheBucketAreChecked(t *testing.T) {
	good := `{"v":1,"node":"n1@h","session":"s","digest":"d","voters":["n1@h"],"apps":[{"app":"a","timeout_ms":5,"nodes":[["n1@h"],["n2@h","n3@h"]],"takeover":"exclusive"}]}`
	if c := decode(policy.ConfigKey(), 1, []byte(good)); c.Damaged != "" {
		t.Fatal(c.Damaged)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"timeout_ms":5`, `"timeout_ms":-5`, "timeout of -5 ms"},
		{`"timeout_ms":5`, `"timeout_ms":9223372036854775807`, "timeout of"},
		{`"timeout_ms":5`, `"timeout_ms":"5"`, "not a specification"},
		{`["n1@h"],["n2@h","n3@h"]`, ``, "an empty list"},
		{`["n2@h","n3@h"]`, `[]`, "an empty list"},
		{`"n3@h"`, `"n1@h"`, "n1@h is repeated"},
		{`"n3@h"`, `"n3@h.x"`, "short and long"},
		{`"n3@h"`, `"n3"`, "invalid node name"},
		{`"app":"a"`, `"app":"1a"`, "invalid app name"},
		{`"exclusive"`, `"both"`, "takeover"},
		{`"voters":["n1@h"]`, `"voters":["n1"]`, "is no node name"},
		{`}]}`, `},{"app":"a","nodes":[["n1@h"]]}]}`, "there twice"},
	} {
		value := strings.Replace(good, tt.old, tt.new, 1)
		if c := decode(policy.ConfigKey(), 1, []byte(value)); !strings.Contains(c.Damaged, tt.want) {
			t.Errorf("%s: %q, want %q", value, c.Damaged, tt.want)
		}
	}
	for value, want := range map[string]string{
		`{"v":1,"app":"b","nodes":{}}`:            "under the key of",
		`{"v":1,"app":"a","nodes":{"n1":true}}`:   "is no node name",
		`{"v":1,"app":"a","nodes":{"n1@h":"no"}}`: "not a record",
	} {
		if c := decode(policy.PermitKey("a"), 1, []byte(value)); !strings.Contains(c.Damaged, want) {
			t.Errorf("%s: %q, want %q", value, c.Damaged, want)
		}
	}
}
