package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// firstRecord is an app that was started from stopped and not claimed since.
func firstRecord(f policy.First) policy.AppRecord {
	rec := free(4)
	rec.First = f
	return rec
}

func TestFirstStartWaits(t *testing.T) {
	waits := func(r *rig) bool {
		r.put(firstRecord(policy.FirstWait))
		r.call(VerbStart)
		r.pass(time.Second)
		if st := r.m.Status().Apps[0]; (st.WaitingFor == n1) != (len(r.writes) == 0) {
			r.t.Errorf("waiting for %q, writes %v", st.WaitingFor, ops(r.writes))
		}
		return len(r.writes) == 0
	}
	t.Run("for a better node that was not told to start (A-16)", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		if !waits(r) {
			t.Error("claimed")
		}
	})
	t.Run("for a better node in its barrier", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		p.phase, p.session = BeatSyncing, ""
		if !waits(r) {
			t.Error("claimed")
		}
	})
	for _, tc := range []struct {
		name string
		make func(r *rig)
	}{
		{"nobody", func(*rig) {}},
		{"a worse one", func(r *rig) { r.join(n3) }},
		{"one not permitted", func(r *rig) { r.join(n1).says(func(a *AppBeat) { a.Denied = true }) }},
		{"one that closes", func(r *rig) { p := r.join(n1); p.phase = BeatClosing; p.speak() }},
		{"one that is suspected", func(r *rig) { r.join(n1).suspected() }},
		{"one that was never heard", func(r *rig) { r.frozen(n1, nil) }},
	} {
		t.Run("not for "+tc.name, func(t *testing.T) {
			r := newRig(t)
			tc.make(r)
			if waits(r) {
				t.Error("waits")
			}
		})
	}
	t.Run("not for an equal", func(t *testing.T) {
		r := newRig(t, tuple, as(n3))
		r.join(n2)
		r.put(firstRecord(policy.FirstWait))
		r.call(VerbStart)
		r.write(OpClaim)
	})
	t.Run("no more for one whose session ended meanwhile", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		if !waits(r) {
			t.Fatal("claimed")
		}
		r.unheard = true
		p.ends(policy.SessionExpired)
		p.silent = false // it is still heard, as it comes back
		r.unheard = false
		r.step(r.change(r.cells[policy.NodeKey(n1)]))
		r.write(OpClaim)
	})
	t.Run("no more for one that has another session meanwhile", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		if !waits(r) {
			t.Fatal("claimed")
		}
		p.returns()
		r.write(OpClaim)
	})
	t.Run("for one where an earlier start failed (A-22)", func(t *testing.T) {
		r := newRig(t)
		r.join(n1).says(func(a *AppBeat) { a.Failed = true })
		if !waits(r) {
			t.Error("claimed")
		}
	})
	t.Run("for one that was told, whose earlier start failed", func(t *testing.T) {
		r := newRig(t)
		r.join(n1).says(func(a *AppBeat) { a.Started, a.Failed = true, true })
		r.put(firstRecord(policy.FirstWait))
		r.call(VerbStart)
		r.pass(time.Second)
		r.quiet() // n1 forgets as soon as it reads of this start, and claims
	})
	t.Run("until it is told: then it claims", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		waits(r)
		p.says(func(a *AppBeat) { a.Started = true })
		r.pass(10 * time.Second)
		r.quiet()
	})
	t.Run("however long it takes", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		waits(r)
		r.pass(10 * r.lease().TRes())
		r.quiet()
	})
}

func TestFirstStartGo(t *testing.T) {
	t.Run("counts only nodes that have it started", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		r.put(firstRecord(policy.FirstGo))
		r.call(VerbStart)
		r.write(OpClaim)
	})
	t.Run("is a start, not a failover: no Timeout", func(t *testing.T) {
		r := newRig(t, infinite)
		p := r.follow()
		p.ends(policy.SessionDead)
		r.pass(time.Second)
		r.noWrite()
		c := r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo })
		r.ok(r.wants(OpClaim, c, r.claimWrite(policy.StartNormal, nil)))
		if s := r.start(); s.Kind != policy.StartNormal {
			t.Errorf("start = %+v", s)
		}
		if countHistory(r, "failover") != 0 {
			t.Error("told as a failover")
		}
	})
	t.Run("not over a live owner that still stops", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo })
		r.pass(10 * time.Second)
		r.quiet()
	})
	t.Run("makes a node without a claim forget that it failed there", func(t *testing.T) {
		r := newRig(t, timeout(0))
		r.follow().ends(policy.SessionDead)
		r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.ok(r.write(OpRelease))
		r.pass(time.Second)
		r.quiet()
		r.edit(func(rec *policy.AppRecord) { rec.First = policy.FirstGo })
		r.write(OpClaim)
		if r.m.appOf[theApp].failed != "" {
			t.Error("still failed")
		}
	})
}

// B-6: an app that takes its node down fails over, and the second node is the
// last.
func TestEndedNodes(t *testing.T) {
	t.Run("the first: marked before the session is closed", func(t *testing.T) {
		r := newRig(t, kind(policy.Permanent))
		run, c := r.owns()
		r.step(Exited{Run: run, Reason: "boom"})
		w := r.wants(OpMarkEnded, c, func(rec *policy.AppRecord) {
			rec.Ended = []policy.EndedNode{{Node: n2, At: rigWall}}
			rec.Error = "n2@h: boom"
		})
		r.unknown(w)
		r.reread()
		r.pass(100 * time.Millisecond)
		r.noStart()
		r.ok(r.write(OpMarkEnded))
		r.ok(r.write(OpClose))
		if r.exit == nil || r.exit.Code != 8 || r.exit.Reason != "permanent app app terminated: boom" {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("the second within ten minutes: stopped", func(t *testing.T) {
		r := newRig(t, kind(policy.Transient))
		run, _ := r.owns()
		old := policy.EndedNode{Node: n3, At: rigWall - endedWindow}
		young := policy.EndedNode{Node: n1, At: rigWall - endedWindow + 1}
		c := r.edit(func(rec *policy.AppRecord) { rec.Ended = []policy.EndedNode{old, young} })
		r.step(Exited{Run: run, Reason: "boom"})
		r.ok(r.wants(OpMarkEnded, c, func(rec *policy.AppRecord) {
			exited(rec)
			rec.Want = policy.WantStopped
			rec.Ended = []policy.EndedNode{young, {Node: n2, At: rigWall}}
			rec.Error = "ended two nodes within ten minutes, last n2@h: boom"
		}))
		r.ok(r.write(OpClose))
		if r.exit == nil || r.exit.Code != 8 {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("the same node twice, or long ago: fails over", func(t *testing.T) {
		for _, e := range []policy.EndedNode{{Node: n2, At: rigWall}, {Node: n1, At: rigWall - endedWindow}} {
			r := newRig(t, kind(policy.Permanent))
			run, _ := r.owns()
			r.edit(func(rec *policy.AppRecord) { rec.Ended = []policy.EndedNode{e} })
			r.step(Exited{Run: run})
			if w := r.write(OpMarkEnded); w.Write.Cell.App.Want != policy.WantRun {
				t.Errorf("want = %s", w.Write.Cell.App.Want)
			}
		}
	})
	t.Run("a claim keeps the list, a start clears it", func(t *testing.T) {
		r := newRig(t)
		r.follow()
		rec := free(4)
		rec.Ended = []policy.EndedNode{{Node: n1, At: rigWall}}
		r.wants(OpClaim, r.put(rec), r.claimWrite(policy.StartNormal, nil))
	})
	t.Run("a transient app that ends normally takes nothing down (A-51)", func(t *testing.T) {
		r := newRig(t, kind(policy.Transient))
		run, _ := r.owns()
		r.step(Exited{Run: run, Normal: true})
		if w := r.write(OpRelease); w.Write.Cell.App.Want != policy.WantStopped {
			t.Errorf("want = %s", w.Write.Cell.App.Want)
		}
	})
	t.Run("a first start of a permanent app that fails ends the node (A-22)", func(t *testing.T) {
		r := newRig(t, kind(policy.Permanent))
		r.put(firstRecord(policy.FirstGo))
		r.call(VerbStart)
		r.ok(r.write(OpClaim))
		r.step(StartFailed{Run: r.start().Run, Reason: "boom"})
		r.ok(r.write(OpMarkEnded))
		r.ok(r.write(OpClose))
		if r.exit == nil || r.exit.Code != 8 {
			t.Errorf("exit = %+v", r.exit)
		}
	})
}
