package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// Rule 6: while the record of an app is lost or damaged nobody claims it, but
// whatever is asked of it is answered.

var damagedCell = policy.Cell{Key: policy.AppKey(theApp), Damaged: "garbage"}

// spoilt are the ways in which a record can't be used; all of epoch 4 and below
// is gone.
var spoilt = map[string]policy.Cell{
	"garbage":     damagedCell,
	"no record":   {Key: damagedCell.Key},
	"lower epoch": {Key: damagedCell.Key, App: &policy.AppRecord{App: theApp, High: 1, Want: policy.WantRun}},
}

// nearQuarantine lets all but the last moment of TTL + FENCE go by.
func (r *rig) nearQuarantine() {
	r.t.Helper()
	r.pass(r.m.quarantine() - 20*time.Millisecond)
}

func stoppedAnew(high policy.Epoch) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.Want, rec.High, rec.Since = policy.WantStopped, high, rigWall
	}
}

func TestRule6Stop(t *testing.T) {
	for name, bad := range spoilt {
		t.Run("everywhere: written anew as stopped, above all epochs: "+name, func(t *testing.T) {
			r := newRig(t)
			r.follow()
			c := r.store(bad)
			r.call(VerbStop, everywhere)
			r.nearQuarantine()
			r.quiet()
			r.pending()
			r.pass(50 * time.Millisecond)
			r.ok(r.wants(OpRecreate, policy.Cell{Rev: c.Rev}, stoppedAnew(5)))
			if err := r.answer(); err != nil {
				t.Errorf("stop: %v", err)
			}
			r.pass(10 * time.Second)
			r.quiet()
			r.call(VerbStart)
			r.ok(r.write(OpStartWant))
			r.pass(r.lease().TRes()) // n1 is better, and is not started
			r.peers[0].ends(policy.SessionDead)
			if w := r.write(OpClaim); w.Write.Cell.App.Owner.Epoch != 6 {
				t.Errorf("claim = %+v", w.Write.Cell.App)
			}
		})
		t.Run("at the node that runs it: written back, then stopped: "+name, func(t *testing.T) {
			r := newRig(t)
			run, _ := r.owns()
			r.store(bad)
			back := r.write(OpReassert)
			r.call(VerbStop)
			r.ok(back)
			r.ok(r.write(OpStopWant))
			if r.stopped() != run {
				t.Error("stopped another run")
			}
			r.step(Exited{Run: run, Normal: true})
			r.ok(r.write(OpRelease))
			if err := r.answer(); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
		t.Run("at the node whose instance ends meanwhile: "+name, func(t *testing.T) {
			r := newRig(t)
			run, _ := r.owns()
			c := r.store(bad)
			back := r.write(OpReassert)
			r.call(VerbStop)
			r.step(Exited{Run: run, Reason: "exit 1"})
			r.refuse(back)
			r.reread()
			r.pass(r.m.quarantine() + 100*time.Millisecond)
			r.noStart()
			w := r.write(OpRecreate)
			if w.Write.Expect != c.Rev || w.Write.Cell.App.Want != policy.WantStopped {
				t.Errorf("re-created = %+v", w.Write)
			}
			r.ok(w)
			if err := r.answer(); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	t.Run("its owner lives: it writes itself back, and then is stopped", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		r.put(ownedBy(p, 2))
		r.call(VerbStop, everywhere)
		r.pass(2 * r.m.quarantine())
		r.quiet()
		r.pending()
		r.put(ownedBy(p, 5))
		r.ok(r.write(OpStopWant))
		r.edit(func(rec *policy.AppRecord) { rec.Owner = policy.Slot{} })
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("its owner dies instead", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		r.put(ownedBy(p, 2))
		r.call(VerbStop, everywhere)
		r.pass(2 * r.m.quarantine())
		p.ends(policy.SessionDead)
		r.ok(r.write(OpRecreate))
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("by an owner whose record others can't use: they can again", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.unheard = true
		q := r.standby(n3)
		r.call(VerbStop)
		w := r.write(OpStopWant)
		r.unheard = false
		q.says(func(a *AppBeat) { a.Epoch = 9 })
		r.ok(w) // decided before it heard
		r.stopped()
		r.step(Exited{Run: run, Normal: true})
		if rel := r.write(OpRelease); rel.Write.Cell.App.High != 9 || rel.Write.Cell.App.Want != policy.WantStopped {
			t.Errorf("release = %+v", rel.Write.Cell.App)
		}
	})
	t.Run("by one that has heard so before", func(t *testing.T) {
		r := newRig(t)
		r.put(free(4))
		q := r.join(n3)
		q.says(func(a *AppBeat) { a.Epoch = 9 })
		r.call(VerbStop, everywhere)
		if w := r.write(OpStopWant); w.Write.Cell.App.High != 9 {
			t.Errorf("stop = %+v", w.Write.Cell.App)
		}
	})
	t.Run("started again meanwhile: written anew to run", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.store(damagedCell)
		r.call(VerbStop, everywhere)
		r.step(Command{ID: 2, Verb: VerbStart, App: theApp})
		if err := r.answer(); err == nil || err.Kind != RefuseOvertaken {
			t.Errorf("stop: %v", err)
		}
		r.pass(r.m.quarantine() + 50*time.Millisecond)
		r.ok(r.write(OpRecreate))
		r.write(OpClaim)
	})
	t.Run("started again while it is written: the start is not lost", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.store(damagedCell)
		r.call(VerbStop, everywhere)
		r.pass(r.m.quarantine() + 50*time.Millisecond)
		w := r.write(OpRecreate)
		r.step(Command{ID: 2, Verb: VerbStart, App: theApp})
		r.ok(w)
		if start := r.write(OpStartWant); start.Write.Cell.App.Want != policy.WantRun {
			t.Errorf("start = %+v", start.Write.Cell.App)
		}
	})
	t.Run("what never had a record is stopped", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbStop, everywhere)
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
		r.pass(10 * time.Second)
		r.quiet()
	})
	t.Run("what may get one yet is voided", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbStart)
		r.unknown(r.write(OpCreate))
		r.reread()
		r.step(Command{ID: 2, Verb: VerbStop, App: theApp, All: true})
		r.replies = nil // of the start, which was stopped
		r.pass(100 * time.Millisecond)
		r.ok(r.wants(OpStopWant, policy.Cell{}, stoppedAnew(0)))
		if err := r.answer(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("overlap: a reservation is not waited for", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.step(Started{Run: s.Run})
		r.writes = nil
		r.store(damagedCell)
		r.call(VerbStop, everywhere)
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
	})
}

// What other commands come to while the record can't be used.
func TestRule6Calls(t *testing.T) {
	t.Run("takeover: there is nothing to take over", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.store(damagedCell)
		r.refused(RefuseNotRunning, VerbTakeover)
	})
	t.Run("takeover under way: runs here in the end", func(t *testing.T) {
		r := newRig(t)
		r.told()
		r.ok(r.write(OpAsk))
		r.store(damagedCell)
		r.pending()
		r.pass(r.m.quarantine() + 50*time.Millisecond)
		r.ok(r.write(OpRecreate))
		r.ok(r.write(OpClaim))
		r.step(Started{Run: r.start().Run})
		r.ok(r.write(OpRunning))
		if err := r.answer(); err != nil {
			t.Errorf("takeover: %v", err)
		}
	})
	t.Run("a provisional instance is given up when the owner can't write itself back any more", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.store(damagedCell)
		r.nearQuarantine()
		r.quiet()
		r.pass(50 * time.Millisecond)
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: s.Run, Normal: true})
		r.ok(r.write(OpRecreate))
	})
	t.Run("permit", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.store(damagedCell)
		r.accepted(VerbPermit, permitted(false))
		r.accepted(VerbPermit, permitted(true))
	})
	t.Run("permit false where it runs: stopped first", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.store(damagedCell)
		r.writes = nil
		r.call(VerbPermit, permitted(false))
		r.pending()
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: run, Normal: true})
		if err := r.answer(); err != nil {
			t.Errorf("permit: %v", err)
		}
	})
	t.Run("start: waits, and runs it", func(t *testing.T) {
		r := newRig(t)
		r.put(free(4))
		r.store(damagedCell)
		r.call(VerbStart)
		r.nearQuarantine()
		r.quiet()
		r.pending()
		r.pass(50 * time.Millisecond)
		r.ok(r.write(OpRecreate))
		r.ok(r.write(OpClaim))
		r.step(Started{Run: r.start().Run})
		r.ok(r.write(OpRunning))
		if err := r.answer(); err != nil {
			t.Errorf("start: %v", err)
		}
	})
	t.Run("the node stops", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.store(damagedCell)
		r.writes = nil
		r.call(VerbShutdown)
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.write(OpClose))
		if r.exit == nil {
			t.Error("does not end")
		}
	})
}

// What may run by a record that can't be used keeps its specification until that
// is over.
func TestRule6Config(t *testing.T) {
	r := newRig(t, config(func(c *Config) {
		c.Specification = &policy.SpecRecord{Digest: "d", Specs: []policy.Spec{*c.Apps[0].Spec}}
	}))
	r.ok(r.write(OpSpec))
	r.put(free(4))
	r.store(damagedCell)
	out := func(c *Command) { c.App, c.Apply = "", &policy.SpecRecord{Digest: "e"} }
	r.call(VerbConfig, out)
	err := r.answer()
	if err == nil || err.Kind != RefuseInUse || !strings.Contains(err.Reason, "damaged") {
		t.Errorf("config: %v", err)
	}
	r.pass(r.m.quarantine() + time.Millisecond)
	r.call(VerbConfig, out)
	r.ok(r.write(OpSpec))
	if err := r.answer(); err != nil {
		t.Errorf("config: %v", err)
	}
}
