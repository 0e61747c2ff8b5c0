package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// The nine rules of docs/protocol.md; the eighth is in bucket_test.go, the
// ninth in confirm_test.go.

func TestRule1Session(t *testing.T) {
	t.Run("the deadline counts from the sending", func(t *testing.T) {
		r := newRig(t, manualRenew)
		r.jump(r.lease().Renew)
		w, sent := r.write(OpRenew), r.now
		r.jump(300 * time.Millisecond)
		r.ok(w)
		if got, want := r.m.session.deadline, sent.Add(r.lease().Fence()); got != want {
			t.Errorf("deadline %v, want %v", got, want)
		}
		r.jump(sent.Add(r.lease().Renew).Sub(r.now))
		r.write(OpRenew) // and so does the next renewal
	})
	t.Run("nothing else moves it", func(t *testing.T) {
		r := newRig(t, manualRenew)
		r.owns()
		deadline := r.m.session.deadline
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		r.store(r.commit(w)) // it is seen to have landed
		r.unknown(w)
		r.snapshot()
		r.edit(func(rec *policy.AppRecord) { rec.Since = 1 })
		r.step(Heard{Beat: Beat{Node: n2, Agent: "x", N: 1, Phase: BeatUp}})
		if r.m.session.deadline != deadline {
			t.Errorf("deadline moved by %v", r.m.session.deadline.Sub(deadline))
		}
	})
	t.Run("an acknowledgement of a repeat counts from the first sending", func(t *testing.T) {
		r := newRig(t, manualRenew)
		r.jump(r.lease().Renew)
		w, sent := r.write(OpRenew), r.now
		r.jump(r.lease().Request)
		r.unknown(w)
		r.ok(r.write(OpRenew))
		if got, want := r.m.session.deadline, sent.Add(r.lease().Fence()); got != want {
			t.Errorf("deadline %v, want %v", got, want)
		}
	})
	t.Run("another way after a third of the fence", func(t *testing.T) {
		r := newRig(t, manualRenew)
		acked := r.now
		r.jump(r.lease().Renew)
		for r.now.Sub(acked) < r.lease().Fence() {
			w := r.write(OpRenew)
			if late := r.now.Sub(acked) >= r.lease().Fence()/3; w.Write.Alt != late {
				t.Errorf("%v after the last acknowledged: alternate = %t", r.now.Sub(acked), w.Write.Alt)
			}
			r.now = r.now.Add(r.lease().Request)
			r.unknown(w)
		}
		r.write(OpRegister) // fenced
	})
	t.Run("an acknowledgement after the deadline prolongs nothing", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		r.now = r.m.session.deadline
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: r.rev + 1})
		if r.killed() != run || r.m.session.valid(r.now) {
			t.Error("revived")
		}
	})
}

func TestRule2Unknown(t *testing.T) {
	t.Run("an answer that follows an unknown one is no licence", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		c := r.commit(w)
		r.unknown(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
		r.noStart()
	})
	t.Run("at its own revision it may still land: not decided as failed", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.unknown(w)
		r.reread()
		a := r.m.appOf[theApp]
		if len(a.open) != 1 || a.open[0] != OpClaim {
			t.Errorf("open = %v", a.open)
		}
		r.pass(100 * time.Millisecond)
		if again := r.write(OpClaim); again.Write.Expect != w.Write.Expect {
			t.Error("two that could both win")
		}
	})
	t.Run("seen to have moved on: no read is needed", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		w := r.claims()
		r.put(ownedBy(p, 5))
		r.unknown(w)
		if len(r.reads) > 0 {
			t.Errorf("reads = %v", r.reads)
		}
		r.quiet()
	})
	t.Run("answers for nobody change nothing", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.step(Wrote{Req: 999, Outcome: policy.OutcomeOK, Rev: 999})
		r.step(ReadDone{Req: 999, OK: true, Cell: policy.Cell{Key: policy.AppKey(theApp), Rev: 999}})
		r.step(Remembered{Req: 999, OK: true})
		r.step(Started{Run: 9})
		r.step(Exited{Run: 9})
		r.step(StartFailed{Run: 9})
		r.step(Proved{Node: n1, Agent: "x", Gone: true})
		r.step(Cancel{ID: 9})
		r.quiet()
	})
}

func TestRule3Fence(t *testing.T) {
	local := config(func(c *Config) {
		c.Apps = append(c.Apps, AppConfig{App: "local", Defined: true, Type: policy.Temporary, Start: true})
	})
	t.Run("at the deadline every distributed app is killed, without asking", func(t *testing.T) {
		r := newRig(t, manualRenew, local)
		if s := r.start(); s.App != "local" || s.Epoch != 0 || s.Session != "" {
			t.Errorf("start = %+v", s)
		}
		run, _ := r.owns()
		r.now = r.m.session.deadline - 1
		r.step(Tick{})
		if len(r.kills) > 0 {
			t.Error("killed early")
		}
		r.fenceNow()
		if r.killed() != run {
			t.Error("killed another run")
		}
		if r.m.Status().Session != "" || r.beat.Session != "" {
			t.Error("still speaks of a session")
		}
	})
	t.Run("whatever is told at that instant", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		r.now = r.m.session.deadline
		r.step(Heard{Beat: Beat{Node: n1, Agent: "x", N: 1}})
		if r.killed() != run {
			t.Error("killed another run")
		}
	})
	t.Run("a host that slept stops first", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.step(Slept{})
		if r.killed() != run || r.m.session.id != "" {
			t.Error("went on")
		}
	})
	t.Run("a registration sent before the host slept makes no session valid", func(t *testing.T) {
		r := bareRig(t, manualRenew)
		r.snapshot()
		w := r.write(OpRegister)
		r.step(Slept{})
		c := r.commit(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
		if r.m.session.valid(r.now) {
			t.Fatal("valid since who knows when")
		}
		r.reread()
		r.jump(readAgain)
		renew := r.write(OpRenew)
		if renew.Write.Cell.Node.Session != w.Write.Cell.Node.Session || r.m.session.valid(r.now) {
			t.Errorf("S2 = %+v", renew.Write)
		}
		r.ok(renew)
		if !r.m.session.valid(r.now) {
			t.Error("not valid with an acknowledged renewal")
		}
	})
	t.Run("it rejoins with a new session and must claim again", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, c := r.owns()
		before := r.m.session.id
		r.fenceNow()
		r.killed()
		r.writes = nil
		r.step(Exited{Run: run})
		r.ok(r.write(OpRegister))
		if r.m.session.id == before {
			t.Error("the same session")
		}
		r.noStart()
		r.ok(r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil)))
		if s := r.start(); s.Epoch != 6 || s.Session != r.m.session.id {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("its session ended by others: the same", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		rec := *r.cells[policy.NodeKey(n2)].Node
		rec.State = policy.SessionExpired
		r.putNode(rec)
		if r.killed() != run {
			t.Error("killed another run")
		}
	})
	t.Run("ended at the revision that its own renewal had in a store that was set back: the same", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		r.jump(r.lease().Renew)
		c := r.ok(r.write(OpRenew))
		rec := *c.Node
		rec.State = policy.SessionExpired
		c.Node = &rec
		r.step(r.change(c))
		if r.killed() != run || r.m.session.id != "" {
			t.Errorf("session %+v", r.m.session)
		}
		r.noWrite()
	})
}

func TestRule4Observation(t *testing.T) {
	t.Run("any change counts anew", func(t *testing.T) {
		r := newRig(t)
		p := r.stranger(n1)
		p.rec.Session, p.rec.Agent = "s", "a"
		p.renew()
		r.pass(2900 * time.Millisecond)
		p.renew()
		r.pass(2900 * time.Millisecond)
		r.noWrite()
	})
	t.Run("one to a lower revision too", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, nil)
		r.pass(2900 * time.Millisecond)
		old := c
		old.Rev--
		r.step(r.change(old))
		r.pass(2900 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		r.wantsState(OpExpire, c, policy.SessionExpired)
	})
	t.Run("the same revision again is no change", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, nil)
		r.pass(2900 * time.Millisecond)
		r.step(r.change(c))
		r.snapshot()
		r.pass(100 * time.Millisecond)
		r.write(OpExpire)
	})
	t.Run("a session never seen counts as live from now", func(t *testing.T) {
		r := newRig(t)
		r.unheard = true
		r.frozen(n1, func(s *policy.SessionRecord) { s.Since = 1 }) // times in records are for people
		r.pass(10 * time.Second)
		r.snapshot()
		r.pass(2900 * time.Millisecond)
		r.noWrite()
		r.pass(100 * time.Millisecond)
		r.write(OpExpire)
	})
	t.Run("what can't be read is no change, and no end", func(t *testing.T) {
		r := newRig(t, timeout(0))
		p := r.follow()
		p.silent = true
		r.pass(2 * time.Second)
		r.store(policy.Cell{Key: policy.NodeKey(n1), Damaged: "garbage"})
		r.quiet()
		r.pass(time.Second)
		w := r.write(OpExpire) // by what was read before, at the revision that is there
		if w.Write.Expect != r.cells[policy.NodeKey(n1)].Rev || w.Write.Cell.Node.Session != p.session {
			t.Errorf("S3 = %+v", w.Write)
		}
		r.noStart()
	})
}

func TestRule5Expire(t *testing.T) {
	// The row S3 is in member_test.go. An expiry that is not acknowledged has
	// not happened, and nothing is decided on it.
	r := newRig(t, timeout(0))
	p := r.follow()
	p.silent = true
	r.pass(r.lease().TTL)
	w := r.write(OpExpire)
	r.noStart()
	r.unheard = true
	p.rec.Seq++
	r.putNode(p.rec)
	r.refuse(w)
	r.reread()
	r.pass(time.Second)
	r.quiet()
}

func TestRule6Claim(t *testing.T) {
	t.Run("another session proves the end only above the recorded revision", func(t *testing.T) {
		for _, above := range []bool{false, true} {
			r := newRig(t, timeout(0))
			p := r.follow()
			p.silent = true
			rec := ownedBy(p, 5)
			rec.Owner.Session = "another"
			rec.Owner.SRev = p.rev
			if above {
				rec.Owner.SRev--
			}
			r.put(rec)
			if claims := len(r.writes) == 1; claims != above {
				t.Errorf("above = %t: writes %v", above, ops(r.writes))
			}
		}
	})
	damaged := policy.Cell{Key: policy.AppKey(theApp), Damaged: "garbage"}
	lower := policy.Cell{Key: policy.AppKey(theApp), App: &policy.AppRecord{App: theApp, High: 1, Want: policy.WantRun}}
	for name, bad := range map[string]policy.Cell{"garbage": damaged, "lower epoch": lower, "no record": {Key: damaged.Key}} {
		t.Run("damaged is not free: "+name, func(t *testing.T) {
			r := newRig(t)
			r.follow()
			c := r.store(bad)
			r.pass(r.lease().TTL + r.lease().Fence() - 20*time.Millisecond)
			r.quiet()
			r.pass(50 * time.Millisecond)
			w := r.wants(OpRecreate, policy.Cell{Rev: c.Rev}, func(rec *policy.AppRecord) {
				rec.Want, rec.First, rec.High, rec.Since = policy.WantRun, policy.FirstGo, 5, rigWall
			})
			r.ok(w)
			r.ok(r.write(OpClaim))
			if s := r.start(); s.Epoch != 6 {
				t.Errorf("start = %+v", s)
			}
		})
		t.Run("who runs it writes itself back: "+name, func(t *testing.T) {
			r := newRig(t)
			run, _ := r.owns()
			c := r.store(bad)
			w := r.wants(OpReassert, policy.Cell{Rev: c.Rev}, func(rec *policy.AppRecord) {
				rec.Want, rec.High, rec.Owner = policy.WantRun, 6, r.mySlot(6, "new")
				rec.Phase, rec.StartKind, rec.Since = policy.PhaseRunning, policy.StartNormal, rigWall
			})
			r.unknown(w)
			r.reread()
			r.pass(100 * time.Millisecond)
			r.ok(r.write(OpReassert))
			r.pass(10 * time.Second)
			r.quiet()
			if r.m.appOf[theApp].run.id != run {
				t.Error("another run")
			}
		})
	}
	t.Run("a start that is under way writes itself back as starting", func(t *testing.T) {
		r := newRig(t)
		r.starting()
		r.store(damaged)
		if w := r.write(OpReassert); w.Write.Cell.App.Phase != policy.PhaseStarting {
			t.Errorf("phase = %s", w.Write.Cell.App.Phase)
		}
	})
	t.Run("behind what others remember: the owner writes itself above it", func(t *testing.T) {
		r := newRig(t)
		r.owns()
		r.standby(n1).says(func(a *AppBeat) { a.Epoch = 9 })
		if w := r.write(OpReassert); w.Write.Cell.App.Owner.Epoch != 10 {
			t.Errorf("epoch = %d", w.Write.Cell.App.Owner.Epoch)
		}
	})
	restarting := config(func(c *Config) {
		c.Apps[0].Type, c.Apps[0].Restart = policy.Permanent, Restart{Max: 3, Within: time.Minute}
	})
	t.Run("no restart in place under what it may have replaced", func(t *testing.T) {
		r := newRig(t, restarting)
		run, c := r.owns()
		r.standby(n1).says(func(a *AppBeat) { a.Epoch = 9 })
		w := r.write(OpReassert)
		r.step(Exited{Run: run, Reason: "exit 1"})
		r.noStart()
		r.unknown(w)
		r.reread() // not there, and may yet land
		r.noStart()
		r.pass(100 * time.Millisecond)
		again := r.write(OpClaim)
		if again.Write.Expect != c.Rev || again.Write.Cell.App.Owner.Epoch != 11 {
			t.Errorf("claim = %+v", again.Write)
		}
		r.ok(again)
		if s := r.start(); s.Epoch != 11 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("an app that has ended meanwhile has ended", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.standby(n1).says(func(a *AppBeat) { a.Epoch = 9 })
		w := r.write(OpReassert)
		r.step(Exited{Run: run, Normal: true, Reason: "exit 0"})
		r.ok(w)
		r.noStart()
		if rel := r.write(OpRelease); rel.Write.Cell.App.Want != policy.WantStopped {
			t.Errorf("release = %+v", rel.Write.Cell.App)
		}
	})
	t.Run("behind, but its owner lives: left alone", func(t *testing.T) {
		r := newRig(t)
		p := r.follow()
		r.put(ownedBy(p, 2))
		r.pass(20 * time.Second)
		r.quiet()
	})
	t.Run("an own session cell that can't be read", func(t *testing.T) {
		r := bareRig(t)
		r.unheard = true
		c := r.store(policy.Cell{Key: policy.NodeKey(n2), Damaged: "garbage"})
		r.snapshot()
		r.pass(r.lease().TTL + r.lease().Fence() - 20*time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond)
		if w := r.write(OpRegister); w.Write.Expect != c.Rev {
			t.Errorf("S1 expects %d, want %d", w.Write.Expect, c.Rev)
		}
	})
	t.Run("not permitted any more when the OK comes: released", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.call(VerbPermit, permitted(false))
		c := r.ok(w)
		r.noStart()
		r.wants(OpRelease, c, func(rec *policy.AppRecord) {
			rec.Owner = policy.Slot{Epoch: 5, Nonce: rec.Owner.Nonce}
			rec.From, rec.Since = n2, rigWall
		})
	})
}

func TestRule7Epoch(t *testing.T) {
	epoch := func(r *rig) policy.Epoch {
		r.call(VerbStart)
		return r.write(OpClaim).Write.Cell.App.Owner.Epoch
	}
	t.Run("above the record's high, which counts reservations", func(t *testing.T) {
		r := newRig(t)
		rec := free(9)
		rec.Owner.Epoch = 4
		r.put(rec)
		if e := epoch(r); e != 10 {
			t.Errorf("epoch %d", e)
		}
	})
	t.Run("above what is on disk, asked for and never seen included", func(t *testing.T) {
		r := newRig(t, config(func(c *Config) { c.Memory.Apps = []AppMemory{{App: theApp, Seen: 3, Allotted: 12}} }))
		r.put(free(9))
		if e := epoch(r); e != 13 {
			t.Errorf("epoch %d", e)
		}
	})
	t.Run("above what a live node remembers", func(t *testing.T) {
		r := newRig(t)
		r.join(n3).says(func(a *AppBeat) { a.Epoch = 20 })
		r.put(free(9))
		if e := epoch(r); e != 21 {
			t.Errorf("epoch %d", e)
		}
	})
	t.Run("on disk before the start", func(t *testing.T) {
		r := newRig(t)
		r.ownDisk = true
		r.ok(r.claims())
		r.noStart()
		for _, d := range r.disk {
			r.step(Remembered{Req: d.Req})
		}
		r.disk = nil
		r.noStart()
		if w := r.m.Status().Waiting; len(w) != 1 || !strings.Contains(w[0], "data directory") {
			t.Errorf("waiting = %q", w)
		}
		r.pass(diskAgain)
		for len(r.disk) > 0 {
			d := r.disk[0]
			r.disk = r.disk[1:]
			if apps := d.Memory.Apps; len(apps) != 1 || apps[0].Allotted != 5 {
				t.Errorf("memory = %+v", d.Memory)
			}
			r.step(Remembered{Req: d.Req, OK: true})
		}
		if s := r.start(); s.Epoch != 5 {
			t.Errorf("start = %+v", s)
		}
	})
	t.Run("survives a stop", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.call(VerbStop)
		r.ok(r.write(OpStopWant))
		r.step(Exited{Run: run, Normal: true})
		r.ok(r.write(OpRelease))
		r.call(VerbStart)
		r.ok(r.write(OpStartWant))
		if e := r.write(OpClaim).Write.Cell.App.Owner.Epoch; e != 6 {
			t.Errorf("epoch %d", e)
		}
	})
}
