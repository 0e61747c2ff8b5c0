package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func TestRule9Confirm(t *testing.T) {
	// renewed acknowledges a renewal that the picture does not show.
	renewed := func(r *rig) {
		r.t.Helper()
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		c := r.commit(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
	}
	t.Run("a current picture is enough", func(t *testing.T) {
		r := newRig(t)
		r.owns()
		r.pass(10 * time.Second)
		if len(r.reads) > 0 {
			t.Errorf("reads = %v", r.reads)
		}
	})
	t.Run("a picture that stands still: the owned records are read", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		r.unheard = true
		r.put(ownedBy(r.stranger(n1), 9)) // the acknowledged claim was lost
		renewed(r)
		if len(r.reads) > 0 {
			t.Fatalf("reads = %v after one renewal", r.reads)
		}
		renewed(r)
		r.reread()
		if r.killed() != run {
			t.Error("killed another run")
		}
	})
	t.Run("a picture that is lost", func(t *testing.T) {
		r := newRig(t, manualRenew)
		r.owns()
		r.step(Viewed{View: policy.View{Lost: "cut"}})
		renewed(r)
		r.reread() // still mine
		r.quiet()
	})
	t.Run("the reservation too", func(t *testing.T) {
		r := newRig(t, overlap, manualRenew)
		_, s, _ := r.provisional()
		r.step(Viewed{View: policy.View{Lost: "cut"}})
		r.unheard = true
		r.edit(func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
		renewed(r)
		r.reread()
		if r.killed() != s.Run {
			t.Error("killed another run")
		}
	})
}
