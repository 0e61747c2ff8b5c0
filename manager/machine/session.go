package machine

import (
	"fmt"

	"github.com/seed7529eb29/regent/policy"
)

// session is this node's own lease.
//
// valid is the whole right to act: a session may be registered without being
// valid yet (its registration was never acknowledged), and it stops being
// valid at deadline whatever anybody says.
type session struct {
	id       policy.Session // empty: none
	rev      policy.Revision
	deadline Instant // t_send of the last acknowledged renewal + FENCE; 0: none yet
	acked    Instant // that t_send
	renewAt  Instant
	seq      uint64
	confirm  policy.Revision // of the last acknowledged renewal
	adrift   bool            // the bucket that held it is gone: it ends at deadline
	fenced   bool            // a session of this process has been fenced
	why      string          // why there is none, for people
}

func (s *session) valid(now Instant) bool { return s.id != "" && now < s.deadline }

func (s *session) deadlineOrNever() Instant {
	if s.id == "" || s.deadline == 0 {
		return never
	}
	return s.deadline
}

// fenceIfDue is rule 3: at the deadline everything ends, without asking.
func (m *Machine) fenceIfDue() {
	if m.now >= m.session.deadlineOrNever() {
		m.fence("the lease ran out")
	}
}

// fence ends the node's session here: its apps are killed, its claims forgotten.
// What the records say does not matter; a new session must claim anew.
func (m *Machine) fence(why string) {
	if m.session.id == "" {
		return
	}
	m.emit(History{Type: "fenced", Node: m.cfg.Self, Session: m.session.id, Detail: why})
	m.session = session{fenced: true, seq: m.session.seq, why: why}
	if m.self.req != nil && m.self.req.op != OpRegister {
		m.forget(m.self.req)
	}
	for _, a := range m.apps {
		if a.Spec != nil {
			m.dropClaim(a, why)
		}
	}
	m.beats.changed = true
	m.touch()
}

// slept: the clock may have stood still, so that what was sent before may have
// been sent any time ago. The session ends, and the acknowledgement of a
// registration that is under way makes none: it is settled by reading, and valid
// from its first acknowledged renewal.
func (m *Machine) slept() {
	m.fence("the host slept or stood still")
	if r := m.self.req; r != nil {
		m.settle(r)
	}
}

// ownCell looks at a new value of this node's own cell: a session that is not
// there any more is lost.
func (m *Machine) ownCell(old policy.Cell) {
	s, rec := &m.session, m.self.cell.Node
	m.countForeign(old)
	switch {
	case s.id == "" || s.adrift || rec.Session == s.id && rec.State == policy.SessionClosed:
		// Its own close echoes; the answer to the request counts.
	case rec.Session == s.id && rec.State == policy.SessionLive:
		s.rev = m.self.rev
	case m.self.rev >= s.rev: // the same one, where the store was set back and has given it to another value
		m.fence(fmt.Sprintf("its session was ended by others (%s)", rec.State))
	}
}

// foreignMax renewals of a foreign agent in the cell of this name show another
// life: one may be a straggler of a dead one.
const foreignMax = 2

func (m *Machine) countForeign(old policy.Cell) {
	rec := m.self.liveCell()
	if rec == nil || rec.Agent == m.cfg.Agent {
		m.self.changes = 0
		return
	}
	if old.Node != nil && old.Node.Agent == rec.Agent {
		m.self.changes++
	}
}

// decideSession keeps exactly one lease: registers, renews.
func (m *Machine) decideSession() {
	m.decideDuplicate()
	s := &m.session
	switch {
	case m.life == lifeOver || m.self.req != nil:
	case s.id != "":
		m.decideRenew()
	case m.mayRegister():
		m.register()
	}
}

func (m *Machine) decideRenew() {
	s := &m.session
	if m.life == lifeClosing && !m.anyRun() || s.adrift || !m.passed(s.renewAt) || !m.passed(m.self.hold) {
		return
	}
	rec := m.ownRecord(s.id)
	if m.self.cell.Node != nil {
		rec.Since = m.self.cell.Node.Since
	}
	m.writeOwn(OpRenew, rec, s.rev)
}

// mayRegister: everything of the former life of this process is gone, and the
// cell is free or holds that former life itself.
func (m *Machine) mayRegister() bool {
	if m.life != lifeUp || m.cfg.Hidden || !m.mayWrite() || m.anyDistributed() || !m.passed(m.self.hold) {
		return false
	}
	if m.self.cell.Node == nil && m.self.rev > 0 { // damaged or purged
		return m.passed(m.bucket.since.Add(m.quarantine()))
	}
	rec := m.self.liveCell()
	return rec == nil || rec.Agent == m.cfg.Agent
}

func (m *Machine) register() {
	rec := m.ownRecord(policy.Session(m.cfg.NewID()))
	rec.Since = m.cfg.Wall()
	m.writeOwn(OpRegister, rec, m.self.rev)
}

func (m *Machine) ownRecord(id policy.Session) *policy.SessionRecord {
	c := &m.cfg
	m.session.seq++
	return &policy.SessionRecord{
		Node: c.Self, Session: id, Agent: c.Agent, State: policy.SessionLive,
		Host: c.Host, PID: c.PID, StartTime: c.Started, UID: c.UID, Groups: c.Groups,
		TTL: c.Lease.TTL, Seq: m.session.seq,
	}
}

func (m *Machine) writeOwn(op Op, rec *policy.SessionRecord, expect policy.Revision) {
	m.self.req = m.send(request{op: op, member: m.self, write: policy.Write{
		Cell: policy.Cell{Key: policy.NodeKey(m.cfg.Self), Node: rec}, Expect: expect,
	}})
}

// sessionAccepted: a write to a node's cell was applied.
func (m *Machine) sessionAccepted(r *request, cell policy.Cell) {
	s := &m.session
	switch r.op {
	case OpRegister:
		m.session = session{id: cell.Node.Session, rev: cell.Rev, seq: s.seq, fenced: s.fenced}
		m.prolong(r.sent)
		m.beats.changed = true
	case OpRenew:
		if cell.Node.Session == s.id {
			s.rev = cell.Rev
			m.prolong(r.sent)
		}
	case OpExpire:
		m.recordDeath(r, "node_down", "its lease ran out")
	case OpCertify:
		m.recordDeath(r, "certified", "its processes are gone")
		m.recordDeath(r, "node_down", "")
	case OpClose:
		m.closing.closed = true
		m.session = session{seq: s.seq}
	}
	m.learnNode(cell)
	if r.op == OpRegister || r.op == OpRenew {
		m.confirmOwned(cell.Rev)
	}
}

// recordDeath: the end of another life's session stands in its cell.
func (m *Machine) recordDeath(r *request, what, why string) {
	m.emit(History{
		Type: what, Node: r.member.name, Session: r.write.Cell.Node.Session,
		Op: r.op, Sent: r.sent, Detail: why,
	})
}

// prolong is the only thing that extends the right to act, and it counts from
// the moment the request was sent.
func (m *Machine) prolong(sent Instant) {
	s := &m.session
	s.deadline = max(s.deadline, sent.Add(m.cfg.Lease.Fence()))
	s.acked = max(s.acked, sent)
	s.renewAt = sent.Add(m.cfg.Lease.Renew)
	m.until = s.deadline
	m.fenceIfDue()
}

// Doom is when this process must be ended from outside if it has not ended its
// distributed apps itself: late by one timer after the deadline, or, where they
// have been told to die, as late as that may take. 0: nothing runs that could
// outlive its right.
func (m *Machine) Doom() Instant {
	switch {
	case m.until == 0 || !m.anyDistributed():
		return 0
	case m.session.id == "":
		return m.until.Add(m.cfg.Lease.Late + m.cfg.Lease.Kill)
	}
	return m.until.Add(m.cfg.Lease.Late)
}

// adoptSession: reading shows that a registration of unknown outcome landed.
// Its revision is adopted, its time is not: the session is valid from its
// first acknowledged renewal.
func (m *Machine) adoptSession(r *request) {
	if r.op != OpRegister {
		return
	}
	want, rec := r.write.Cell.Node, m.self.liveCell()
	if rec == nil || rec.Session != want.Session || m.session.id != "" || m.life != lifeUp {
		return
	}
	m.session = session{id: rec.Session, rev: m.self.rev, seq: m.session.seq, fenced: m.session.fenced}
	m.beats.changed = true
}

// confirmOwned is rule 9: what the picture shows is confirmed by the renewals
// that are in it. If the picture is not even complete up to the renewal before
// this one, the owned records are read.
func (m *Machine) confirmOwned(rev policy.Revision) {
	s := &m.session
	before := s.confirm
	s.confirm = rev
	if before == 0 || m.bucket.seq >= before && m.bucket.lost == "" {
		return
	}
	for _, a := range m.apps {
		if a.claim != nil && a.req == nil {
			m.confirm(a)
		}
	}
}

// confirm reads an app's record through the leader.
func (m *Machine) confirm(a *app) {
	a.req = &request{op: opConfirm, app: a, settled: true, write: policy.Write{
		Cell: policy.Cell{Key: policy.AppKey(a.App)}, Expect: ^policy.Revision(0),
	}}
	m.touch()
}

// decideDuplicate ends this node if another life of its name is alive (OTP
// rule A-75). A node that has a session stays, whoever else shouts; of two
// without one the lesser nonce stays.
func (m *Machine) decideDuplicate() {
	if m.session.id != "" || m.life == lifeClosing || m.life == lifeOver {
		return
	}
	mb := m.self
	speaks := mb.agent != "" && mb.beat.Phase != BeatLeft && mb.count >= 3 &&
		mb.heard.Sub(mb.first) > m.cfg.Lease.Suspicion() && m.now.Sub(mb.heard) <= m.cfg.Lease.Suspicion()
	if speaks && (mb.beat.Session != "" || mb.agent < m.cfg.Agent) || mb.changes >= foreignMax && !m.session.fenced {
		m.exit(exitDuplicate, fmt.Sprintf("the name %s seems to be in use by another node", m.cfg.Self), "stop the other node or choose another name")
	}
}

// anyRun reports whether any app process of this node may be alive.
func (m *Machine) anyRun() bool { return len(m.runs) > 0 }

func (m *Machine) anyDistributed() bool {
	for _, a := range m.apps {
		if a.Spec != nil && a.run != nil {
			return true
		}
	}
	return false
}
