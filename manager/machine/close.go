package machine

import "github.com/seed7529eb29/regent/policy"

// closing is the graceful end of a node: its apps are stopped, then its
// session is closed in one write (S5); ownership records stay as they are, so
// that the others wait their Timeout, as in OTP.
type closing struct {
	code   int
	reason string
	closed bool           // S5 was acknowledged
	of     policy.Session // the session that S5 closes
	gone   Instant        // when the last app was gone; 0 before
}

func (m *Machine) beginClose(code int, reason string) {
	if m.life == lifeClosing || m.life == lifeOver {
		return
	}
	m.life = lifeClosing
	m.closing = closing{code: code, reason: reason}
	m.beats.changed = true
	m.touch()
}

// decideClose moves the end on: every process confirmed gone, no start can
// follow, then S5; a store that does not answer is not waited for.
func (m *Machine) decideClose() {
	if m.life != lifeClosing || m.anyRun() {
		return
	}
	c := &m.closing
	if c.gone == 0 {
		c.gone = m.now
		m.dropClaims()
	}
	switch {
	case c.closed || m.session.id == "":
		m.leave()
	case m.passed(c.gone.Add(2 * m.cfg.Lease.Request)):
		m.leave()
	case m.self.req == nil && m.passed(m.self.hold) && !m.session.adrift:
		m.closeSession()
	}
}

// dropClaims: no acknowledgement that still comes may start anything.
func (m *Machine) dropClaims() {
	for _, a := range m.apps {
		if a.Spec != nil {
			m.dropClaim(a, m.closing.reason)
		}
	}
}

// closeSession is S5.
func (m *Machine) closeSession() {
	m.closing.of = m.session.id
	rec := m.ownRecord(m.session.id)
	rec.State, rec.Since = policy.SessionClosed, m.cfg.Wall()
	m.writeOwn(OpClose, rec, m.session.rev)
}

func (m *Machine) leave() {
	h := History{Type: "node_left", Node: m.cfg.Self, Detail: m.closing.reason}
	if m.closing.closed {
		h.Session, h.Op = m.closing.of, OpClose
	}
	m.session = session{}
	m.emit(h)
	m.exit(m.closing.code, m.closing.reason, "")
}
