package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// refused checks that a command is refused at once with this kind.
func (r *rig) refused(kind RefusalKind, verb Verb, change ...func(*Command)) {
	r.t.Helper()
	r.replies = nil
	r.call(verb, change...)
	if err := r.answer(); err == nil || err.Kind != kind {
		r.t.Errorf("%s: %v, want %s", verb, err, kind)
	}
}

// accepted checks that a command is answered with success.
func (r *rig) accepted(verb Verb, change ...func(*Command)) {
	r.t.Helper()
	r.replies = nil
	r.call(verb, change...)
	if err := r.answer(); err != nil {
		r.t.Errorf("%s: %v", verb, err)
	}
}

func (r *rig) pending() {
	r.t.Helper()
	if len(r.replies) > 0 {
		r.t.Fatalf("replies = %v, want none yet", r.replies)
	}
}

func otherApp(c *Command) { c.App = "other" }

func TestStartCall(t *testing.T) {
	waiting := func(t *testing.T) (*rig, *peer) {
		r := newRig(t)
		p := r.standby(n1)
		r.put(free(4))
		r.call(VerbStart)
		r.pass(10 * time.Second)
		r.pending()
		return r, p
	}
	t.Run("until the app is seen running elsewhere (A-16)", func(t *testing.T) {
		r, p := waiting(t)
		rec := ownedBy(p, 5)
		rec.Phase = policy.PhaseStarting
		r.put(rec)
		r.pending()
		r.edit(func(rec *policy.AppRecord) { rec.Phase = policy.PhaseRunning })
		if err := r.answer(); err != nil {
			t.Error(err)
		}
	})
	t.Run("until it is stopped, with what went wrong", func(t *testing.T) {
		r, _ := waiting(t)
		r.edit(func(rec *policy.AppRecord) { rec.Want, rec.Error = policy.WantStopped, "n1@h: boom" })
		if err := r.answer(); err == nil || err.Kind != RefuseFailed || err.Reason != "n1@h: boom" {
			t.Error(err)
		}
		if r.m.appOf[theApp].started {
			t.Error("still started here")
		}

		r, _ = waiting(t)
		r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped })
		if err := r.answer(); err == nil || err.Kind != RefuseStopped {
			t.Error(err)
		}
	})
	t.Run("a second call while the first is blocked gets its answer (A-19)", func(t *testing.T) {
		r, p := waiting(t)
		r.call(VerbStart, func(c *Command) { c.ID = 2 })
		r.refused(RefuseNotStarted, VerbStop, func(c *Command) { c.ID = 3 })
		r.put(ownedBy(p, 5))
		if len(r.replies) != 2 || r.replies[0].Err != nil || r.replies[1].Err != nil {
			t.Errorf("replies = %v", r.replies)
		}
		r.refused(RefuseAlreadyStarted, VerbStart)
	})
	t.Run("a caller that has gone away is not answered", func(t *testing.T) {
		r, p := waiting(t)
		r.step(Cancel{ID: 1})
		r.put(ownedBy(p, 5))
		r.pending()
	})
	t.Run("nobody permitted: at once, and nothing runs (A-46)", func(t *testing.T) {
		r := newRig(t, config(func(c *Config) { c.Apps[0].Denied = true }))
		r.join(n1).says(func(a *AppBeat) { a.Denied = true })
		r.put(free(4))
		r.accepted(VerbStart)
		r.quiet()
	})
	t.Run("the node closes", func(t *testing.T) {
		r, _ := waiting(t)
		r.call(VerbShutdown, func(c *Command) { c.ID = 2 })
		if len(r.replies) != 2 || r.replies[1].Err == nil || r.replies[1].Err.Kind != RefuseClosing {
			t.Errorf("replies = %v", r.replies)
		}
		r.refused(RefuseClosing, VerbStart)
	})
	t.Run("again at the owner after the app has ended by itself (A-53)", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.step(Exited{Run: run})
		w := r.write(OpRelease)
		r.call(VerbStart, func(c *Command) { c.ID = 2 })
		r.pending()
		r.ok(w)
		r.ok(r.write(OpStartWant))
		r.ok(r.write(OpClaim))
		r.step(Started{Run: r.start().Run})
		r.ok(r.write(OpRunning))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
	})
	t.Run("what nobody described", func(t *testing.T) {
		r := newRig(t, config(func(c *Config) { c.Apps[0].Defined = false }))
		r.refused(RefuseUndefined, VerbStart)
		r.refused(RefuseNotLoaded, VerbStart, otherApp)
		r.refused(RefuseNoVerb, "dance")
	})
	t.Run("at a node outside the list: no definition needed (A-20)", func(t *testing.T) {
		r := newRig(t, list(nodes(n1)), config(func(c *Config) { c.Apps[0].Defined = false }))
		p := r.join(n1)
		r.put(ownedBy(p, 4))
		r.accepted(VerbStart)
		r.quiet()
	})
}

func TestTakeoverCall(t *testing.T) {
	t.Run("refusals (A-40, A-41)", func(t *testing.T) {
		r := newRig(t)
		r.refused(RefuseNotRunning, VerbTakeover)
		r.put(ownedBy(r.join(n1), 4))
		r.refused(RefuseNotRunning, VerbTakeover) // not started here

		r = newRig(t)
		r.owns()
		r.refused(RefuseRunsHere, VerbTakeover)

		r = newRig(t, list(nodes(n1)))
		r.follow()
		r.refused(RefuseNotRunning, VerbTakeover) // not in the list
	})
	// another has shown the caller what this node has not seen yet
	behind := func(t *testing.T) *rig {
		r := newRig(t)
		r.standby(n1)
		r.put(free(4))
		r.call(VerbStart)
		return r
	}
	second := func(c *Command) { c.ID = 2 }
	t.Run("a picture that is behind: the record is read first", func(t *testing.T) {
		r := behind(t)
		r.unheard = true
		r.put(ownedBy(r.peers[0], 5))
		r.call(VerbTakeover, second)
		r.noWrite()
		r.reread()
		r.write(OpAsk)
	})
	t.Run("it runs nowhere, as the leader says", func(t *testing.T) {
		r := behind(t)
		r.call(VerbTakeover, second)
		r.pending()
		r.reread()
		if err := r.answer(); err == nil || err.Kind != RefuseNotRunning {
			t.Error(err)
		}
	})
	t.Run("without a store nothing is waited for", func(t *testing.T) {
		r := behind(t)
		r.step(Viewed{View: policy.View{Lost: "cut"}})
		r.refused(RefuseNotRunning, VerbTakeover, second)
		if len(r.reads) > 0 {
			t.Errorf("reads = %v", r.reads)
		}
	})
	t.Run("the store goes while it is read", func(t *testing.T) {
		r := behind(t)
		r.call(VerbTakeover, second)
		r.pending()
		r.step(Viewed{View: policy.View{Lost: "cut"}})
		if err := r.answer(); err == nil || err.Kind != RefuseNotRunning {
			t.Error(err)
		}
	})
	t.Run("its own claim is under way", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.replies = nil
		r.call(VerbTakeover, second)
		r.pending()
		r.ok(w)
		if err := r.answer(); err == nil || err.Kind != RefuseRunsHere {
			t.Error(err)
		}
	})
	t.Run("answered when the app runs here; the type given is this node's", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.call(VerbTakeover, ofType(policy.Permanent))
		r.ok(r.write(OpAsk))
		r.edit(func(rec *policy.AppRecord) { rec.Owner, rec.From = policy.Slot{}, n1 })
		r.ok(r.write(OpClaim))
		r.step(Started{Run: r.start().Run})
		r.pending()
		r.ok(r.write(OpRunning))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
		if k := r.m.appOf[theApp].kind; k != policy.Permanent {
			t.Errorf("type = %s", k)
		}
	})
	t.Run("overtaken by another, by a stop", func(t *testing.T) {
		r := newRig(t)
		r.told()
		r.ok(r.write(OpAsk))
		r.edit(func(rec *policy.AppRecord) { rec.Owner, rec.From = policy.Slot{}, n1 })
		r.ok(r.write(OpClaim))
		r.put(ownedBy(r.join(n3), 9))
		if err := r.answer(); err == nil || err.Kind != RefuseOvertaken {
			t.Error(err)
		}

		r = newRig(t)
		r.told()
		r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped })
		if err := r.answer(); err == nil || err.Kind != RefuseStopped {
			t.Error(err)
		}
	})
}

func TestStopCall(t *testing.T) {
	t.Run("nothing started here (A-45)", func(t *testing.T) {
		r := newRig(t)
		r.refused(RefuseNotStarted, VerbStop)
		r.follow()
		r.accepted(VerbStop)
		r.refused(RefuseNotStarted, VerbStop)
	})
	t.Run("overtaken by a start here", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.call(VerbStop, everywhere)
		r.call(VerbStart, func(c *Command) { c.ID = 2 })
		if len(r.replies) == 0 || r.replies[0].Err == nil || r.replies[0].Err.Kind != RefuseOvertaken {
			t.Errorf("replies = %v", r.replies)
		}
	})
}

func TestPermitCall(t *testing.T) {
	t.Run("away from the owner: until the next runs it (A-47)", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		p := r.standby(n3)
		r.call(VerbPermit, permitted(false))
		r.step(Exited{Run: r.stopped(), Normal: true})
		r.ok(r.write(OpRelease))
		r.pending()
		r.put(ownedBy(p, 6))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
		if run == 0 || r.beat.Apps[0].Denied != true {
			t.Errorf("beat = %+v", r.beat)
		}
	})
	t.Run("away from the last: stopped, ok", func(t *testing.T) {
		r := newRig(t)
		r.owns()
		r.call(VerbPermit, permitted(false))
		r.pending()
		r.step(Exited{Run: r.stopped(), Normal: true})
		r.ok(r.write(OpRelease))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
	})
	t.Run("back, and nobody runs it: until it runs here (A-48)", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.accepted(VerbPermit, permitted(false))
		r.put(free(4))
		r.quiet()
		r.call(VerbPermit, permitted(true))
		r.ok(r.write(OpClaim))
		r.pending()
		r.step(Started{Run: r.start().Run})
		r.ok(r.write(OpRunning))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
	})
	t.Run("at a standby: only the flag", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.accepted(VerbPermit, permitted(false))
		r.accepted(VerbPermit, permitted(true))
		r.quiet()
	})
	t.Run("not started here: remembered (A-49)", func(t *testing.T) {
		r := newRig(t)
		r.accepted(VerbPermit, permitted(false))
		r.refused(RefuseNotLoaded, VerbPermit, otherApp)
		r.put(free(4))
		r.call(VerbStart)
		r.quiet()
	})
	t.Run("a stopped app", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped })
		r.accepted(VerbPermit, permitted(false))
	})
}

// Local apps run wherever they are started, without a claim.
func TestLocalApp(t *testing.T) {
	local := func(k policy.RestartType, restart Restart) rigOption {
		return config(func(c *Config) {
			c.Apps = []AppConfig{{App: theApp, Defined: true, Type: k, Restart: restart}}
		})
	}
	t.Run("start, stop", func(t *testing.T) {
		r := bareRig(t, local(policy.Temporary, Restart{})) // without any store
		r.call(VerbStart)
		s := r.start()
		r.pending()
		r.step(Started{Run: s.Run})
		if err := r.answer(); err != nil {
			t.Error(err)
		}
		if st := r.m.Status().Apps[0]; st.State != AppRunning || !st.Local || len(st.RunningOn) != 1 {
			t.Errorf("status = %+v", st)
		}
		r.refused(RefuseAlreadyStarted, VerbStart)
		r.refused(RefuseNotRunning, VerbTakeover)
		r.call(VerbStop)
		r.pending()
		r.step(Exited{Run: r.stopped(), Normal: true})
		if err := r.answer(); err != nil {
			t.Error(err)
		}
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("not permitted: start is ok and nothing runs (A-50)", func(t *testing.T) {
		r := newRig(t, local(policy.Temporary, Restart{}))
		r.accepted(VerbPermit, permitted(false))
		r.accepted(VerbStart)
		r.quiet()
		r.call(VerbPermit, permitted(true))
		s := r.start()
		r.step(Started{Run: s.Run})
		r.call(VerbPermit, permitted(false))
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
	})
	t.Run("its start fails", func(t *testing.T) {
		r := newRig(t, local(policy.Temporary, Restart{}))
		r.call(VerbStart)
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		if err := r.answer(); err == nil || err.Kind != RefuseFailed {
			t.Error(err)
		}
		if st := r.m.Status().Apps[0]; st.State != AppFailed {
			t.Errorf("status = %+v", st)
		}
	})
	t.Run("ends: restarted in place, then over", func(t *testing.T) {
		r := newRig(t, local(policy.Permanent, Restart{Max: 1, Within: time.Minute, Backoff: time.Second}))
		r.call(VerbStart)
		r.step(Exited{Run: r.start().Run, Reason: "crash"})
		r.noStart()
		r.pass(time.Second)
		r.step(Exited{Run: r.start().Run, Reason: "crash"})
		r.ok(r.write(OpClose))
		if r.exit == nil || r.exit.Code != 8 {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("ends: a temporary one is reported only (A-51)", func(t *testing.T) {
		r := newRig(t, local(policy.Temporary, Restart{}))
		r.call(VerbStart)
		r.step(Exited{Run: r.start().Run, Reason: "crash"})
		r.pass(10 * time.Second)
		r.quiet()
		if r.exit != nil || countHistory(r, "app_exited") != 1 {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("goes on when the lease ends", func(t *testing.T) {
		r := newRig(t, local(policy.Temporary, Restart{}), manualRenew)
		r.call(VerbStart)
		r.step(Started{Run: r.start().Run})
		r.fenceNow()
		r.writes = nil
		r.quiet()
	})
}
