package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func TestS5Close(t *testing.T) {
	t.Run("after everything is confirmed gone", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.call(VerbShutdown, func(c *Command) { c.Code = 4 })
		if err := r.answer(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if r.stopped() != run {
			t.Error("the app is not stopped")
		}
		r.pass(time.Second)
		r.noWrite() // and no A3: the Timeout applies
		old := r.cells[policy.NodeKey(n2)]
		r.step(Exited{Run: run, Normal: true})
		w := r.write(OpClose)
		want := *old.Node
		want.State, want.Seq = policy.SessionClosed, want.Seq+1
		if got := *w.Write.Cell.Node; got != want || w.Write.Expect != old.Rev {
			t.Errorf("S5 writes %+v at %d, want %+v at %d", got, w.Write.Expect, want, old.Rev)
		}
		r.ok(w)
		if r.exit == nil || r.exit.Code != 4 {
			t.Errorf("exit = %+v", r.exit)
		}
		if r.cells[policy.AppKey(theApp)].App.Owner.Session != want.Session {
			t.Error("the ownership record was touched")
		}
	})
	t.Run("no start after it: a pending claim is dropped", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.call(VerbShutdown)
		r.write(OpClose)
		c := r.commit(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
		r.quiet()
	})
	t.Run("a closing node neither claims nor asks", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.call(VerbShutdown)
		r.stopped()
		p := r.join(n3)
		r.put(free(9))
		r.killed() // the record names it no more
		r.pass(time.Second)
		r.put(ownedBy(p, 10))
		r.pass(time.Second)
		r.quiet()
		r.step(Exited{Run: run})
		r.write(OpClose)
	})
	t.Run("refused: read again, close again", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbShutdown)
		w := r.write(OpClose)
		r.unheard = true
		mine := *w.Write.Cell.Node
		mine.State, mine.Seq = policy.SessionLive, 99 // a renewal of unknown outcome landed
		c := r.putNode(mine)
		r.refuse(w)
		r.reread()
		if again := r.write(OpClose); again.Write.Expect != c.Rev {
			t.Errorf("S5 expects %d, want %d", again.Write.Expect, c.Rev)
		}
	})
	t.Run("refused, ended by others: nothing left to close", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbShutdown)
		w := r.write(OpClose)
		r.unheard = true
		gone := *w.Write.Cell.Node
		gone.State = policy.SessionExpired
		r.putNode(gone)
		r.refuse(w)
		r.reread()
		if r.exit == nil {
			t.Error("still there")
		}
	})
	t.Run("unknown: retried for a while, then the lease ends it", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbShutdown)
		w := r.write(OpClose)
		r.jump(r.lease().Request / 2)
		r.unknown(w)
		r.reread()
		r.pass(100 * time.Millisecond)
		again := r.write(OpClose)
		if again.Write.Expect != w.Write.Expect {
			t.Errorf("S5 expects %d, want %d", again.Write.Expect, w.Write.Expect)
		}
		r.pass(2 * r.lease().Request)
		if r.exit == nil || r.exit.Code != 0 {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("without a session there is nothing to close", func(t *testing.T) {
		r := bareRig(t)
		r.call(VerbShutdown)
		r.noWrite()
		if r.exit == nil {
			t.Error("still there")
		}
		r.step(Tick{})
		if got := r.m.Step(r.now, Tick{}); got != nil {
			t.Errorf("actions after Exit: %v", got)
		}
	})
}
