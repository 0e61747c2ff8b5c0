package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// B-10: what was applied binds a node that comes with other files, whoever is
// there. Voters alone bind only while somebody goes by them: the first that comes
// puts its own in their place, and all else that was applied or loaded stays.
func TestAppliedVoters(t *testing.T) {
	others := []node.Name{n1, n2, "n4@h"}
	loaded := policy.Spec{App: "loaded", Takeover: policy.Exclusive, Groups: [][]node.Name{{n1}}}
	boot := func(t *testing.T, timeout time.Duration) *rig {
		t.Helper()
		r := bareRig(t, config(func(c *Config) {
			c.Digest = "ours"
			c.Specification = &policy.SpecRecord{Node: n2, Digest: "ours", Voters: others, Specs: []policy.Spec{*c.Apps[0].Spec}}
		}))
		applied := *r.spec
		applied.Timeout = policy.Timeout(timeout)
		r.store(policy.Cell{Key: policy.ConfigKey(), Config: &policy.SpecRecord{
			Node: n1, Session: "gone", Applied: true, Digest: "theirs", Voters: []node.Name{n1, n2, n3},
			Specs: []policy.Spec{applied}, Loaded: []policy.Spec{loaded},
		}})
		r.snapshot()
		return r
	}
	t.Run("other voters", func(t *testing.T) {
		r := boot(t, 5*time.Second)
		r.ok(r.write(OpRegister))
		rec := r.write(OpSpec).Write.Cell.Config
		if !rec.Applied || rec.Digest != "ours" || !slices.Equal(rec.Voters, others) || len(rec.Loaded) != 1 || rec.Node != n2 {
			t.Errorf("it writes %+v", rec)
		}
		if r.exit != nil {
			t.Errorf("exit %+v", r.exit)
		}
	})
	t.Run("other voters and another Timeout", func(t *testing.T) {
		r := boot(t, 9*time.Second)
		if r.exit == nil || r.exit.Code != exitDigest {
			t.Errorf("exit %+v", r.exit)
		}
	})
}
