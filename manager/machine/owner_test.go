package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func restarts(n int, backoff time.Duration) rigOption {
	return config(func(c *Config) { c.Apps[0].Restart = Restart{Max: n, Within: time.Minute, Backoff: backoff} })
}

func TestA2Running(t *testing.T) {
	t.Run("start complete", func(t *testing.T) {
		r := newRig(t)
		rec := free(4)
		rec.Payload = []byte("p")
		r.put(rec)
		r.call(VerbStart)
		c := r.ok(r.write(OpClaim))
		s := r.start()
		r.pass(time.Second)
		r.noWrite() // not before the start is complete
		r.step(Started{Run: s.Run})
		r.ok(r.wants(OpRunning, c, func(rec *policy.AppRecord) {
			rec.Phase, rec.Payload, rec.Since = policy.PhaseRunning, nil, rigWall
		}))
		if err := r.answer(); err != nil {
			t.Errorf("start: %v", err)
		}
		r.step(Started{Run: s.Run})
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("not under another claim", func(t *testing.T) {
		r := newRig(t)
		s, _ := r.starting()
		p := r.join(n1)
		r.put(ownedBy(p, 6))
		r.step(Started{Run: s.Run})
		r.noWrite()
		r.killed()
	})
	t.Run("refused: decide again", func(t *testing.T) {
		r := newRig(t)
		s, _ := r.starting()
		r.step(Started{Run: s.Run})
		w := r.write(OpRunning)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
		r.refuse(w)
		r.reread()
		r.wants(OpRunning, c, func(rec *policy.AppRecord) {
			rec.Phase, rec.Since = policy.PhaseRunning, rigWall
		})
	})
	t.Run("unknown: the same content at the same revision", func(t *testing.T) {
		r := newRig(t)
		s, c := r.starting()
		r.step(Started{Run: s.Run})
		r.unknown(r.write(OpRunning))
		r.reread()
		r.pass(100 * time.Millisecond)
		again := r.wants(OpRunning, c, func(rec *policy.AppRecord) {
			rec.Phase, rec.Since = policy.PhaseRunning, rigWall
		})
		r.commit(again)
		r.unknown(again)
		r.reread()
		r.pass(time.Second)
		r.quiet()
	})
}

// released is the value that A3 gives to a record whose app was told to stop.
func released(payload string) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.Owner = policy.Slot{Epoch: rec.Owner.Epoch, Nonce: rec.Owner.Nonce}
		rec.From, rec.Since = n2, rigWall
		rec.StartKind, rec.StartFrom = policy.StartTakeover, n2
		rec.Payload = nil
		if payload != "" {
			rec.Payload = []byte(payload)
		}
	}
}

// exited is the same for an app that ended by itself or was stopped for good.
func exited(rec *policy.AppRecord) {
	released("")(rec)
	rec.StartKind, rec.StartFrom = policy.StartNormal, ""
}

func TestA3Release(t *testing.T) {
	t.Run("yield: stop, confirm, release with the payload", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		p := r.standby(n1)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.pass(time.Second)
		r.noWrite() // not before it is confirmed gone
		r.step(Exited{Run: run, Normal: true, Payload: []byte("state")})
		r.ok(r.wants(OpRelease, c, released("state"))) // next stays
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("permission withdrawn: passed on, if anybody is there (A-47)", func(t *testing.T) {
		for _, there := range []bool{true, false} {
			r := newRig(t)
			run, c := r.owns()
			want := exited
			if there {
				r.standby(n3)
				want = released("")
			}
			r.call(VerbPermit, permitted(false))
			r.stopped()
			r.step(Exited{Run: run, Normal: true})
			r.ok(r.wants(OpRelease, c, want))
		}
	})
	t.Run("refused, still mine: decide again at the new revision", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.call(VerbPermit, permitted(false))
		r.stopped()
		r.step(Exited{Run: run, Normal: true})
		w := r.write(OpRelease)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped })
		r.refuse(w)
		r.reread()
		r.wants(OpRelease, c, exited)
	})
	t.Run("refused, not mine: done", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		p := r.join(n1)
		r.call(VerbPermit, permitted(false))
		r.stopped()
		r.step(Exited{Run: run, Normal: true})
		w := r.write(OpRelease)
		r.unheard = true
		r.put(ownedBy(p, 6))
		r.refuse(w)
		r.reread()
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("unknown: given up, no restart under it ever", func(t *testing.T) {
		r := newRig(t)
		run, c := r.owns()
		r.call(VerbPermit, permitted(false))
		r.stopped()
		r.step(Exited{Run: run, Normal: true})
		w := r.write(OpRelease)
		r.unknown(w)
		r.call(VerbPermit, permitted(true), func(c *Command) { c.ID = 2 })
		r.reread() // still mine, and wanted here again
		r.noStart()
		r.pass(100 * time.Millisecond)
		again := r.wants(OpRelease, c, exited)
		r.noStart()
		r.ok(again)
		r.ok(r.write(OpClaim)) // running again needs a new claim
		if s := r.start(); s.Epoch != 6 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("unknown, and it never ran: given up all the same", func(t *testing.T) {
		r := newRig(t)
		r.ownDisk = true
		r.ok(r.claims())
		r.call(VerbPermit, permitted(false))
		r.unknown(r.write(OpRelease))
		r.call(VerbPermit, permitted(true), func(c *Command) { c.ID = 2 })
		for len(r.disk) > 0 { // its epoch is on disk only now
			d := r.disk[0]
			r.disk = r.disk[1:]
			r.step(Remembered{Req: d.Req, OK: true})
		}
		r.reread()
		r.noStart()
		r.pass(100 * time.Millisecond)
		r.write(OpRelease)
		r.noStart()
	})
	t.Run("temporary app exits: stopped in the same write", func(t *testing.T) {
		for _, normal := range []bool{true, false} {
			r := newRig(t)
			run, c := r.owns()
			r.step(Exited{Run: run, Normal: normal})
			r.ok(r.wants(OpRelease, c, func(rec *policy.AppRecord) {
				exited(rec)
				rec.Want = policy.WantStopped
			}))
			r.pass(10 * time.Second)
			r.quiet()
		}
	})
	t.Run("exits while another takes over: no restart, next cleared", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		p := r.standby(n1)
		r.step(Exited{Run: run})
		w := r.write(OpRelease)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.refuse(w)
		r.reread()
		r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			exited(rec)
			rec.Want, rec.Next = policy.WantStopped, policy.Slot{}
		})
	})
	t.Run("exits after stop and start elsewhere: the start stays", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.step(Exited{Run: run})
		w := r.write(OpRelease)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo })
		r.refuse(w)
		r.reread()
		r.wants(OpRelease, c, exited) // want and first stay
	})
	t.Run("first start fails: stopped (A-22)", func(t *testing.T) {
		r := newRig(t)
		r.put(policy.AppRecord{App: theApp, Want: policy.WantRun, First: policy.FirstGo, High: 4})
		r.call(VerbStart)
		c := r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			released("")(rec)
			rec.StartKind, rec.StartFrom = policy.StartNormal, ""
			rec.Want, rec.Error = policy.WantStopped, "n2@h: boom"
		})
		if err := r.answer(); err == nil || err.Kind != RefuseFailed {
			t.Errorf("start: %v", err)
		}
	})
	t.Run("first start fails under a second claim: still a first start", func(t *testing.T) {
		r := newRig(t)
		r.put(policy.AppRecord{App: theApp, Want: policy.WantRun, First: policy.FirstGo, High: 4})
		r.call(VerbStart)
		r.ok(r.write(OpClaim)) // cleared first
		c := r.cells[policy.AppKey(theApp)]
		s := r.start()
		a := r.m.appOf[theApp]
		if !a.cleans {
			t.Fatal("not remembered that it cleared first")
		}
		// The own claim is read back under another nonce: an older one landed.
		r.edit(func(rec *policy.AppRecord) { rec.Owner.Nonce, rec.High = "landed", c.App.High })
		r.killed()
		r.step(StartFailed{Run: s.Run, Reason: "killed"})
		r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		if w := r.write(OpRelease); w.Write.Cell.App.Want != policy.WantStopped {
			t.Errorf("want = %s", w.Write.Cell.App.Want)
		}
	})
	t.Run("failover's start fails: tried elsewhere (B-7)", func(t *testing.T) {
		r := newRig(t, timeout(0))
		r.follow().ends(policy.SessionDead)
		c := r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.ok(r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			released("")(rec)
			rec.StartKind, rec.StartFrom = policy.StartFailover, n1
			rec.Error = "n2@h: boom"
		}))
		r.pass(10 * time.Second)
		r.quiet() // failed here until told
		if !slices.ContainsFunc(r.beat.Apps, func(a AppBeat) bool { return a.Failed && a.Error == "boom" }) {
			t.Errorf("beat = %+v", r.beat.Apps)
		}
	})
	t.Run("a permanent app that ends while another takes over is not stopped", func(t *testing.T) {
		r := newRig(t, kind(policy.Permanent))
		run, _ := r.owns()
		p := r.standby(n1)
		r.step(Exited{Run: run, Reason: "boom"})
		w := r.write(OpMarkEnded)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.refuse(w)
		r.reread()
		r.wants(OpRelease, c, exited) // the reserver goes on
	})
}

func TestA6ClearDeadNext(t *testing.T) {
	for _, mode := range []rigOption{overlap, func(*rig, *Config) {}} {
		t.Run("next ended: cleared, run on", func(t *testing.T) {
			r := newRig(t, mode)
			run, _ := r.owns()
			p := r.join(n1)
			p.ends(policy.SessionExpired) // its ask lands after its end
			c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(7); rec.High = 7 })
			w := r.wants(OpClearDead, c, func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
			r.unheard = true
			c = r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
			r.refuse(w)
			r.reread()
			w = r.wants(OpClearDead, c, func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
			r.unheard = false
			r.unknown(w)
			r.reread()
			r.pass(100 * time.Millisecond)
			r.ok(r.write(OpClearDead))
			r.quiet()
			if r.m.appOf[theApp].run.id != run {
				t.Error("another run")
			}
		})
	}
	t.Run("overlap: not while next is alive", func(t *testing.T) {
		r := newRig(t, overlap)
		r.owns()
		p := r.join(n1)
		r.edit(func(rec *policy.AppRecord) { rec.Next, rec.High = p.slot(7), 7 })
		r.pass(10 * time.Second)
		r.quiet()
	})
	t.Run("exclusive: next ends while the app is being stopped for it", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		p := r.join(n1)
		r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.stopped()
		p.ends(policy.SessionExpired)
		r.ok(r.write(OpClearDead))
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.write(OpRelease)) // stopped for n1: released all the same
		r.write(OpClaim)         // the best claims, the old owner included
	})
	t.Run("not by others", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		p := r.join(n3)
		r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		p.ends(policy.SessionExpired)
		r.pass(time.Second)
		r.quiet()
	})
}

func TestA10Restart(t *testing.T) {
	t.Run("overlap: starting in the record first", func(t *testing.T) {
		r := newRig(t, overlap, restarts(3, 100*time.Millisecond))
		run, c := r.owns()
		r.step(Exited{Run: run, Reason: "crash"})
		r.quiet() // the pause
		r.pass(100 * time.Millisecond)
		w := r.wants(OpRestart, c, func(rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting })
		r.noStart()
		r.unknown(w)
		r.reread()
		r.pass(100 * time.Millisecond)
		r.noStart()
		w = r.write(OpRestart)
		r.ok(w)
		if s := r.start(); s.Epoch != 5 {
			t.Errorf("start = %+v, want the same epoch", s)
		}
	})
	t.Run("overlap: refused, read again", func(t *testing.T) {
		r := newRig(t, overlap, restarts(3, 0))
		run, _ := r.owns()
		p := r.join(n1)
		r.step(Exited{Run: run, Reason: "crash"})
		w := r.write(OpRestart)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Next, rec.High = p.slot(6), 6 })
		r.refuse(w)
		r.reread()
		r.wants(OpRestart, c, func(rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting })
	})
	t.Run("exclusive: no write, pauses double", func(t *testing.T) {
		r := newRig(t, restarts(3, 100*time.Millisecond))
		run, _ := r.owns()
		for _, pause := range []time.Duration{100, 200, 400} {
			pause *= time.Millisecond
			r.step(Exited{Run: run, Reason: "crash"})
			r.pass(pause - time.Millisecond)
			r.quiet()
			r.pass(time.Millisecond)
			s := r.start()
			r.noWrite()
			if s.Epoch != 5 || s.Run == run {
				t.Fatalf("start = %+v", s)
			}
			run = s.Run
			r.step(Started{Run: run})
		}
		r.step(Exited{Run: run, Reason: "crash"})
		if w := r.write(OpRelease); w.Write.Cell.App.Want != policy.WantStopped {
			t.Error("the fourth end in a minute is the last")
		}
	})
	t.Run("exclusive: no restart when another takes over", func(t *testing.T) {
		r := newRig(t, restarts(3, time.Second))
		run, _ := r.owns()
		p := r.standby(n1)
		r.step(Exited{Run: run, Reason: "crash"})
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.wants(OpRelease, c, exited) // want stays: next claims
		r.pass(10 * time.Second)
		r.noStart()
	})
	t.Run("a normal end is no crash, except of a permanent app", func(t *testing.T) {
		r := newRig(t, restarts(3, 0))
		run, _ := r.owns()
		r.step(Exited{Run: run, Normal: true})
		r.write(OpRelease)
		r.noStart()

		r = newRig(t, restarts(3, 0), kind(policy.Permanent))
		run, _ = r.owns()
		r.step(Exited{Run: run, Normal: true})
		r.start()
	})
}
