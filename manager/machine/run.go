package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// startOwned starts an instance if there is a licence: the acknowledged latest
// claim, of the own session, still within its deadline, its epoch on disk, and no
// reason to stop at once.
func (m *Machine) startOwned(a *app) {
	c := a.claim
	if c == nil || a.run != nil || c.givenUp || !m.session.valid(m.now) || c.session != m.session.id {
		return
	}
	if !m.named(a) || !m.runnable(a) || m.stopReason(a) != "" || a.durable < c.epoch {
		return
	}
	if c.over != nil && a.reasserting() {
		return
	}
	if c.over != nil && (c.over.final || !m.passed(c.restart) || !a.exclusive() && !c.rewritten) {
		return
	}
	m.start(a)
}

// named reports whether the record shows this claim as owner or reserver.
func (m *Machine) named(a *app) bool {
	if a.rec == nil {
		return false
	}
	if a.claim.provisional {
		return m.mine(a.rec.Next) && a.rec.Next.Nonce == a.claim.nonce
	}
	return a.ownsByClaim(m)
}

// reasserting: a claim that replaces this one was sent and may have been applied,
// or may yet be. What runs goes on; nothing starts under an epoch that the record
// may have left.
func (a *app) reasserting() bool {
	return a.req != nil && a.req.op == OpReassert || slices.Contains(a.open, OpReassert)
}

func (m *Machine) start(a *app) {
	c := a.claim
	c.over, c.begun, c.rewritten = nil, true, false
	r := m.newRun(a)
	r.nonce, r.epoch, r.claimed, r.session = c.nonce, c.epoch, c.epoch, c.session
	m.recordRun(a, r, "app_starting", string(c.kind))
	m.do(StartApp{
		Run: r.id, App: a.App, Session: c.session, Epoch: c.epoch, Kind: c.kind, From: c.from,
		Payload: c.payload, Phases: a.Spec.StartPhases, Provisional: c.provisional,
	})
}

func (m *Machine) newRun(a *app) *run {
	m.runSeq++
	a.run = &run{id: m.runSeq}
	m.runs[m.runSeq] = a
	m.beats.changed = true
	return a.run
}

// supervise orders the end of an instance that has lost its right or its
// reason to run.
func (m *Machine) supervise(a *app) {
	if a.run == nil {
		return
	}
	c := a.claim
	switch {
	case c == nil || c.nonce != a.run.nonce:
		m.kill(a, "its claim is gone")
	case a.rec == nil || m.named(a):
		if why := m.stopReason(a); why != "" {
			m.stop(a, why)
		}
	case m.mine(a.rec.Prev) && a.rec.Prev.Nonce == c.nonce:
		m.stop(a, "taken over by "+string(a.rec.Owner.Node))
	default:
		m.usurped(a)
		m.kill(a, "the record names another owner")
		a.claim = nil
	}
}

// stopReason is why an instance of this node's claim should not run; empty if
// it should.
func (m *Machine) stopReason(a *app) string {
	rec := a.rec
	switch {
	case m.life != lifeUp:
		return "the node stops"
	case rec != nil && rec.Want == policy.WantStopped:
		return "stopped"
	case !a.permitted && !m.handsOver(a):
		return "not permitted here"
	case !a.started && !a.stopping:
		return "not started here"
	case rec == nil:
		return m.unreserved(a)
	case rec.First != policy.FirstNone:
		return "stopped, and started again since"
	case a.exclusive() && !rec.Next.Empty() && !m.mine(rec.Next) && !m.ended(rec.Next):
		return fmt.Sprintf("%s takes over", rec.Next.Node)
	}
	return ""
}

// unreserved: what runs by a reservation can't write it back where the record is
// lost or damaged, as an owner does. It stands for as long as the owner may write
// its own back, or until the app is to stop.
func (m *Machine) unreserved(a *app) string {
	if a.claim == nil || !a.claim.provisional || a.missing == 0 {
		return ""
	}
	if a.stopping || m.passed(a.missing.Add(m.quarantine())) {
		return "its reservation is lost"
	}
	return ""
}

func (m *Machine) stop(a *app, why string) {
	if a.run.ordered {
		return
	}
	a.run.ordered = true
	m.beats.changed = true
	m.recordRun(a, a.run, "app_stopping", why)
	m.do(StopApp{Run: a.run.id})
}

func (m *Machine) kill(a *app, why string) {
	if a.run == nil || a.run.killed {
		return
	}
	if !a.run.ordered {
		m.recordRun(a, a.run, "app_stopping", why)
	}
	a.run.ordered, a.run.killed = true, true
	m.beats.changed = true
	m.do(KillApp{Run: a.run.id, Cause: why})
}

func (m *Machine) runStarted(ev Started) {
	a := m.runs[ev.Run]
	if a == nil || a.run.id != ev.Run || a.run.up {
		return
	}
	a.run.up = true
	m.recordRun(a, a.run, "app_started", "")
	m.touch()
}

func (m *Machine) runFailed(ev StartFailed) {
	m.runOver(ev.Run, ended{failed: true, reason: ev.Reason})
}

func (m *Machine) runExited(ev Exited) {
	m.runOver(ev.Run, ended{normal: ev.Normal, reason: ev.Reason, payload: ev.Payload})
}

// runOver: every process of a run is confirmed gone.
func (m *Machine) runOver(id RunID, e ended) {
	a := m.runs[id]
	if a == nil {
		return
	}
	delete(m.runs, id)
	r := a.run
	a.run = nil
	m.beats.changed = true
	m.touch()
	e.ordered = r.ordered
	m.recordEnd(a, r, e)
	if a.Spec == nil {
		m.localOver(a, e)
		return
	}
	if c := a.claim; c != nil && c.nonce == r.nonce {
		m.judgeEnd(a, c, e)
	}
}

func (m *Machine) recordEnd(a *app, r *run, e ended) {
	what := "app_exited"
	switch {
	case e.ordered:
		what = "app_stopped"
	case e.failed:
		what = "app_start_failed"
	}
	m.recordRun(a, r, what, e.reason)
}

// recordRun is a line about an instance.
func (m *Machine) recordRun(a *app, r *run, what, why string) {
	h := History{
		Type: what, App: a.App, Node: m.cfg.Self, Epoch: r.epoch, Detail: why,
		Session: r.session, Claim: r.nonce, Run: r.id,
	}
	if what == "app_starting" && a.claim != nil {
		h.From = a.claim.from
	}
	m.emit(h)
}

// judgeEnd decides what the end of a claim's run means: nothing more under
// this claim, or another start in place.
func (m *Machine) judgeEnd(a *app, c *claim, e ended) {
	e.final = true
	switch {
	case e.ordered:
	case e.failed:
		a.failed, a.take = e.reason, takeNone
		m.beats.changed = true
	case c.provisional:
		a.askAfter = m.now.Add(m.cfg.Lease.TRes())
	case !e.normal || a.kind == policy.Permanent:
		if wait, again := a.restartIn(m.now); again {
			e.final = false
			c.restart = m.now.Add(wait)
		}
	}
	c.over = &e
}

// backoffDoublings bounds how often the restart pause is doubled.
const backoffDoublings = 6

// restartIn counts an end against the limit of restarts, and says how long to
// wait before the next.
func (a *app) restartIn(now Instant) (time.Duration, bool) {
	a.ends = slices.DeleteFunc(a.ends, func(t Instant) bool { return now.Sub(t) > a.Restart.Within })
	if len(a.ends) >= a.Restart.Max {
		a.ends = nil
		return 0, false
	}
	a.ends = append(a.ends, now)
	return a.Restart.Backoff << min(len(a.ends)-1, backoffDoublings), true
}

// runnable reports whether this node may run the app at all, now.
func (m *Machine) runnable(a *app) bool {
	return a.Defined && a.started && a.permitted && a.failed == "" && m.life == lifeUp
}

// decideLocal runs an app without a distributed entry: on every node where it
// is started, without a claim.
func (m *Machine) decideLocal(a *app) {
	want := a.started && a.permitted && a.failed == "" && m.life == lifeUp
	switch {
	case a.run == nil && want && m.passed(a.hold):
		r := m.newRun(a)
		m.recordRun(a, r, "app_starting", string(policy.StartNormal))
		m.do(StartApp{Run: r.id, App: a.App, Kind: policy.StartNormal})
	case a.run != nil && !want:
		m.stop(a, "stopped")
	case a.run == nil && a.pending != nil:
		m.distribute(a)
	}
}

func (m *Machine) localOver(a *app, e ended) {
	switch {
	case e.ordered:
	case e.failed:
		a.failed = e.reason
		m.localEnds(a, e)
	default:
		if wait, again := a.restartIn(m.now); again && (!e.normal || a.kind == policy.Permanent) {
			a.hold = m.now.Add(wait)
			return
		}
		a.started = false
		m.localEnds(a, e)
	}
}

func (m *Machine) localEnds(a *app, e ended) {
	if a.endsNode(e) {
		m.beginClose(exitApp, fmt.Sprintf("%s app %s terminated: %s", a.kind, a.App, e.reason))
	}
}

// endsNode reports whether such an end of the app ends its node (OTP rules
//
func (a *app) endsNode(e ended) bool {
	return !e.ordered && (a.kind == policy.Permanent || a.kind == policy.Transient && !e.normal)
}
