package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

const n4 = node.Name("n4@h")

func list(groups ...[]node.Name) rigOption {
	return func(r *rig, _ *Config) { r.spec.Groups = groups }
}

func never4(r *rig, _ *Config) { r.spec.Takeover = policy.Never }

var fourNodes = list(nodes(n1), nodes(n2), nodes(n3), nodes(n4))

// behind makes n3 run the app, and n2 start it: n2 is better.
func (r *rig) behind() (*peer, policy.Cell) {
	r.t.Helper()
	p := r.standby(n3)
	c := r.put(ownedBy(p, 4))
	r.call(VerbStart)
	return p, c
}

// told makes the machine ask by command: n1 runs the app.
func (r *rig) told() (*peer, policy.Cell) {
	r.t.Helper()
	p := r.follow()
	r.call(VerbTakeover)
	return p, r.cells[policy.AppKey(theApp)]
}

func (r *rig) asks(command bool) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.Next = r.mySlot(0, "")
		rec.Next.Command = command
	}
}

func TestA4AskHolds(t *testing.T) {
	t.Run("better than the owner", func(t *testing.T) {
		r := newRig(t)
		_, c := r.behind()
		r.ok(r.wants(OpAsk, c, r.asks(false)))
		r.pass(time.Second)
		r.quiet() // an acknowledged ask is no right
	})
	t.Run("told to, whatever the priority", func(t *testing.T) {
		r := newRig(t)
		_, c := r.told()
		r.wants(OpAsk, c, r.asks(true))
	})
	t.Run("next ended", func(t *testing.T) {
		r := newRig(t, fourNodes)
		q := r.join(n1)
		q.ends(policy.SessionDead)
		p := r.standby(n3)
		rec := ownedBy(p, 4)
		rec.Next = q.slot(0)
		c := r.put(rec)
		r.call(VerbStart)
		r.wants(OpAsk, c, r.asks(false))
	})
	t.Run("next is worse", func(t *testing.T) {
		r := newRig(t, fourNodes)
		p, q := r.standby(n4), r.standby(n3)
		rec := ownedBy(p, 4)
		rec.Next = q.slot(0)
		c := r.put(rec)
		r.call(VerbStart)
		r.wants(OpAsk, c, r.asks(false))
	})
	t.Run("a command replaces any next", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		_ = p
		q := r.standby(n3)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = q.slot(0); rec.Next.Command = true })
		r.call(VerbTakeover)
		r.wants(OpAsk, c, r.asks(true))
	})
	t.Run("it had asked by priority: again, by command, so that the app stays (A-41)", func(t *testing.T) {
		r := newRig(t)
		_, c := r.behind()
		c = r.ok(r.wants(OpAsk, c, r.asks(false)))
		r.call(VerbTakeover)
		r.ok(r.wants(OpAsk, c, r.asks(true)))
		c = r.edit(func(rec *policy.AppRecord) { rec.Owner = policy.Slot{} })
		if w := r.write(OpClaim); !w.Write.Cell.App.Pinned {
			t.Errorf("claimed without the pin: %+v after %+v", w.Write.Cell.App, c.App)
		}
	})
}

func TestA4AskNeeds(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []rigOption
		make func(r *rig, rec *policy.AppRecord) // rec is owned by n3
	}{
		{"want = run", nil, func(_ *rig, rec *policy.AppRecord) { rec.Want = policy.WantStopped }},
		{"no start pending", nil, func(_ *rig, rec *policy.AppRecord) { rec.First = policy.FirstWait }},
		{"a better next left alone", nil, func(r *rig, rec *policy.AppRecord) { rec.Next = r.join(n1).slot(0) }},
		{"a next by command left alone", []rigOption{fourNodes}, func(r *rig, rec *policy.AppRecord) {
			rec.Next = r.join(n4).slot(0)
			rec.Next.Command = true
		}},
		{"to be better: the same tuple (A-38)", []rigOption{tuple}, func(*rig, *policy.AppRecord) {}},
		{"to be better: the owner is", nil, func(r *rig, rec *policy.AppRecord) { rec.Owner = r.standby(n1).slot(4) }},
		{"to be the best", nil, func(r *rig, rec *policy.AppRecord) { r.standby(n1) }},
		{"a mode that moves by priority", []rigOption{never4}, func(*rig, *policy.AppRecord) {}},
		{"permission", nil, func(r *rig, _ *policy.AppRecord) {
			r.call(VerbPermit, permitted(false))
		}},
		{"a listed node", []rigOption{list(nodes(n1), nodes(n3))}, func(*rig, *policy.AppRecord) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.opts...)
			rec := ownedBy(r.standby(n3), 4)
			tc.make(r, &rec)
			r.m.appOf[theApp].started = true // no start request of its own
			r.put(rec)
			r.pass(time.Second)
			r.quiet()
		})
	}
	t.Run("what a command placed: not by priority alone (A-41)", func(t *testing.T) {
		r := newRig(t)
		p := r.standby(n3)
		r.m.appOf[theApp].started = true
		rec := ownedBy(p, 4)
		rec.Pinned = true
		r.put(rec)
		r.pass(time.Second)
		r.quiet()
		r.call(VerbPermit, permitted(false))
		r.call(VerbPermit, permitted(true))
		r.write(OpAsk) // an act of a person here: A-48
	})
	t.Run("start in the mode never does not move it; a command does", func(t *testing.T) {
		r := newRig(t, never4)
		_, c := r.behind()
		r.quiet()
		r.call(VerbTakeover)
		r.wants(OpAsk, c, r.asks(true))
	})
}

func TestA4AskOutcome(t *testing.T) {
	t.Run("refused: decide again", func(t *testing.T) {
		r := newRig(t)
		p, _ := r.behind()
		w := r.write(OpAsk)
		r.unheard = true
		c := r.put(ownedBy(p, 6))
		r.refuse(w)
		r.reread()
		r.wants(OpAsk, c, r.asks(false))
	})
	t.Run("unknown: read again; a late landing is a courtesy", func(t *testing.T) {
		r := newRig(t)
		p, c := r.behind()
		w := r.write(OpAsk)
		r.unknown(w)
		r.reread()
		r.pass(100 * time.Millisecond)
		r.ok(r.wants(OpAsk, c, r.asks(false)))
		p.ends(policy.SessionDead)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: 99})
		r.noStart()
	})
}

func TestA5ClearNext(t *testing.T) {
	cleared := func(rec *policy.AppRecord) { rec.Next = policy.Slot{} }
	for _, tc := range []struct {
		name string
		do   func(r *rig)
	}{
		{"permission gone", func(r *rig) { r.call(VerbPermit, permitted(false)) }},
		{"start withdrawn", func(r *rig) { r.call(VerbStop, func(c *Command) { c.ID = 2 }) }},
		{"want = stopped", func(r *rig) { r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped }) }},
		{"stopped and started since", func(r *rig) { r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo }) }},
	} {
		t.Run("exclusive, "+tc.name, func(t *testing.T) {
			r := newRig(t)
			r.told()
			r.ok(r.write(OpAsk))
			tc.do(r)
			c := r.cells[policy.AppKey(theApp)]
			w := r.wants(OpClearNext, c, cleared)
			r.unknown(w)
			r.reread()
			r.pass(100 * time.Millisecond)
			w = r.wants(OpClearNext, c, cleared)
			r.unheard = true
			c = r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
			r.refuse(w)
			r.reread()
			r.wants(OpClearNext, c, cleared)
		})
		t.Run("overlap, "+tc.name, func(t *testing.T) {
			r := newRig(t, overlap)
			r.told()
			r.ok(r.write(OpReserve))
			s := r.start()
			tc.do(r)
			r.noWrite() // its instance is alive
			if r.stopped() != s.Run {
				t.Error("stopped another run")
			}
			c := r.cells[policy.AppKey(theApp)]
			r.step(Exited{Run: s.Run, Normal: true})
			r.wants(OpClearNext, c, cleared) // high stays
		})
	}
	t.Run("overlap, start failed", func(t *testing.T) {
		r := newRig(t, overlap)
		r.told()
		c := r.ok(r.write(OpReserve))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.ok(r.wants(OpClearNext, c, cleared))
		r.pass(10 * time.Second)
		r.quiet()
		if err := r.answer(); err == nil || err.Kind != RefuseFailed {
			t.Errorf("takeover: %v", err)
		}
	})
	t.Run("overlap, the provisional instance ends by itself", func(t *testing.T) {
		r := newRig(t, overlap, restarts(3, 0))
		r.told()
		c := r.ok(r.write(OpReserve))
		r.step(Exited{Run: r.start().Run, Reason: "crash"})
		r.wants(OpClearNext, c, cleared)
		r.noStart()
	})
	t.Run("overlap, a reservation of unknown outcome", func(t *testing.T) {
		r := newRig(t, overlap)
		r.told()
		w := r.write(OpReserve)
		c := r.commit(w)
		r.unknown(w)
		r.reread()
		r.noStart()
		r.wants(OpClearNext, c, cleared)
	})
	t.Run("only its own, of the session of now", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		slot := r.mySlot(0, "")
		slot.Session = "a former one"
		r.edit(func(rec *policy.AppRecord) { rec.Next, rec.Want = slot, policy.WantStopped })
		r.pass(time.Second)
		r.quiet()
	})
}
