package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// decideOwned writes what the owner's record needs next.
func (m *Machine) decideOwned(a *app) {
	if !a.ownsByClaim(m) {
		m.decideLanded(a)
		return
	}
	a.take = takeNone
	rec, c := a.rec, a.claim
	why := m.stopReason(a)
	switch {
	case a.run != nil && a.run.up && !a.run.ordered && rec.Phase == policy.PhaseStarting:
		m.write(a, OpRunning, func(rec *policy.AppRecord) {
			rec.Phase, rec.Payload, rec.Since = policy.PhaseRunning, nil, m.cfg.Wall()
		})
	case !rec.Next.Empty() && m.ended(rec.Next):
		m.write(a, OpClearDead, func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
	case a.run != nil:
	case why != "" || c.givenUp || !m.runnable(a) && c.over == nil:
		m.release(a)
	case c.over == nil:
		// Its start waits for the disk.
	case !c.over.final && a.reasserting():
		if m.passed(c.restart) {
			m.decideLanded(a)
		}
	case !c.over.final:
		m.restartInPlace(a)
	case a.endsNode(*c.over):
		m.markEnded(a)
	default:
		m.release(a)
	}
}

// decideLanded: the record names the own session by a claim that was never
// acknowledged as the latest. It gives no licence; it is claimed again, or
// given up.
func (m *Machine) decideLanded(a *app) {
	if a.run != nil {
		return
	}
	a.claim = nil
	if m.claimable(a) && m.chosen(a) {
		m.sendClaim(a)
		return
	}
	m.release(a)
}

// restartInPlace: with overlap a reserver must be able to see that the owner
// is not running, so the record says starting first (A10).
func (m *Machine) restartInPlace(a *app) {
	c := a.claim
	if a.exclusive() || c.rewritten || !m.passed(c.restart) {
		return
	}
	m.write(a, OpRestart, func(rec *policy.AppRecord) { rec.Phase = policy.PhaseStarting })
}

// release is A3: the app is confirmed gone, and nothing starts under this
// claim again, whatever becomes of this write.
func (m *Machine) release(a *app) {
	if a.claim != nil {
		a.claim.givenUp = true
	}
	m.write(a, OpRelease, func(rec *policy.AppRecord) { m.releaseInto(a, rec) })
}

func (m *Machine) releaseInto(a *app, rec *policy.AppRecord) {
	over := ended{ordered: true}
	if a.claim != nil && a.claim.over != nil {
		over = *a.claim.over
	}
	rec.Owner = policy.Slot{Epoch: rec.Owner.Epoch, Nonce: rec.Owner.Nonce}
	rec.From, rec.Payload, rec.Since = m.cfg.Self, over.payload, m.cfg.Wall()
	m.overtop(a, rec)
	switch {
	case over.failed && !over.ordered:
		rec.Error = fmt.Sprintf("%s: %s", m.cfg.Self, over.reason)
	case a.claim == nil || !a.claim.begun || over.failed:
		// It never ran here: whoever comes next is told what this node was.
	case over.ordered && rec.Want == policy.WantRun && rec.First == policy.FirstNone && m.passedOn(a):
		rec.StartKind, rec.StartFrom = policy.StartTakeover, m.cfg.Self
	default:
		rec.StartKind, rec.StartFrom = policy.StartNormal, ""
	}
	if m.endStops(a, over) && rec.Want == policy.WantRun && rec.First == policy.FirstNone {
		rec.Want = policy.WantStopped
		if a.exclusive() {
			rec.Next = policy.Slot{}
		}
	}
}

// passedOn reports whether somebody else is there to run the app next. Otherwise it
// is only stopped, and whoever runs it later starts it normally.
func (m *Machine) passedOn(a *app) bool {
	if next := a.rec.Next; !next.Empty() && !m.ended(next) {
		return true
	}
	n := m.place(a)
	return n != "" && n != m.cfg.Self
}

// endStops: an app that ended by itself without taking its node down is
// stopped, not failed over (rule A-51); so is one whose very first start
// failed. A failover that does not start is tried elsewhere (B-7), and
// an app that takes its node down fails over (B-6), or is taken over if it
// ended while another node had asked for it.
func (m *Machine) endStops(a *app, over ended) bool {
	switch {
	case over.ordered:
		return false
	case over.failed:
		return a.cleans && a.kind == policy.Temporary
	}
	return over.final && !a.endsNode(over)
}

// endedWindow is how close together an app must end two nodes to be left
// stopped (B-6), in milliseconds.
const endedWindow = int64(10 * time.Minute / time.Millisecond)

// recent: a time far ahead is as meaningless as one long past, since it comes
// from a clock that is wrong.
func recent(e policy.EndedNode, now int64) bool {
	return max(now-e.At, e.At-now) < endedWindow
}

// markEnded is B-6: this app takes its node down. The record says so, for the
// next node; if it is the second within the window, the app stays stopped.
func (m *Machine) markEnded(a *app) {
	now := m.cfg.Wall()
	again := slices.ContainsFunc(a.rec.Ended, func(e policy.EndedNode) bool {
		return e.Node != m.cfg.Self && recent(e, now)
	})
	over := a.claim.over
	if again {
		a.claim.givenUp = true
	}
	m.write(a, OpMarkEnded, func(rec *policy.AppRecord) {
		rec.Ended = slices.DeleteFunc(rec.Ended, func(e policy.EndedNode) bool { return !recent(e, now) })
		rec.Ended = append(rec.Ended, policy.EndedNode{Node: m.cfg.Self, At: now})
		rec.Error = fmt.Sprintf("%s: %s", m.cfg.Self, over.reason)
		if again {
			m.releaseInto(a, rec)
			rec.Want, rec.First, rec.Next = policy.WantStopped, policy.FirstNone, policy.Slot{}
			rec.Error = fmt.Sprintf("ended two nodes within ten minutes, last %s: %s", m.cfg.Self, over.reason)
		}
	})
}

// appEndsNode begins the stop of the node that a permanent app asks for.
func (m *Machine) appEndsNode(a *app) {
	reason := ""
	if a.claim != nil && a.claim.over != nil {
		reason = a.claim.over.reason
	}
	m.beginClose(exitApp, fmt.Sprintf("%s app %s terminated: %s", a.kind, a.App, reason))
}
