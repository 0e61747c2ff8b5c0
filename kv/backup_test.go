package kv

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
)

// A restore never lowers an epoch, and never takes an app from its owner,
// whatever the record is and whatever the backup says.
func TestRestoreNeverLowers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, now := drawApp(t, "backup"), policy.Cell{Key: policy.AppKey("a"), Rev: 7}
		switch rapid.IntRange(0, 3).Draw(t, "record") {
		case 0:
			now.Rev = 0
		case 1:
			now.Damaged = "deleted"
		default:
			now.App = drawApp(t, "record")
		}
		next, r := restoredApp(now, old, highest(old))
		switch {
		case now.Damaged != "" && r.Changed:
			t.Fatalf("a damaged record was replaced: %+v", r)
		case now.Damaged != "" && r.Warning == "":
			t.Fatal("no warning about a damaged record")
		case !r.Changed && now.App == nil && now.Damaged == "":
			t.Fatalf("nothing was restored: %+v", r)
		case !r.Changed:
			return
		}
		if highest(next.App) < highest(old) || now.App != nil && highest(next.App) < highest(now.App) {
			t.Fatalf("the highest epoch is %d after the restore of %d over %v", highest(next.App), highest(old), now.App)
		}
		if now.App == nil && !next.App.Owner.Empty() {
			t.Fatalf("a restored record names an owner: %+v", next.App.Owner)
		}
		if now.App != nil {
			kept := *next.App
			kept.High = now.App.High
			if kept.Owner != now.App.Owner || kept.Next != now.App.Next || kept.Prev != now.App.Prev || kept.Phase != now.App.Phase || kept.Want != now.App.Want {
				t.Fatalf("more than the epoch was changed: %+v, before %+v", next.App, now.App)
			}
		}
		if value, err := encode(policy.Cell{Key: now.Key, App: next.App}); err != nil || decode(now.Key, 8, value).App == nil {
			t.Fatalf("what is restored can't be stored: %v", err)
		}
	})
}

func drawApp(t *rapid.T, name string) *policy.AppRecord {
	epoch := func(what string) policy.Epoch {
		return policy.Epoch(rapid.Uint64Range(0, 20).Draw(t, name+" "+what))
	}
	r := &policy.AppRecord{App: "a", High: epoch("high"), Want: policy.WantRun, First: policy.FirstNone}
	r.Owner.Epoch, r.Owner.Nonce = epoch("owner"), "n"
	if rapid.Bool().Draw(t, name+" runs") {
		r.Owner.Node, r.Owner.Session, r.Phase = "n1@h", "s", policy.PhaseRunning
	}
	if rapid.Bool().Draw(t, name+" next") {
		r.Next = policy.Slot{Node: "n2@h", Session: "s2", Nonce: "m", Epoch: epoch("next")}
	}
	return r
}

// An instance that runs with an epoch below the backup's is told of.
func TestRestoreUnderARunningApp(t *testing.T) {
	now := policy.Cell{Key: policy.AppKey("a"), Rev: 7, App: &policy.AppRecord{App: "a", High: 1, Owner: policy.Slot{Node: "n1@h", Epoch: 1}}}
	_, r := restoredApp(now, &policy.AppRecord{App: "a", High: 12}, 12)
	if !r.Changed || !strings.Contains(r.Warning, "runs at n1@h with epoch 1, below the 12 of the backup") {
		t.Errorf("%+v", r)
	}
}
