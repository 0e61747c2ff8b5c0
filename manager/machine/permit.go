package machine

import "github.com/seed7529eb29/regent/policy"

// shared is a cell that is neither a session nor an ownership: no right depends
// on it, any node may write it.
type shared struct {
	cell policy.Cell     // the newest readable value
	rev  policy.Revision // the newest revision, readable or not
	req  *request
	open bool // an own write to this revision may still land
	hold Instant
}

// take keeps a newer value; false: it is none.
func (s *shared) take(m *Machine, c policy.Cell) bool {
	if c.Rev <= s.rev {
		return false
	}
	s.rev, s.open = c.Rev, false
	m.touch()
	if c.Damaged == "" {
		s.cell = c
	}
	return true
}

// known is the newest known value, its revision alone if it could not be read.
func (s *shared) known(k policy.Key) policy.Cell {
	if s.cell.Rev == s.rev && s.rev > 0 {
		return s.cell
	}
	return policy.Cell{Key: k, Rev: s.rev}
}

func (s *shared) forget(m *Machine) {
	s.cell, s.rev, s.open = policy.Cell{}, 0, false
	if s.req != nil {
		m.forget(s.req)
	}
}

func (m *Machine) forgetShared() {
	for _, a := range m.apps {
		if s := m.permits[a.App]; s != nil {
			s.forget(m)
		}
	}
	clear(m.permits)
	clear(m.strays)
	m.spec.forget(m)
}

// ready moves an open request on, and reports whether the cell may be written
// now.
func (m *Machine) ready(s *shared) bool {
	if s.req != nil {
		m.drive(s.req)
	}
	return s.req == nil && m.mayWrite() && m.life != lifeOver && m.passed(s.hold)
}

// put writes a shared cell.
func (m *Machine) put(s *shared, op Op, cell policy.Cell) {
	s.req = m.send(request{op: op, shared: s, write: policy.Write{Cell: cell, Expect: s.rev}})
}

// learnPermit takes an app's persisted permissions. What they say of this node
// stands over its configuration until permit is called here.
func (m *Machine) learnPermit(c policy.Cell) {
	name := policy.App(c.Key.Name)
	s := m.permits[name]
	if s == nil {
		s = &shared{}
		m.permits[name] = s
	}
	if !s.take(m, c) {
		return
	}
	permitted, said := s.cell.Permit.Of(m.cfg.Self)
	if !said {
		return
	}
	m.disk.notePermit(PermitMemory{App: name, Permitted: permitted})
	if a := m.appOf[name]; a != nil && !a.told {
		m.setPermitted(a, permitted)
	}
}

func (m *Machine) setPermitted(a *app, permitted bool) {
	if a.permitted == permitted {
		return
	}
	a.permitted, a.barred = permitted, m.now
	m.beats.changed = true
}

// handsOver: the owner may no longer run the app, but takeovers of it overlap and
// another node can run it, so that the new instance starts first. Nobody
// waits for one that does not reserve it.
func (m *Machine) handsOver(a *app) bool {
	rec := a.rec
	if rec == nil || a.exclusive() || a.run == nil || !a.run.up || rec.Phase != policy.PhaseRunning || !a.ownsByClaim(m) {
		return false
	}
	if next := rec.Next; !next.Empty() && !m.ended(next) {
		return true
	}
	n := m.preferred(a, m.weights())
	return n != "" && n != m.cfg.Self && !m.passed(a.barred.Add(m.cfg.Lease.TRes()))
}

// givenAway is the same from outside: whoever is the best of the others takes it.
func (m *Machine) givenAway(a *app) bool {
	return !a.exclusive() && m.ownerHeard(a) && m.memberOf[a.rec.Owner.Node].apps[a.App].Denied
}

// decidePermits writes the permissions that are to outlive this life.
func (m *Machine) decidePermits() {
	for _, a := range m.apps {
		s := m.permits[a.App]
		if a.persist == nil && (s == nil || s.req == nil) {
			continue
		}
		if s == nil {
			s = &shared{}
			m.permits[a.App] = s
		}
		if m.ready(s) && a.persist != nil {
			m.persist(a, s)
		}
	}
}

// persist is done when the cell says what is wanted and no own write can still
// say something else.
func (m *Machine) persist(a *app, s *shared) {
	permitted, said := s.cell.Permit.Of(m.cfg.Self)
	if said && permitted == *a.persist && !s.open {
		a.persist = nil
		m.touch()
		return
	}
	rec := s.cell.Permit
	if rec == nil {
		rec = &policy.PermitRecord{App: a.App}
	}
	rec = rec.With(policy.NodePermit{Node: m.cfg.Self, Permitted: *a.persist})
	m.put(s, OpPermit, policy.Cell{Key: policy.PermitKey(a.App), Permit: rec})
}
