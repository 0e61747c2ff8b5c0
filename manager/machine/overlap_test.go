package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func (r *rig) reserves(command bool) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.High++
		rec.Next = r.mySlot(rec.High, "new")
		rec.Next.Command = command
	}
}

func TestA7Reserve(t *testing.T) {
	t.Run("better than a running owner: provisional start on the OK", func(t *testing.T) {
		r := newRig(t, overlap)
		_, c := r.behind()
		w := r.wants(OpReserve, c, r.reserves(false))
		r.noStart()
		r.ok(w)
		if s := r.start(); s.Kind != policy.StartTakeover || s.From != n3 || s.Epoch != 5 {
			t.Errorf("start = %+v", s)
		}
		if len(r.confirms) > 0 {
			t.Error("its epoch is not the owner's yet")
		}
	})
	t.Run("told to", func(t *testing.T) {
		r := newRig(t, overlap)
		_, c := r.told()
		r.wants(OpReserve, c, r.reserves(true))
	})
	t.Run("next and prev ended", func(t *testing.T) {
		r := newRig(t, overlap)
		q := r.join(n1)
		q.ends(policy.SessionDead)
		rec := ownedBy(r.standby(n3), 4)
		rec.Next, rec.Prev = q.slot(4), q.slot(3)
		c := r.put(rec)
		r.call(VerbStart)
		r.wants(OpReserve, c, r.reserves(false))
	})
	for _, tc := range []struct {
		name string
		make func(r *rig, rec *policy.AppRecord)
	}{
		{"the owner running", func(_ *rig, rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting }},
		{"next empty or ended", func(r *rig, rec *policy.AppRecord) { rec.Next = r.join(n1).slot(4) }},
		{"prev empty or ended", func(r *rig, rec *policy.AppRecord) { rec.Prev = r.join(n1).slot(3) }},
		{"want = run", func(_ *rig, rec *policy.AppRecord) { rec.Want = policy.WantStopped }},
		{"no start pending", func(_ *rig, rec *policy.AppRecord) { rec.First = policy.FirstGo }},
		{"an owner", func(_ *rig, rec *policy.AppRecord) { rec.Owner, rec.Want = policy.Slot{}, policy.WantStopped }},
	} {
		t.Run("needs "+tc.name, func(t *testing.T) {
			r := newRig(t, overlap)
			rec := ownedBy(r.standby(n3), 4)
			tc.make(r, &rec)
			r.m.appOf[theApp].started = true
			r.put(rec)
			r.pass(time.Second)
			r.quiet()
		})
	}
	t.Run("refused: decide again", func(t *testing.T) {
		r := newRig(t, overlap)
		p, _ := r.behind()
		w := r.write(OpReserve)
		r.unheard = true
		c := r.put(ownedBy(p, 9))
		r.refuse(w)
		r.reread()
		r.wants(OpReserve, c, r.reserves(false))
	})
	t.Run("unknown and not landed: not started, reserved again higher", func(t *testing.T) {
		r := newRig(t, overlap)
		r.behind()
		w := r.write(OpReserve)
		r.unknown(w)
		r.reread()
		r.noStart()
		r.pass(100 * time.Millisecond)
		if again := r.write(OpReserve); again.Write.Cell.App.High != 6 || again.Write.Expect != w.Write.Expect {
			t.Errorf("A7 = %+v", again.Write)
		}
	})
}

// provisional makes n2 run a provisional instance beside the owner n3.
func (r *rig) provisional() (*peer, StartApp, policy.Cell) {
	r.t.Helper()
	p, _ := r.behind()
	c := r.ok(r.write(OpReserve))
	return p, r.start(), c
}

func (r *rig) takes(prev policy.Slot) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		owner := r.mySlot(rec.Next.Epoch, rec.Next.Nonce)
		rec.Pinned = rec.Next.Command
		rec.StartKind, rec.StartFrom = policy.StartTakeover, rec.Owner.Node
		if rec.Owner.Empty() {
			rec.StartFrom = n3
		}
		rec.Owner, rec.Prev, rec.Next = owner, prev, policy.Slot{}
		rec.Phase, rec.Since = policy.PhaseRunning, rigWall
	}
}

func TestA8Take(t *testing.T) {
	t.Run("the provisional instance is up", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, c := r.provisional()
		if !s.Provisional {
			t.Error("it is not told to keep its epoch to itself")
		}
		r.pass(time.Second)
		r.noWrite()
		r.step(Started{Run: s.Run})
		w := r.wants(OpTake, c, r.takes(c.App.Owner))
		if len(r.confirms) > 0 {
			t.Error("confirmed before the take")
		}
		r.ok(w)
		if r.one("confirms", &r.confirms) != s.Run {
			t.Error("confirmed another run")
		}
		r.quiet()
	})
	t.Run("told to after it had reserved by priority: it stays (A-41)", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.call(VerbTakeover)
		r.step(Started{Run: s.Run})
		if w := r.write(OpTake); !w.Write.Cell.App.Pinned {
			t.Errorf("took over without the pin: %+v", w.Write.Cell.App)
		}
	})
	t.Run("the owner is free or ended: no prev", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		c := r.edit(func(rec *policy.AppRecord) { rec.Owner = policy.Slot{} })
		r.step(Started{Run: s.Run})
		r.wants(OpTake, c, r.takes(policy.Slot{}))

		r = newRig(t, overlap)
		p, s, c := r.provisional()
		p.ends(policy.SessionExpired)
		r.step(Started{Run: s.Run})
		r.wants(OpTake, c, r.takes(policy.Slot{}))
	})
	t.Run("not while the owner starts again", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.edit(func(rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting })
		r.step(Started{Run: s.Run})
		r.quiet()
		c := r.edit(func(rec *policy.AppRecord) { rec.Phase = policy.PhaseRunning })
		r.wants(OpTake, c, r.takes(c.App.Owner))
	})
	t.Run("refused, still reserved: again", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.step(Started{Run: s.Run})
		w := r.write(OpTake)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
		r.refuse(w)
		r.reread()
		r.wants(OpTake, c, r.takes(c.App.Owner))
	})
	t.Run("refused, gone: kill", func(t *testing.T) {
		r := newRig(t, overlap)
		p, s, _ := r.provisional()
		r.step(Started{Run: s.Run})
		w := r.write(OpTake)
		r.unheard = true
		r.put(ownedBy(p, 9))
		r.refuse(w)
		r.reread()
		if r.killed() != s.Run {
			t.Error("killed another run")
		}
		if len(r.confirms) > 0 {
			t.Error("confirmed")
		}
	})
	t.Run("unknown and landed: runs on, confirmed by the read", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, _ := r.provisional()
		r.step(Started{Run: s.Run})
		w := r.write(OpTake)
		r.commit(w)
		r.unknown(w)
		r.quiet()
		r.reread()
		if r.one("confirms", &r.confirms) != s.Run {
			t.Error("confirmed another run")
		}
		r.quiet()
	})
	t.Run("unknown and not landed: runs on, taken again", func(t *testing.T) {
		r := newRig(t, overlap)
		_, s, c := r.provisional()
		r.step(Started{Run: s.Run})
		r.unknown(r.write(OpTake))
		r.reread()
		r.pass(100 * time.Millisecond)
		r.wants(OpTake, c, r.takes(c.App.Owner))
		r.quiet()
	})
}

func TestA9ClearPrev(t *testing.T) {
	// n2 ran it, n1 has taken over.
	overtaken := func(r *rig) (RunID, policy.Cell) {
		run, _ := r.owns()
		p := r.standby(n1)
		return run, r.edit(func(rec *policy.AppRecord) {
			rec.Prev, rec.Owner, rec.High = rec.Owner, p.slot(6), 6
		})
	}
	cleared := func(rec *policy.AppRecord) { rec.Prev = policy.Slot{} }
	t.Run("after the app is confirmed gone", func(t *testing.T) {
		r := newRig(t, overlap)
		run, c := overtaken(r)
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.pass(time.Second)
		r.noWrite()
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.wants(OpClearPrev, c, cleared))
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("refused and unknown: again", func(t *testing.T) {
		r := newRig(t, overlap)
		run, _ := overtaken(r)
		r.stopped()
		r.step(Exited{Run: run, Normal: true})
		w := r.write(OpClearPrev)
		r.unheard = true
		c := r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
		r.refuse(w)
		r.reread()
		r.unknown(r.wants(OpClearPrev, c, cleared))
		r.reread()
		r.pass(100 * time.Millisecond)
		r.wants(OpClearPrev, c, cleared)
	})
	t.Run("the new owner dies meanwhile: first this, then a claim", func(t *testing.T) {
		r := newRig(t, overlap, timeout(0))
		run, c := overtaken(r)
		r.stopped()
		r.peers[0].ends(policy.SessionDead)
		r.pass(time.Second)
		r.noWrite() // its own instance may be alive
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.wants(OpClearPrev, c, cleared))
		r.write(OpClaim)
	})
	t.Run("not the prev of another session", func(t *testing.T) {
		r := newRig(t, overlap)
		p := r.follow()
		r.edit(func(rec *policy.AppRecord) { rec.Prev = p.slot(3); rec.Owner = r.join(n3).slot(4) })
		r.pass(time.Second)
		r.quiet()
	})
}

// A-47 where takeovers overlap: a permission is taken away, the new instance
// starts first, and the old one goes on until it has.
func TestOverlapPermit(t *testing.T) {
	denied := func(r *rig) (RunID, *peer) {
		run, _ := r.owns()
		p := r.standby(n3)
		r.call(VerbPermit, permitted(false))
		r.pending()
		return run, p
	}
	t.Run("runs on until it is taken, then stops", func(t *testing.T) {
		r := newRig(t, overlap)
		run, p := denied(r)
		r.quiet()
		c := r.edit(func(rec *policy.AppRecord) { rec.High++; rec.Next = p.slot(rec.High) })
		r.pass(10 * r.lease().TRes())
		r.quiet() // however long its start takes
		r.pending()
		r.edit(func(rec *policy.AppRecord) { rec.Owner, rec.Prev, rec.Next = c.App.Next, c.App.Owner, policy.Slot{} })
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.write(OpClearPrev))
		if err := r.answer(); err != nil {
			t.Error(err)
		}
	})
	stops := func(t *testing.T, r *rig, run RunID) {
		t.Helper()
		if r.stopped() != run {
			t.Error("stopped another run")
		}
		r.step(Exited{Run: run, Normal: true})
		if w := r.write(OpRelease); !w.Write.Cell.App.Owner.Empty() {
			t.Errorf("A3 = %+v", w.Write.Cell.App)
		}
	}
	t.Run("nobody else can run it: stops at once", func(t *testing.T) {
		r := newRig(t, overlap)
		run, _ := r.owns()
		r.join(n3)
		r.call(VerbPermit, permitted(false))
		stops(t, r, run)
	})
	t.Run("the others do nothing: stops after T_res", func(t *testing.T) {
		r := newRig(t, overlap)
		run, _ := denied(r)
		r.pass(r.lease().TRes() - time.Millisecond)
		r.quiet()
		r.pass(time.Second)
		stops(t, r, run)
	})
	t.Run("the takeover fails and nobody is left: stops", func(t *testing.T) {
		r := newRig(t, overlap)
		run, p := denied(r)
		r.edit(func(rec *policy.AppRecord) { rec.High++; rec.Next = p.slot(rec.High) })
		p.says(func(a *AppBeat) { a.Failed = true })
		r.quiet()
		r.edit(func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
		stops(t, r, run)
	})
	t.Run("permitted again before anybody took it: stays", func(t *testing.T) {
		r := newRig(t, overlap)
		denied(r)
		r.call(VerbPermit, permitted(true))
		r.pass(10 * r.lease().TRes())
		r.quiet()
	})
	t.Run("still starting: stops at once", func(t *testing.T) {
		r := newRig(t, overlap)
		s, _ := r.starting()
		r.standby(n3)
		r.call(VerbPermit, permitted(false))
		if r.stopped() != s.Run {
			t.Error("stopped another run")
		}
	})
	t.Run("stopped meanwhile: stops", func(t *testing.T) {
		r := newRig(t, overlap)
		run, _ := denied(r)
		r.edit(func(rec *policy.AppRecord) { rec.Want = policy.WantStopped })
		stops(t, r, run)
	})
	t.Run("exclusive: stops at once", func(t *testing.T) {
		r := newRig(t)
		run, _ := denied(r)
		stops(t, r, run)
	})

	follow := func(opts ...rigOption) (*rig, *peer, policy.Cell) {
		r := newRig(t, opts...)
		p := r.standby(n1)
		c := r.put(ownedBy(p, 4))
		r.call(VerbStart)
		r.quiet()
		return r, p, c
	}
	t.Run("elsewhere: the best of the others reserves, though it is worse", func(t *testing.T) {
		r, p, c := follow(overlap)
		p.says(func(a *AppBeat) { a.Denied = true })
		r.ok(r.wants(OpReserve, c, r.reserves(false)))
		if s := r.start(); s.Kind != policy.StartTakeover || s.From != n1 {
			t.Errorf("start = %+v", s)
		}
	})
	for _, tc := range []struct {
		name string
		opts []rigOption
		make func(r *rig, p *peer)
	}{
		{"an equal with the lesser name is there", []rigOption{overlap, tuple, as(n3)}, func(r *rig, p *peer) {
			r.standby(n2)
			p.says(func(a *AppBeat) { a.Denied = true })
		}},
		{"exclusive: it is released first", nil, func(_ *rig, p *peer) { p.says(func(a *AppBeat) { a.Denied = true }) }},
		{"the owner still starts it", []rigOption{overlap}, func(r *rig, p *peer) {
			r.edit(func(rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting })
			p.says(func(a *AppBeat) { a.Denied = true })
		}},
	} {
		t.Run("elsewhere, not: "+tc.name, func(t *testing.T) {
			r, p, _ := follow(tc.opts...)
			tc.make(r, p)
			r.pass(time.Second)
			r.quiet()
		})
	}
}
