package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func stoppedRecord(rec *policy.AppRecord) {
	rec.Want, rec.First, rec.Next, rec.Since = policy.WantStopped, policy.FirstNone, policy.Slot{}, rigWall
}

func TestA11Stop(t *testing.T) {
	t.Run("at a hidden node, also for all: it steps back and writes nothing", func(t *testing.T) {
		r := bareRig(t, config(func(c *Config) { c.Hidden = true }))
		r.snapshot()
		r.put(ownedBy(r.join(n1), 4))
		r.call(VerbStop, everywhere)
		if err := r.answer(); err == nil || err.Kind != RefuseNotStarted {
			t.Errorf("not started there: %v", err)
		}
		r.call(VerbStart, func(c *Command) { c.ID = 2 })
		if err := r.answer(); err != nil {
			t.Errorf("start: %v", err)
		}
		r.call(VerbStop, everywhere, func(c *Command) { c.ID = 3 })
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.noWrite()
	})
	t.Run("at the owner: before the release", func(t *testing.T) {
		r := newRig(t)
		run, c := r.owns()
		r.call(VerbStop)
		c = r.ok(r.wants(OpStopWant, c, stoppedRecord))
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.noWrite()
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.wants(OpRelease, c, exited))
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.pass(10 * time.Second)
		r.quiet()
	})
	t.Run("at the owner, exclusive and being asked: next goes", func(t *testing.T) {
		r := newRig(t)
		r.owns()
		p := r.standby(n1)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.call(VerbStop) // while it yields
		r.wants(OpStopWant, c, stoppedRecord)
	})
	t.Run("at the owner, overlap: the reservation is not ours", func(t *testing.T) {
		r := newRig(t, overlap)
		r.owns()
		p := r.standby(n1)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next, rec.High = p.slot(6), 6 })
		r.call(VerbStop)
		r.wants(OpStopWant, c, func(rec *policy.AppRecord) {
			rec.Want, rec.Since = policy.WantStopped, rigWall
		})
	})
	t.Run("at the owner while it starts", func(t *testing.T) {
		r := newRig(t)
		s, c := r.starting()
		r.call(VerbStop, func(c *Command) { c.ID = 2 })
		if err := r.answer(); err == nil || err.Kind != RefuseStopped {
			t.Errorf("start: %v", err)
		}
		c = r.ok(r.wants(OpStopWant, c, stoppedRecord))
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
		r.step(StartFailed{Run: s.Run, Reason: "stopped"})
		r.wants(OpRelease, c, exited) // no failed start
	})
	t.Run("elsewhere: nothing is written", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.call(VerbStop)
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("elsewhere: a claim whose OK comes later is released", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.call(VerbStop, func(c *Command) { c.All, c.ID = true, 2 })
		r.ok(w)
		r.noStart()
		r.ok(r.write(OpStopWant))
		r.write(OpRelease)
	})
	t.Run("everywhere: anyone may", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		c := r.cells[policy.AppKey(theApp)]
		r.call(VerbStop, everywhere)
		c = r.ok(r.wants(OpStopWant, c, stoppedRecord))
		if len(r.replies) > 0 {
			t.Error("answered while the owner runs it")
		}
		rec := *c.App
		rec.Owner = policy.Slot{}
		r.put(rec)
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("nothing to change: nothing written", func(t *testing.T) {
		r := newRig(t)
		rec := free(4)
		rec.Want = policy.WantStopped
		r.put(rec)
		r.call(VerbStop, everywhere)
		r.noWrite()
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("refused: decide again", func(t *testing.T) {
		r := newRig(t)
		r.owns()
		p := r.standby(n1)
		r.call(VerbStop)
		w := r.write(OpStopWant)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = p.slot(0) })
		r.refuse(w)
		r.reread()
		r.wants(OpStopWant, c, stoppedRecord)
	})
	t.Run("unknown: again, until it is certain", func(t *testing.T) {
		r := newRig(t)
		_, c := r.owns()
		r.call(VerbStop)
		w := r.write(OpStopWant)
		r.unknown(w)
		r.reread()
		r.pass(100 * time.Millisecond)
		again := r.wants(OpStopWant, c, stoppedRecord)
		r.store(r.commit(w)) // the first lands
		r.refuse(again)
		r.stopped()
		r.pass(time.Second)
		r.noWrite()
	})
}

// startedFrom is the value that a start gives to a stopped record.
func startedFrom(first policy.First) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.Want, rec.First, rec.Since = policy.WantRun, first, rigWall
		rec.Error, rec.Ended, rec.Pinned = "", nil, false
		rec.StartKind, rec.StartFrom = policy.StartNormal, ""
	}
}

func TestA11Start(t *testing.T) {
	stoppedAt := func(r *rig, owner policy.Slot) policy.Cell {
		rec := free(max(4, r.m.appOf[theApp].seen))
		rec.Want, rec.Owner, rec.Error, rec.Pinned = policy.WantStopped, owner, "boom", true
		rec.Ended = []policy.EndedNode{{Node: n3, At: 1}}
		rec.StartKind, rec.StartFrom = policy.StartTakeover, n3
		return r.put(rec)
	}
	t.Run("not started here before: wait", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		c := stoppedAt(r, policy.Slot{})
		r.call(VerbStart)
		r.ok(r.wants(OpStartWant, c, startedFrom(policy.FirstWait)))
		r.pass(10 * time.Second)
		r.quiet() // n1 is there and was not told to start
		if st := r.m.Status().Apps[0]; st.State != AppWaiting || st.WaitingFor != n1 {
			t.Errorf("status = %+v", st)
		}
	})
	t.Run("started here before: go", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		r.m.appOf[theApp].started = true
		c := stoppedAt(r, policy.Slot{})
		r.call(VerbStart)
		r.ok(r.wants(OpStartWant, c, startedFrom(policy.FirstGo)))
		r.write(OpClaim)
	})
	t.Run("failed here before: go, and a new chance", func(t *testing.T) {
		r := newRig(t, timeout(0))
		r.follow().ends(policy.SessionDead)
		r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.ok(r.write(OpRelease))
		c := stoppedAt(r, policy.Slot{})
		r.call(VerbStart)
		r.ok(r.wants(OpStartWant, c, startedFrom(policy.FirstGo)))
		r.ok(r.write(OpClaim))
		r.start()
	})
	t.Run("the owner still stops: owner stays", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n3)
		c := stoppedAt(r, p.slot(4))
		r.call(VerbStart)
		r.ok(r.wants(OpStartWant, c, startedFrom(policy.FirstWait)))
		r.pass(time.Second)
		r.quiet() // and no ask: first is set
	})
	t.Run("wanted already: nothing written", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.quiet()
	})
	t.Run("an own stop of unknown outcome is voided by writing", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		c := r.cells[policy.AppKey(theApp)]
		r.call(VerbStop, everywhere)
		stop := r.write(OpStopWant)
		r.unknown(stop)
		r.reread()
		r.call(VerbStart, func(c *Command) { c.ID = 2 })
		r.pass(100 * time.Millisecond)
		w := r.wants(OpStartWant, c, func(rec *policy.AppRecord) { rec.Since = rigWall })
		r.ok(w)
		if r.cells[policy.AppKey(theApp)].Rev == stop.Write.Expect {
			t.Error("the stop can still land")
		}
	})
	t.Run("refused and unknown: again", func(t *testing.T) {
		r := newRig(t)
		stoppedAt(r, policy.Slot{})
		r.call(VerbStart)
		w := r.write(OpStartWant)
		r.unheard = true
		c := stoppedAt(r, r.join(n3).slot(4))
		r.refuse(w)
		r.reread()
		r.unknown(r.wants(OpStartWant, c, startedFrom(policy.FirstWait)))
		r.reread()
		r.pass(100 * time.Millisecond)
		r.wants(OpStartWant, c, startedFrom(policy.FirstWait))
	})
}
