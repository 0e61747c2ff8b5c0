package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func TestA0Create(t *testing.T) {
	t.Run("absent and told to start", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbStart)
		w := r.wants(OpCreate, policy.Cell{}, func(rec *policy.AppRecord) {
			rec.Want, rec.First, rec.Since = policy.WantRun, policy.FirstWait, rigWall
		})
		r.ok(w)
		r.write(OpClaim)
	})
	t.Run("not when nobody was told to start", func(t *testing.T) {
		r := newRig(t)
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("not before the whole bucket was seen", func(t *testing.T) {
		r := bareRig(t)
		r.call(VerbStart)
		r.step(Viewed{View: policy.View{Identity: bucketID, Seq: r.rev}})
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("not when an epoch is remembered here", func(t *testing.T) {
		r := newRig(t, config(func(c *Config) { c.Memory.Apps = []AppMemory{{App: theApp, Seen: 3, Allotted: 3}} }))
		r.call(VerbStart)
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("not when somebody heard remembers an epoch", func(t *testing.T) {
		r := newRig(t)
		r.join(n1).says(func(a *AppBeat) { a.Epoch = 3 })
		r.call(VerbStart)
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("not when the start was withdrawn", func(t *testing.T) {
		r := bareRig(t)
		r.call(VerbStart)
		r.call(VerbStop, everywhere)
		r.snapshot()
		r.ok(r.write(OpRegister))
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("refused: decide again on what is there", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbStart)
		w := r.write(OpCreate)
		r.unheard = true
		r.put(policy.AppRecord{App: theApp, Want: policy.WantRun, First: policy.FirstWait})
		r.refuse(w)
		r.reread()
		r.write(OpClaim)
	})
	t.Run("unknown: read again; a late landing starts nothing", func(t *testing.T) {
		r := newRig(t)
		r.call(VerbStart)
		w := r.write(OpCreate)
		r.unknown(w)
		r.reread()
		r.noWrite()
		r.call(VerbStop, everywhere, func(c *Command) { c.ID = 2 })
		r.store(r.commit(w))
		r.pass(time.Second)
		r.noStart()
	})
}

// claimWrite is the value that A1 gives to a record.
func (r *rig) claimWrite(k policy.StartKind, from *peer) func(*policy.AppRecord) {
	return func(rec *policy.AppRecord) {
		rec.High++
		rec.Owner = r.mySlot(rec.High, "new")
		rec.Phase, rec.First = policy.PhaseStarting, policy.FirstNone
		rec.Next, rec.Prev = policy.Slot{}, policy.Slot{}
		rec.StartKind, rec.Since, rec.Error = k, rigWall, ""
		rec.StartFrom = ""
		if from != nil {
			rec.StartFrom = from.name
		}
	}
}

func TestA1ClaimHolds(t *testing.T) {
	t.Run("owner free", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		rec := free(4)
		rec.Payload, rec.From, rec.Error = []byte("p"), n3, "boom"
		c := r.put(rec)
		r.ok(r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil)))
		if s := r.start(); s.Epoch != 5 || string(s.Payload) != "p" || s.Session != r.m.session.id || s.Kind != policy.StartNormal {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("passed on by a running owner: takeover", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		rec := free(4)
		rec.StartKind, rec.StartFrom = policy.StartTakeover, n1
		r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartTakeover, p))
	})
	t.Run("owner is the own session by a claim that landed", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		rec := free(4)
		rec.Owner = r.mySlot(4, "another claim")
		r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartNormal, nil))
		r.noStart()
	})
	t.Run("owner ended and Timeout over: failover", func(t *testing.T) {
		r := newRig(t, timeout(time.Second))
		p := r.follow()
		c := r.cells[policy.AppKey(theApp)]
		p.ends(policy.SessionDead)
		r.pass(950 * time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond)
		r.ok(r.wants(OpClaim, c, r.claimWrite(policy.StartFailover, p)))
		if s := r.start(); s.Kind != policy.StartFailover || s.From != n1 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("failover of an app without start phases: normal (A-27)", func(t *testing.T) {
		r := newRig(t, timeout(0), classic)
		p := r.follow()
		c := r.cells[policy.AppKey(theApp)]
		p.ends(policy.SessionExpired)
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("owner is a former life of this node: at once", func(t *testing.T) {
		r := bareRig(t)
		r.unheard = true
		life := r.putNode(former(policy.SessionExpired))
		rec := free(4)
		rec.Owner = policy.Slot{Node: n2, Session: "old", SRev: life.Rev, Epoch: 4}
		c := r.put(rec)
		r.unheard = false
		r.snapshot()
		r.ok(r.write(OpRegister))
		r.call(VerbStart)
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("owner ended, started from stopped since: no Timeout", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		p.ends(policy.SessionClosed)
		c := r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo })
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("next is mine", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		rec := free(4)
		rec.Next = r.mySlot(0, "")
		r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("asked for by command: placed there", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		rec := free(4)
		rec.Next = r.mySlot(0, "")
		rec.Next.Command = true
		r.wants(OpClaim, r.put(rec), func(rec *policy.AppRecord) {
			r.claimWrite(policy.StartNormal, nil)(rec)
			rec.Pinned = true
		})
	})
	for _, opt := range []rigOption{overlap, func(*rig, *Config) {}} {
		t.Run("next ended", func(t *testing.T) {
			r := newRig(t, opt)
			r.follow()
			p := r.join(n3)
			rec := free(4)
			rec.Next = p.slot(4)
			p.ends(policy.SessionExpired)
			r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartNormal, nil))
		})
	}
	t.Run("exclusive, live next, owner ended", func(t *testing.T) {
		r := newRig(t, timeout(0))
		p, q := r.follow(), r.join(n3)
		c := r.edit(func(rec *policy.AppRecord) { rec.Next = q.slot(0) })
		p.ends(policy.SessionDead)
		r.wants(OpClaim, c, r.claimWrite(policy.StartFailover, p))
	})
	t.Run("exclusive, free, live next idle for T_res", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		p := r.join(n3)
		rec := free(4)
		rec.Next = p.slot(0)
		c := r.put(rec)
		r.pass(r.lease().TRes() - time.Millisecond)
		r.noWrite()
		r.pass(time.Millisecond)
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("overlap, prev ended", func(t *testing.T) {
		r := newRig(t, overlap)
		r.follow()
		p := r.join(n3)
		rec := free(4)
		rec.Prev = p.slot(3)
		p.ends(policy.SessionDead)
		r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartNormal, nil))
	})
}

func TestA1ClaimNeeds(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []rigOption
		make func(r *rig, p *peer) // p owns it, and is no candidate
	}{
		{"want = run", nil, func(r *rig, _ *peer) {
			rec := free(4)
			rec.Want = policy.WantStopped
			r.put(rec)
		}},
		{"the owner gone: live", nil, func(r *rig, _ *peer) { r.pass(10 * time.Second) }},
		{"the owner ended: only suspected", []rigOption{timeout(0)}, func(r *rig, p *peer) {
			p.mute = true
			r.pass(10 * time.Second)
		}},
		{"the owner ended: a hint of its end", []rigOption{timeout(0)}, func(r *rig, p *peer) { r.step(Disconnected{Node: n1}) }},
		{"the owner ended: another session at an older revision", []rigOption{timeout(0)}, func(r *rig, p *peer) {
			rec := free(4)
			rec.Owner = policy.Slot{Node: n1, Session: "s-newer", SRev: r.rev + 100, Epoch: 4}
			r.put(rec)
		}},
		{"the owner ended: its cell was never seen", []rigOption{timeout(0)}, func(r *rig, p *peer) {
			rec := free(4)
			rec.Owner = policy.Slot{Node: "n9@h", Session: "s", SRev: 1, Epoch: 4}
			r.put(rec)
			r.pass(10 * time.Second)
		}},
		{"Timeout over", nil, func(r *rig, p *peer) { p.ends(policy.SessionDead); r.pass(4 * time.Second) }},
		{"Timeout over: infinity", []rigOption{infinite}, func(r *rig, p *peer) { p.ends(policy.SessionDead); r.pass(time.Hour / 60) }},
		{"overlap: next of nobody alive", []rigOption{overlap, timeout(0)}, func(r *rig, p *peer) {
			q := r.join(n3)
			r.edit(func(rec *policy.AppRecord) { rec.Next = q.slot(5); rec.High = 5 })
			p.ends(policy.SessionDead)
			r.pass(10 * time.Second)
		}},
		{"overlap: prev gone", []rigOption{overlap, timeout(0)}, func(r *rig, p *peer) {
			q := r.join(n3)
			r.edit(func(rec *policy.AppRecord) { rec.Prev = q.slot(3) })
			p.ends(policy.SessionDead)
			r.pass(10 * time.Second)
		}},
		{"permission", nil, func(r *rig, _ *peer) {
			r.call(VerbPermit, permitted(false))
			r.put(free(4))
		}},
		{"start called here", nil, func(r *rig, _ *peer) {
			r.call(VerbStop)
			r.put(free(4))
		}},
		{"to be the best candidate", nil, func(r *rig, p *peer) {
			p.says(func(a *AppBeat) { a.Started = true })
			r.put(free(4))
			r.pass(10 * time.Second)
		}},
		{"a session", []rigOption{manualRenew}, func(r *rig, _ *peer) {
			r.fenceNow()
			r.writes = nil
			r.put(free(4))
		}},
		{"no start that failed here", nil, func(r *rig, _ *peer) {
			r.ok(func() Write { r.put(free(4)); return r.write(OpClaim) }())
			r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
			r.ok(r.write(OpRelease))
			r.pass(10 * time.Second)
		}},
		{"a record of this app", nil, func(r *rig, _ *peer) {
			r.store(policy.Cell{Key: policy.AppKey("other"), App: &policy.AppRecord{App: "other", Want: policy.WantRun}})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.opts...)
			tc.make(r, r.follow())
			for _, w := range r.writes {
				if w.Op == OpClaim {
					t.Errorf("claimed: %+v", w.Write)
				}
			}
			r.noStart()
		})
	}
}

func TestA1ClaimOutcome(t *testing.T) {
	t.Run("refused, owned by another now: no start", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		w := r.claims()
		r.unheard = true
		r.put(ownedBy(p, 5))
		r.refuse(w)
		r.reread()
		r.pass(time.Second)
		r.quiet()
	})
	t.Run("refused, still free: claim again above the new high", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.unheard = true
		c := r.put(free(7))
		r.refuse(w)
		r.reread()
		r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("unknown and landed: no licence, claim again", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		c := r.commit(w)
		r.unknown(w)
		r.reread()
		r.noStart()
		again := r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil))
		if again.Write.Cell.App.Owner.Epoch != 6 {
			t.Errorf("epoch %d, want 6", again.Write.Cell.App.Owner.Epoch)
		}
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
		r.noStart() // the OK of claim 1 is none for claim 2
		r.ok(again)
		if s := r.start(); s.Epoch != 6 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("unknown and not landed: again, above the epoch it may have taken", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.unknown(w)
		r.reread()
		r.noWrite()
		r.pass(100 * time.Millisecond)
		again := r.write(OpClaim)
		if again.Write.Expect != w.Write.Expect || again.Write.Cell.App.Owner.Epoch != 6 || again.Write.ID == w.Write.ID {
			t.Errorf("claim 2 = %+v", again.Write)
		}
		r.store(r.commit(w)) // claim 1 lands, is read, while claim 2 is open
		r.noStart()
		r.refuse(again)
		third := r.write(OpClaim) // decided on what is read, no licence in it
		r.noStart()
		r.ok(third)
		if s := r.start(); s.Epoch != 7 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("unknown, and the read tells nothing: read again", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.unknown(w)
		rd := r.reads[0]
		r.reads = nil
		r.step(ReadDone{Req: rd.Req})
		r.quiet()
		r.pass(50 * time.Millisecond)
		if len(r.reads) != 1 || r.reads[0].Req == rd.Req {
			t.Fatalf("reads = %+v", r.reads)
		}
		r.step(ReadDone{Req: rd.Req, OK: true}) // the old read, late
		r.quiet()
		r.reread()
	})
	t.Run("OK after the deadline starts nothing", func(t *testing.T) {
		r := newRig(t, manualRenew)
		w := r.claims()
		r.jump(r.lease().Fence() + time.Millisecond)
		c := r.commit(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
		r.noStart()
	})
}

// The echo of a re-assertion may come before its answer: the app runs on.
func TestReassertEchoFirst(t *testing.T) {
	r := newRig(t)
	_, cell := r.owns()
	r.store(policy.Cell{Key: cell.Key, Damaged: "garbage"})
	w := r.write(OpReassert)
	echo := r.commit(w)
	r.step(r.change(echo))
	r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: echo.Rev})
	r.pass(time.Second)
	if len(r.kills)+len(r.stops) > 0 {
		t.Error("ended by its own re-assertion")
	}
}
