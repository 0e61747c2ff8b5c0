package sim

import (
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// view is an agent's picture of the bucket as its client keeps it: a snapshot,
// then changes without a gap. What arrives out of order is a hole, and the
// picture is lost until the next snapshot.
type view struct {
	current bool
	seq     policy.Revision // complete up to here
	era     uint64          // of the store when the picture was loaded
	gen     uint64          // of the stream; a new one begins when the picture is lost
	last    Time            // when the latest change in flight arrives: they keep their order
	loading bool
	most    policy.Revision // the most that was ever delivered
	old     bool            // the latest snapshot went back behind it, and was found out: another one is due
}

// publish sends a write to all watchers, each in its own time.
func (w *World) publish(rev policy.Revision) {
	for _, a := range w.agents {
		if a.life != 0 && a.view.current && !a.storeBy && !w.stores.happens(w.round.hole) {
			w.forward(a, rev)
		}
	}
}

func (w *World) forward(a *agent, rev policy.Revision) {
	d := w.hop()
	if w.stores.happens(w.round.lag) {
		d = w.stores.upTo(w.round.lagMax)
	}
	a.view.last = max(a.view.last, w.now+d)
	w.schedule(event{at: a.view.last, kind: kindView, node: a.index, life: a.life, a: uint64(rev) | w.store.era<<eraShift, b: a.view.gen})
}

// eraShift leaves room for revisions.
const eraShift = 40

func (w *World) viewArrives(a *agent, which uint64, gen uint64) {
	v := &a.view
	rev, era := policy.Revision(which&(1<<eraShift-1)), which>>eraShift
	if gen != v.gen || !v.current {
		return
	}
	e := &w.store.log[rev%logLen]
	switch {
	case era != w.store.era: // what it said is gone
		return
	case rev <= v.seq && era != v.era:
		w.viewLost(a, "the history of the bucket changed")
		return
	case rev <= v.seq:
		return
	}
	if rev != v.seq+1 || e.rev != rev {
		w.viewLost(a, "a change is missing")
		return
	}
	v.seq, v.most = rev, max(v.most, rev)
	w.check.Saw(a.life, e.cell)
	w.step(a, e.viewed)
}

func (w *World) viewLost(a *agent, why string) {
	a.view.current = false
	a.view.gen++
	w.snapshotSoon(a)
	w.step(a, machine.Viewed{View: policy.View{Lost: why}})
}

func (w *World) snapshotSoon(a *agent) {
	if a.view.loading {
		return
	}
	a.view.loading = true
	w.schedule(event{at: w.now + 2*w.hop() + w.stores.upTo(w.round.lagMax), kind: kindSnap, node: a.index, life: a.life, b: a.view.gen})
}

// snapshotArrives: the picture is whole again, though it may be an old one.
func (w *World) snapshotArrives(a *agent, gen uint64) {
	v := &a.view
	v.loading = false
	if v.current {
		return
	}
	if a.unreachable(false) || a.unanswerable(false) || w.now < w.round.outage {
		w.retrySnapshot(a)
		return
	}
	at := w.now
	if w.stores.happens(w.round.stale) {
		at -= w.stores.upTo(staleMax)
	}
	snap := w.store.snapshot(at)
	v.current, v.seq, v.gen, v.era = true, snap.Seq, v.gen+1, w.store.era
	v.old, v.most = snap.Seq < v.most && w.stores.happens(0.5), max(v.most, snap.Seq)
	for _, c := range snap.Cells {
		w.check.Saw(a.life, c)
	}
	for rev := snap.Seq + 1; rev <= w.store.seq; rev++ {
		w.forward(a, rev)
	}
	w.step(a, machine.Viewed{View: snap})
}

func (w *World) retrySnapshot(a *agent) {
	a.view.loading = true
	w.schedule(event{at: w.now + w.stores.between(100*time.Millisecond, time.Second), kind: kindSnap, node: a.index, life: a.life, b: a.view.gen})
}

// audit compares, now and then, the picture with the store.
func (w *World) audit(a *agent) {
	w.auditLater(a)
	v := &a.view
	switch {
	case a.unreachable(false) || a.unanswerable(false):
		if v.current && w.stores.happens(0.5) {
			w.viewLost(a, "no connection")
		}
	case v.current && v.seq > w.store.seq && w.now >= w.round.outage:
		w.viewLost(a, "the store was set back")
	case v.current && v.old && w.now >= w.round.outage:
		w.viewLost(a, "the store went back")
	case v.current && v.seq < w.store.seq && v.last < w.now && w.now >= w.round.outage:
		w.viewLost(a, "the store has gone on")
	}
}

func (w *World) auditLater(a *agent) {
	w.schedule(event{at: w.now + w.Knobs.Audit, kind: kindAudit, node: a.index, life: a.life})
}
