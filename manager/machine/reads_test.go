package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// What a node does with what it reads (docs/protocol.md).

func TestOwnerReads(t *testing.T) {
	t.Run("another owner: kill, forget", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.put(ownedBy(r.join(n1), 6))
		if r.killed() != run || r.m.appOf[theApp].claim != nil {
			t.Error("not forgotten")
		}
		r.step(Exited{Run: run})
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("its session by another claim: kill, claim anew", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.edit(func(rec *policy.AppRecord) { rec.Owner.Nonce, rec.Owner.Epoch, rec.High = "another", 6, 6 })
		if r.killed() != run {
			t.Error("killed another run")
		}
		r.pass(time.Second)
		r.noWrite() // it is alive still
		r.step(Exited{Run: run})
		if w := r.write(OpClaim); w.Write.Cell.App.Owner.Epoch != 7 {
			t.Errorf("A1 = %+v", w.Write)
		}
	})
	t.Run("nobody: kill", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.edit(func(rec *policy.AppRecord) { rec.Owner = policy.Slot{} })
		if r.killed() != run {
			t.Error("killed another run")
		}
	})
	for _, tc := range []struct {
		name   string
		change func(*policy.AppRecord)
	}{
		{"want = stopped", func(rec *policy.AppRecord) { rec.Want = policy.WantStopped }},
		{"stopped and started since", func(rec *policy.AppRecord) { rec.First = policy.FirstGo }},
	} {
		t.Run(tc.name+": stop, confirm, release", func(t *testing.T) {
			r := newRig(t)
			run, _ := r.owns()
			c := r.edit(tc.change)
			if r.stopped() != run {
				t.Error("stopped another run")
			}
			r.noWrite()
			r.step(Exited{Run: run, Normal: true})
			r.wants(OpRelease, c, exited) // want and first stay
		})
	}
	t.Run("exclusive, asked while it starts: the start is given up", func(t *testing.T) {
		r := newRig(t)
		s, _ := r.starting()
		p := r.standby(n1)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
		r.step(StartFailed{Run: s.Run, Reason: "stopped"})
		r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			exited(rec) // no failed start, and it was not running either
		})
	})
	t.Run("overlap, reserved: runs on until taken over", func(t *testing.T) {
		r := newRig(t, overlap)
		r.owns()
		p := r.standby(n1)
		r.edit(func(rec *policy.AppRecord) { rec.Next, rec.High = p.slot(6), 6 })
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("claimed and never started: released as if it had not been", func(t *testing.T) {
		r := newRig(t)
		r.ownDisk = true
		r.ok(r.claims())
		r.disk = nil
		r.noStart()
		c := r.edit(func(rec *policy.AppRecord) { rec.StartKind, rec.StartFrom = policy.StartFailover, n1 })
		r.call(VerbPermit, permitted(false))
		r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			rec.Owner = policy.Slot{Epoch: 5, Nonce: rec.Owner.Nonce}
			rec.From, rec.Since = n2, rigWall
		})
	})
}

func TestReserverReads(t *testing.T) {
	asked := func(r *rig) *peer {
		r.t.Helper()
		p, _ := r.behind()
		r.ok(r.write(OpAsk))
		return p
	}
	t.Run("exclusive: starts on the OK of its own claim only", func(t *testing.T) {
		r := newRig(t)
		asked(r)
		r.pass(time.Second)
		r.quiet()
		c := r.edit(func(rec *policy.AppRecord) { // the owner has yielded
			rec.Owner, rec.From = policy.Slot{}, n3
			rec.StartKind, rec.StartFrom, rec.Payload = policy.StartTakeover, n3, []byte("state")
		})
		r.noStart()
		w := r.wants(OpClaim, c, func(rec *policy.AppRecord) {
			r.claimWrite(policy.StartTakeover, r.peers[0])(rec)
		})
		r.ok(w)
		if s := r.start(); s.Kind != policy.StartTakeover || s.From != n3 || string(s.Payload) != "state" {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("exclusive: the owner dies instead: Timeout applies to it as well", func(t *testing.T) {
		r := newRig(t, timeout(time.Second))
		p := asked(r)
		p.ends(policy.SessionDead)
		r.pass(900 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("exclusive: its start fails: failed here, released", func(t *testing.T) {
		r := newRig(t)
		asked(r)
		r.edit(func(rec *policy.AppRecord) { rec.Owner, rec.From = policy.Slot{}, n3 })
		r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		if w := r.write(OpRelease); w.Write.Cell.App.Want != policy.WantRun {
			t.Error("stopped") // the old owner gets it back (B-8)
		}
		if r.m.appOf[theApp].failed != "boom" {
			t.Error("not failed here")
		}
	})
	t.Run("overlap: killed when its reservation is gone", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.edit(func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
		if r.killed() != s.Run {
			t.Error("killed another run")
		}
	})
	t.Run("overlap: the owner dies: takes", func(t *testing.T) {
		r := newRig(t, overlap)
		p, s, _ := r.provisional()
		p.ends(policy.SessionDead)
		r.quiet() // not up yet
		r.step(Started{Run: s.Run})
		r.write(OpTake)
	})
	t.Run("overlap: a stop there is none of the app", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, c := r.provisional()
		r.replies = nil
		r.call(VerbStop, func(c *Command) { c.ID = 2 })
		if err := r.answer(); err == nil || err.Kind != RefuseNotStarted {
			t.Errorf("stop while its start is blocked: %v", err)
		}
		r.step(Cancel{ID: 1})
		r.call(VerbStop, func(c *Command) { c.ID = 3 })
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: s.Run, Normal: true})
		r.wants(OpClearNext, c, func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
	})
}

func TestClaimOrder(t *testing.T) {
	t.Run("a live next first", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		p := r.standby(n3)
		rec := free(4)
		rec.Next = p.slot(0)
		c := r.put(rec)
		r.pass(r.lease().TRes() - 50*time.Millisecond)
		r.quiet()
		r.pass(50 * time.Millisecond)
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("a live next first after the owner's death too", func(t *testing.T) {
		r := newRig(t, timeout(0))
		p, q := r.follow(), r.standby(n3)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = q.slot(0) })
		p.ends(policy.SessionDead)
		r.pass(r.lease().TRes() - 50*time.Millisecond)
		r.quiet()
		r.pass(50 * time.Millisecond)
		r.wants(OpClaim, c, r.claimWrite(policy.StartFailover, p))
	})
	t.Run("who is back within the Timeout, before any other (A-30)", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, c := r.owns()
		r.edit(func(rec *policy.AppRecord) { rec.Pinned = true })
		c = r.cells[c.Key]
		r.fenceNow()
		r.killed()
		r.writes = nil
		r.standby(n1) // better, and there
		r.step(Exited{Run: run})
		r.ok(r.write(OpRegister))
		r.wants(OpClaim, c, func(rec *policy.AppRecord) {
			r.claimWrite(policy.StartNormal, nil)(rec)
			rec.Pinned = false
		})
	})
	t.Run("then the best that is heard", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.says(func(a *AppBeat) { a.Started = true })
		r.standby(n3)
		r.put(free(4))
		r.pass(time.Second)
		r.quiet()
		p.suspected() // gone: the next best
		r.write(OpClaim)
	})
	t.Run("of equals the least weight, then the least name", func(t *testing.T) {
		r := newRig(t, tuple, as(n3))
		r.unheard = false
		r.standby(n2)
		r.put(free(4))
		r.call(VerbStart)
		r.pass(time.Second)
		r.quiet()
		for _, p := range r.peers {
			p.says(func(a *AppBeat) { a.Failed = true })
		}
		r.write(OpClaim)
	})
	for _, tc := range []struct {
		name   string
		change func(*peer)
	}{
		{"not permitted", func(p *peer) { p.app.Denied = true }},
		{"failed there", func(p *peer) { p.app.Failed = true }},
		{"not started there (B-4)", func(p *peer) { p.app.Started = false }},
		{"closing", func(p *peer) { p.phase = BeatClosing }},
		{"left", func(p *peer) { p.phase = BeatLeft }},
		{"in its barrier", func(p *peer) { p.phase = BeatSyncing }},
		{"without a session", func(p *peer) { p.session = "" }},
	} {
		t.Run("no candidate: "+tc.name, func(t *testing.T) {
			r := newRig(t)
			r.follow()
			p := r.peers[0]
			p.app.Started = true
			tc.change(p)
			p.speak()
			r.put(free(4))
			r.write(OpClaim)
		})
	}
}

func TestTimeout(t *testing.T) {
	// n1 owns it, Timeout 5 s, and its death is proved at once when it comes.
	claimed := func(r *rig) bool { return len(r.writes) > 0 && r.writes[0].Op == OpClaim }
	t.Run("from the first suspicion, not from the proof", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.mute = true
		r.pass(r.lease().Suspicion() + 4*time.Second)
		p.ends(policy.SessionExpired)
		r.pass(950 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("not before the proof", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.mute = true
		r.pass(20 * time.Second)
		r.noWrite()
		p.ends(policy.SessionExpired)
		r.write(OpClaim)
	})
	t.Run("the same session heard again: nothing happened (B-5)", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.mute = true
		r.pass(4 * time.Second)
		p.mute = false
		r.pass(50 * time.Millisecond)
		p.ends(policy.SessionDead)
		r.pass(4900 * time.Millisecond)
		r.noWrite()
		r.pass(200 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("a new session of the node does not cancel it", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.ends(policy.SessionDead)
		r.pass(3 * time.Second)
		p.returns() // and does not start the app
		r.pass(1950 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		if !claimed(r) {
			t.Errorf("writes = %v", ops(r.writes))
		}
	})
	t.Run("another owner in the record ends it", func(t *testing.T) {
		r := newRig(t, tuple)
		p, q := r.follow(), r.join(n3)
		p.ends(policy.SessionDead)
		r.pass(4 * time.Second)
		r.put(ownedBy(q, 5))
		r.noWrite()
		q.ends(policy.SessionDead)
		r.pass(4900 * time.Millisecond)
		r.noWrite()
		r.pass(200 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("another dead owner in the record counts anew", func(t *testing.T) {
		r := newRig(t, tuple)
		p, q := r.follow(), r.join(n3)
		p.ends(policy.SessionDead)
		q.ends(policy.SessionDead)
		r.pass(4 * time.Second)
		r.put(ownedBy(q, 5)) // it claimed and died before anybody saw it
		r.pass(4900 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("who came later counts from its first sight", func(t *testing.T) {
		r := bareRig(t, config(func(c *Config) { c.Apps[0].Start = true }))
		r.unheard = true
		p := r.stranger(n1)
		p.rec.State, p.session, p.rec.Session = policy.SessionExpired, "s1", "s1"
		p.renew()
		r.put(ownedBy(p, 4))
		r.unheard = false
		r.snapshot()
		r.ok(r.write(OpRegister))
		if st := r.m.Status().Apps[0]; st.State != AppFailingOver || st.FailoverAt != r.now.Add(5*time.Second) {
			t.Errorf("status = %+v", st)
		}
		r.pass(4950 * time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond)
		r.write(OpClaim)
	})
	t.Run("a free record has none", func(t *testing.T) {
		r := newRig(t, infinite)
		r.follow()
		r.put(free(4))
		r.write(OpClaim)
	})
}

// what is told to start, or permitted, while its owner is gone is
// started, not failed over.
func TestStartOverADeadOwner(t *testing.T) {
	starts := func(t *testing.T, r *rig) {
		t.Helper()
		r.ok(r.write(OpClaim))
		if s := r.start(); s.Kind != policy.StartNormal || s.From != "" {
			t.Errorf("start = %+v", s)
		}
		if countHistory(r, "failover") != 0 {
			t.Error("told as a failover")
		}
	}
	gone := func(t *testing.T, opts ...rigOption) (*rig, *peer) {
		r := newRig(t, opts...)
		p := r.join(n1)
		r.put(ownedBy(p, 4))
		p.ends(policy.SessionDead)
		r.pass(time.Second)
		r.quiet()
		return r, p
	}
	for name, opt := range map[string]rigOption{"within the Timeout": timeout(time.Minute), "Timeout infinity": infinite, "after it": timeout(0)} {
		t.Run("start: "+name, func(t *testing.T) {
			r, _ := gone(t, opt)
			r.call(VerbStart)
			starts(t, r)
		})
		t.Run("permit: "+name, func(t *testing.T) {
			r := newRig(t, opt)
			p := r.follow()
			r.accepted(VerbPermit, permitted(false))
			p.ends(policy.SessionDead)
			r.pass(time.Second)
			r.quiet()
			r.call(VerbPermit, permitted(true))
			starts(t, r)
		})
	}
	t.Run("not before the owner is proved dead", func(t *testing.T) {
		r := newRig(t, infinite)
		p := r.join(n1)
		r.put(ownedBy(p, 4))
		p.mute = true
		r.pass(time.Second)
		r.call(VerbStart)
		r.pass(10 * time.Second)
		r.quiet()
		p.ends(policy.SessionExpired)
		starts(t, r)
	})
	t.Run("heard again: its next death is a failover", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		r.put(ownedBy(p, 4))
		p.mute = true
		r.pass(time.Second)
		r.call(VerbStart)
		p.mute = false
		r.pass(time.Second)
		p.ends(policy.SessionDead)
		r.pass(4 * time.Second)
		r.noWrite()
		r.pass(2 * time.Second)
		r.ok(r.write(OpClaim))
		if s := r.start(); s.Kind != policy.StartFailover {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("permitted all the time: the Timeout goes on", func(t *testing.T) {
		r := newRig(t, infinite)
		r.follow().ends(policy.SessionDead)
		r.pass(time.Second)
		r.call(VerbPermit, permitted(true))
		r.pass(10 * time.Second)
		r.noWrite()
	})
	t.Run("a better node has it started: the Timeout is its", func(t *testing.T) {
		r := newRig(t, as(n3))
		r.standby(n2)
		p := r.join(n1)
		r.put(ownedBy(p, 4))
		p.ends(policy.SessionDead)
		r.pass(time.Second)
		r.call(VerbStart)
		r.pass(3 * time.Second)
		r.noWrite()
	})
}
