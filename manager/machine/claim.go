package machine

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// claimable reports whether the record may be claimed by a node like this one
// (the precondition of A1, without the order among candidates).
func (m *Machine) claimable(a *app) bool {
	rec := a.rec
	owner := rec.Owner
	switch {
	case rec.Want != policy.WantRun || !m.prevClear(a):
		return false
	case owner.Empty() || m.mine(owner):
	case !m.ended(owner):
		return false
	case owner.Node == m.cfg.Self || rec.First != policy.FirstNone || a.anew():
	case !m.timeoutOver(a):
		return false
	}
	return m.nextAllows(a)
}

// prevClear: with overlap, the one before the owner must be gone.
func (m *Machine) prevClear(a *app) bool {
	p := a.rec.Prev
	return p.Empty() || m.mine(p) && a.run == nil || m.ended(p)
}

// nextAllows: a reservation of a live node gives it precedence. With overlap
// it is a second right and nobody else's to replace; with exclusive it is a
// courtesy that ends with its owner or after a while.
func (m *Machine) nextAllows(a *app) bool {
	n := a.rec.Next
	switch {
	case n.Empty() || m.mine(n) || m.ended(n):
		return true
	case !a.exclusive():
		return false
	case !a.rec.Owner.Empty():
		return true
	}
	return m.passed(a.since.Add(m.cfg.Lease.TRes()))
}

// chosen reports whether this node is the one to claim: a live next first,
// then the best candidate heard.
func (m *Machine) chosen(a *app) bool {
	rec := a.rec
	switch {
	case !m.candidate(a, m.cfg.Self):
		m.place(a) // it weighs on whoever gets it
		return false
	case m.mine(rec.Owner) || m.mine(rec.Next) || rec.Owner.Node == m.cfg.Self:
		return true
	case m.awaitsNext(a) || m.awaitsStart(a):
		return false
	}
	return m.place(a) == m.cfg.Self
}

// awaitsNext: the reserver is alive and able; it claims first.
func (m *Machine) awaitsNext(a *app) bool {
	n := a.rec.Next
	return !n.Empty() && !m.ended(n) && m.candidate(a, n.Node) && !m.passed(a.since.Add(m.cfg.Lease.TRes()))
}

// awaitsStart is OTP's first start (rule A-16): a better node that is there
// and permitted is waited for, even if start was not called on it. A node whose
// session ended meanwhile is waited for no more.
func (m *Machine) awaitsStart(a *app) bool {
	if a.rec.First != policy.FirstWait {
		return false
	}
	a.waiting = true
	for _, n := range a.Spec.Nodes() {
		if a.Spec.Better(n, m.cfg.Self) && (m.unstarted(a, n) || m.comingUp(a, n)) {
			a.awaited = n
			return true
		}
	}
	return false
}

func (m *Machine) unstarted(a *app, n node.Name) bool {
	mb := m.memberOf[n]
	return m.awaitable(a, mb) && !mb.apps[a.App].Started
}

// comingUp: a better node was told to start and has no session yet, as when all
// boot at once. It is waited for as long as for a reserver.
func (m *Machine) comingUp(a *app, n node.Name) bool {
	mb := m.memberOf[n]
	return m.awaitable(a, mb) && mb.beat.Session == "" && !m.passed(a.since.Add(m.cfg.Lease.TRes()))
}

// awaitable: the node is there, and may run the app as far as is known. That it
// failed there was before this start.
func (m *Machine) awaitable(a *app, mb *member) bool {
	if mb == nil || !mb.present() || mb.beat.Hidden || mb.beat.Phase == BeatClosing || slices.Contains(a.unawaited, mb.name) {
		return false
	}
	return !mb.apps[a.App].Denied
}

// failedThere: whoever reads that the app was started again forgets that it failed
// there, so that what was heard of that before counts no more.
func (a *app) failedThere(ab AppBeat) bool {
	return ab.Failed && (a.rec == nil || a.rec.First == policy.FirstNone)
}

// candidate reports whether a node could run the app now, as far as it is
// heard (B-4: alive, permitted and started there).
func (m *Machine) candidate(a *app, n node.Name) bool {
	if _, listed := a.Spec.Priority(n); !listed {
		return false
	}
	if n == m.cfg.Self {
		return m.runnable(a) && m.session.valid(m.now)
	}
	mb := m.memberOf[n]
	if mb == nil || !mb.able() {
		return false
	}
	ab := mb.apps[a.App]
	return ab.Started && !ab.Denied && !a.failedThere(ab)
}

// weights counts the distributed apps that each node owns, per the records
// (B-24), and those tentatively placed on it in this round.
type weights map[node.Name]int

// weights are counted when they are first asked for in a round, which most
// rounds never do.
func (m *Machine) weights() weights {
	if m.loads == nil {
		m.loads = m.countWeights()
	}
	return m.loads
}

func (m *Machine) countWeights() weights {
	w := weights{}
	for _, a := range m.apps {
		switch {
		case a.req != nil && a.req.op == OpClaim:
			w[m.cfg.Self]++
		case a.rec != nil && !a.rec.Owner.Empty() && !m.ended(a.rec.Owner):
			w[a.rec.Owner.Node]++
		}
	}
	return w
}

// place is policy's choice among the candidates heard.
func (m *Machine) place(a *app) node.Name {
	w := m.weights()
	var cs []policy.Candidate
	for _, n := range a.Spec.Nodes() {
		if m.candidate(a, n) {
			cs = append(cs, policy.Candidate{Node: n, Weight: w[n]})
		}
	}
	n := policy.Place(a.Spec, cs, "")
	w[n]++
	return n
}

// watchOwner keeps the Timeout's clock: it runs from the first suspicion of
// the owner's session, or from the first sight of a record whose owner is not
// heard, and only that same session heard again, or another record, stops it.
func (m *Machine) watchOwner(a *app) {
	a.waiting, a.awaited = false, ""
	if a.rec == nil || a.rec.Owner.Empty() || m.mine(a.rec.Owner) || m.ownerHeard(a) {
		a.suspect, a.bereft = "", ""
		return
	}
	if s := a.rec.Owner.Session; a.suspect != s {
		a.suspect, a.suspected = s, m.now
	}
}

// noteBereft: what was told to start or permitted here while the owner was gone is
// a start, as if the app had never run: no Timeout applies to it, and it is no
// failover.
func (a *app) noteBereft() {
	if a.suspect != "" && a.rec != nil && a.suspect == a.rec.Owner.Session {
		a.bereft = a.suspect
	}
}

// anew: a claim of the record would be such a start.
func (a *app) anew() bool {
	return a.bereft != "" && a.rec.Owner.Session == a.bereft
}

func (m *Machine) ownerHeard(a *app) bool {
	mb := m.memberOf[a.rec.Owner.Node]
	return mb != nil && mb.present() && mb.beat.Session == a.rec.Owner.Session && !m.ended(a.rec.Owner)
}

func (m *Machine) timeoutOver(a *app) bool {
	if a.suspect == "" || a.Spec.Timeout == policy.Infinite {
		return false
	}
	return m.passed(a.suspected.Add(a.timeout()))
}

// timeout is the app's Timeout; it must not be infinite.
func (a *app) timeout() time.Duration { return time.Duration(a.Spec.Timeout) }

// sendClaim is A1.
func (m *Machine) sendClaim(a *app) {
	kind, from := m.startKind(a)
	old := a.rec
	c := &claim{
		epoch: a.allot(m), nonce: policy.Nonce(m.cfg.NewID()), session: m.session.id,
		kind: kind, from: from, payload: old.Payload, anew: a.anew(),
	}
	r := m.write(a, OpClaim, func(rec *policy.AppRecord) {
		rec.Owner = m.slot()
		rec.Owner.Epoch, rec.Owner.Nonce = c.epoch, c.nonce
		rec.High = c.epoch
		rec.Phase = policy.PhaseStarting
		rec.Pinned = m.mine(old.Next) && old.Next.Command || m.mine(old.Owner) && old.Pinned
		rec.Next, rec.Prev, rec.First = policy.Slot{}, policy.Slot{}, policy.FirstNone
		rec.StartKind, rec.StartFrom = kind, from
		rec.Since, rec.Error = m.cfg.Wall(), ""
		rec.Spec = a.Spec.Version()
	})
	r.claim = c
}

// startKind is what a claim of the record is told to its app: {failover, N}
// after a dead owner, {takeover, N} after one that passed the app on, else
// normal. A failover is announced only to apps that can tell (rule A-27, B-20).
func (m *Machine) startKind(a *app) (policy.StartKind, node.Name) {
	rec := a.rec
	switch {
	case rec.First != policy.FirstNone:
	case rec.Owner.Empty() || m.mine(rec.Owner):
		if rec.StartKind != "" && rec.StartFrom != m.cfg.Self {
			return rec.StartKind, rec.StartFrom
		}
	case rec.Owner.Node == m.cfg.Self || a.anew():
	case a.Spec.FullStart || len(a.Spec.StartPhases) > 0:
		return policy.StartFailover, rec.Owner.Node
	}
	return policy.StartNormal, ""
}

// claimAccepted: a write to an app's record was applied.
func (m *Machine) claimAccepted(r *request, cell policy.Cell) {
	a, old := r.app, r.old
	switch r.op {
	case OpClaim:
		a.claim = r.claim
		a.take = takeNone
		a.cleans = old.First != policy.FirstNone || a.cleans && m.mine(old.Owner)
		m.recordClaim(a, r)
	case OpReserve:
		a.claim = r.claim
		m.emit(m.claimed(a, r, "reserved beside the owner"))
	case OpTake:
		m.taken(a)
	case OpRunning:
		a.cleans = false
	case OpRelease, OpClearNext, OpClearPrev:
		if c := a.claim; r.op == OpClearNext && c != nil && c.over != nil && a.endsNode(*c.over) {
			m.appEndsNode(a) // the node dies, the old owner goes on (B-8)
		}
		if a.run == nil {
			a.claim = nil
		}
		a.cleans = false
	case OpCreate, OpStartWant, OpStopWant, OpRecreate:
		if cell.App.Want == policy.WantStopped {
			a.stopping = false
		} else {
			a.starting = policy.FirstNone
		}
	case OpRestart:
		if a.claim != nil {
			a.claim.rewritten = true
		}
	case OpReassert:
		m.reasserted(a, r)
	case OpMarkEnded:
		m.appEndsNode(a)
	}
	m.learnApp(cell)
}

// claimed is the line about a claim, of whatever kind, that was acknowledged.
func (m *Machine) claimed(a *app, r *request, how string) History {
	c := r.claim
	return History{
		Type: "claimed", App: a.App, Node: m.cfg.Self, From: r.old.Owner.Node, Epoch: c.epoch,
		Session: c.session, Claim: c.nonce, Op: r.op, Sent: r.sent, Detail: how,
	}
}

func (m *Machine) recordClaim(a *app, r *request) {
	old, h := r.old, m.claimed(a, r, "")
	m.emit(h)
	h.Op, h.Sent = "", 0
	switch {
	case !old.Owner.Empty() && old.Owner.Node != m.cfg.Self && old.First == policy.FirstNone && !a.claim.anew:
		h.Type = "failover"
		m.emit(h)
	case a.claim.kind == policy.StartTakeover:
		h.Type, h.From = "takeover", a.claim.from
		m.emit(h)
	}
}

// decideMissing handles an app without a usable record. One that never was is
// created; one that was lost is left alone until nothing can run by it any
// more, except by the node that runs the app, which asserts itself.
func (m *Machine) decideMissing(a *app) {
	if !a.looked {
		return
	}
	if a.rev == 0 && a.seen == 0 && m.heardEpoch(a) == 0 {
		m.decideNever(a)
		return
	}
	if a.missing == 0 {
		a.missing = m.now
	}
	switch {
	case a.claim != nil && !a.claim.provisional && a.run != nil && !a.run.ordered:
		m.reassert(a)
	case a.behind != nil && !a.behind.Owner.Empty() && !m.ended(a.behind.Owner):
		// Its owner lives, and asserts itself when it hears of our epoch.
	case a.run == nil && (a.started || a.stopping) && m.passed(a.missing.Add(m.quarantine())):
		m.recreate(a)
	}
}

// decideNever handles an app that has no record and never had one, as far as
// anybody remembers.
func (m *Machine) decideNever(a *app) {
	switch {
	case a.starting != policy.FirstNone:
		m.write(a, OpCreate, func(rec *policy.AppRecord) {
			rec.First, rec.Since = policy.FirstWait, m.cfg.Wall()
		})
	case a.stopping && len(a.open) > 0: // voids the creation that may yet land
		m.write(a, OpStopWant, func(rec *policy.AppRecord) {
			rec.Want, rec.Since = policy.WantStopped, m.cfg.Wall()
		})
	case a.stopping:
		a.stopping = false
		m.touch()
	}
}

// recreate writes a record anew in which nobody owns the app, above every epoch
// that anybody remembers: to be run where it is started, or stopped, if that is
// what this node was told last.
func (m *Machine) recreate(a *app) {
	m.write(a, OpRecreate, func(rec *policy.AppRecord) {
		rec.High, rec.First, rec.Since = a.allot(m), policy.FirstGo, m.cfg.Wall()
		if a.stopping {
			rec.Want, rec.First = policy.WantStopped, policy.FirstNone
		}
	})
}

// outdated: this node runs the app by a record that forgot epochs which others
// remember.
func (m *Machine) outdated(a *app) bool {
	return a.ownsByClaim(m) && a.run != nil && !a.run.ordered && m.heardEpoch(a) > a.rec.High
}

// overtop makes a record that forgot epochs one that those who remember them can
// use. What runs by it still is to end, so that it needs no epoch above them.
func (m *Machine) overtop(a *app, rec *policy.AppRecord) {
	rec.High = max(rec.High, m.heardEpoch(a))
}

func (m *Machine) reassert(a *app) {
	c := *a.claim
	c.epoch, c.nonce = a.allot(m), policy.Nonce(m.cfg.NewID())
	r := m.write(a, OpReassert, func(rec *policy.AppRecord) {
		rec.Owner = m.slot()
		rec.Owner.Epoch, rec.Owner.Nonce = c.epoch, c.nonce
		rec.High, rec.Since = c.epoch, m.cfg.Wall()
		rec.StartKind, rec.StartFrom = c.kind, c.from
		rec.Phase = policy.PhaseStarting
		if a.run.up {
			rec.Phase = policy.PhaseRunning
		}
	})
	r.claim = &c
}

// reasserted: r's claim is in the record. What has become of the run since it was
// sent is as true of it.
func (m *Machine) reasserted(a *app, r *request) {
	c := r.claim
	if a.claim == c {
		return // its echo has said so already
	}
	m.emit(m.claimed(a, r, "asserted again"))
	if a.claim != nil {
		c.over, c.restart, c.begun, c.givenUp = a.claim.over, a.claim.restart, a.claim.begun, a.claim.givenUp
	}
	if a.run != nil && a.claim != nil && a.run.nonce == a.claim.nonce {
		a.run.nonce, a.run.claimed = c.nonce, c.epoch
	}
	a.claim = c
}
