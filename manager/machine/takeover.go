package machine

import "github.com/seed7529eb29/regent/policy"

// decideTakeover asks a live owner for its app: because this node is better
// and the best there is, or because it was told to.
func (m *Machine) decideTakeover(a *app) {
	rec := a.rec
	if rec.Owner.Empty() || m.ended(rec.Owner) {
		return
	}
	if !m.wantsTake(a) {
		if a.take == takeEdge && m.isRunning(a) && m.candidate(a, m.cfg.Self) {
			a.take = takeNone // it had its chance: a later command elsewhere holds
		}
		return
	}
	if a.exclusive() {
		m.ask(a)
		return
	}
	if rec.Phase == policy.PhaseRunning && (rec.Next.Empty() || m.ended(rec.Next)) && (rec.Prev.Empty() || m.ended(rec.Prev)) {
		m.reserve(a)
	}
}

// wantsTake: a command moves the app here whatever the priority (rule A-41).
// By priority it moves only upwards, never among equals, and not
// away from where a command placed it, unless it was started or permitted here
// since; an owner that may not run it any more gives it to whoever is best of the
// others; a specification that was changed under it moves nothing either.
func (m *Machine) wantsTake(a *app) bool {
	rec := a.rec
	switch {
	case rec.Want != policy.WantRun || rec.First != policy.FirstNone || !m.candidate(a, m.cfg.Self) || !m.passed(a.askAfter):
		return false
	case a.take == takeCommand:
		return true
	case m.givenAway(a):
		return m.place(a) == m.cfg.Self
	case a.Spec.Takeover == policy.Never || !a.Spec.Better(m.cfg.Self, rec.Owner.Node):
		return false
	case (rec.Pinned || a.respecified()) && a.take != takeEdge:
		return false
	}
	return m.place(a) == m.cfg.Self
}

// ask is A4: next gives precedence among claimants and nothing else.
func (m *Machine) ask(a *app) {
	next, command := a.rec.Next, a.take == takeCommand
	free := next.Empty() || m.ended(next)
	if !free && !command && (next.Command || !a.Spec.Better(m.cfg.Self, next.Node)) {
		return
	}
	m.write(a, OpAsk, func(rec *policy.AppRecord) {
		rec.Next = m.slot()
		rec.Next.Command = command
	})
}

// reserve is A7: a second slot with an epoch of its own.
func (m *Machine) reserve(a *app) {
	c := &claim{
		epoch: a.allot(m), nonce: policy.Nonce(m.cfg.NewID()), session: m.session.id,
		kind: policy.StartTakeover, from: a.rec.Owner.Node, provisional: true,
	}
	r := m.write(a, OpReserve, func(rec *policy.AppRecord) {
		rec.Next = m.slot()
		rec.Next.Nonce, rec.Next.Epoch = c.nonce, c.epoch
		rec.Next.Command = a.take == takeCommand
		rec.High = c.epoch
	})
	r.claim = c
}

// decideNext writes what this node's own reservation needs next.
func (m *Machine) decideNext(a *app) {
	if a.exclusive() {
		m.decideAsked(a)
		return
	}
	m.decideReserved(a)
}

func (m *Machine) decideAsked(a *app) {
	switch {
	case a.rec.Want != policy.WantRun || a.rec.First != policy.FirstNone || !m.candidate(a, m.cfg.Self):
		m.clearNext(a)
	case a.take == takeCommand && !a.rec.Next.Command: // it had asked before it was told to
		m.ask(a)
	case m.claimable(a) && m.chosen(a):
		m.sendClaim(a)
	}
}

func (m *Machine) decideReserved(a *app) {
	c, rec := a.claim, a.rec
	known := c != nil && c.provisional && c.nonce == rec.Next.Nonce
	switch {
	case a.run != nil && a.run.up && !a.run.ordered && known:
		if owner := rec.Owner; owner.Empty() || m.ended(owner) || rec.Phase == policy.PhaseRunning {
			m.takeOver(a)
		}
	case a.run != nil:
	case !known || c.over != nil || m.stopReason(a) != "" || !m.runnable(a):
		m.clearNext(a)
	}
}

// clearNext is A5: no instance of it is alive, and none will come.
func (m *Machine) clearNext(a *app) {
	if a.claim != nil {
		a.claim.givenUp = true
	}
	m.write(a, OpClearNext, func(rec *policy.AppRecord) { rec.Next = policy.Slot{} })
}

// takeOver is A8: the reservation becomes the ownership.
func (m *Machine) takeOver(a *app) {
	m.write(a, OpTake, func(rec *policy.AppRecord) {
		old := rec.Owner
		rec.Prev = policy.Slot{}
		if !old.Empty() && !m.ended(old) {
			rec.Prev = old
		}
		rec.Pinned = rec.Next.Command || a.take == takeCommand
		rec.Owner = m.slot()
		rec.Owner.Nonce, rec.Owner.Epoch = rec.Next.Nonce, rec.Next.Epoch
		rec.Next = policy.Slot{}
		rec.Phase = policy.PhaseRunning
		rec.StartKind, rec.StartFrom = a.claim.kind, a.claim.from
		rec.Since, rec.Error = m.cfg.Wall(), ""
		rec.Spec = a.Spec.Version()
	})
}

// taken: the provisional instance is the owner's now, and may show its epoch.
func (m *Machine) taken(a *app) {
	c := a.claim
	if c == nil || !c.provisional {
		return
	}
	c.provisional = false
	a.take = takeNone
	m.emit(History{Type: "takeover", App: a.App, Node: m.cfg.Self, From: c.from, Epoch: c.epoch, Session: c.session, Claim: c.nonce, Op: OpTake})
	if a.run != nil {
		m.do(ConfirmApp{Run: a.run.id})
	}
}

// decidePrev is A9: the old owner's instance is gone.
func (m *Machine) decidePrev(a *app) {
	if a.run == nil {
		m.write(a, OpClearPrev, func(rec *policy.AppRecord) { rec.Prev = policy.Slot{} })
	}
}
