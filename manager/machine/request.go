package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// request is one write from the moment it is sent until its outcome is known
// or has been made irrelevant by reading the cell.
type request struct {
	op     Op
	write  policy.Write
	sent   Instant // of the first send: what is repeated counts from here
	writes RequestID
	reads  RequestID // 0: no read under way
	again  Instant   // when to read again after a read without answer

	app    *app    // for the A rows
	member *member // for the S rows on a node's cell
	shared *shared // for a cell that is neither
	claim  *claim  // what an acknowledged A1, A7 or A8 gives

	seen policy.Revision // the highest that had been seen when it was sent first

	old policy.AppRecord // what it replaces: its echo may come before its answer

	unknown bool // may still land
	settled bool // its outcome is being found out by reading
}

// readAgain is the pause after a read that told nothing, or nothing new.
const readAgain = 50 * time.Millisecond

func (m *Machine) nextRequest(r *request) RequestID {
	m.requestSeq++
	m.requests[m.requestSeq] = r
	return m.requestSeq
}

// send orders a write. cell is the whole new value of its key.
func (m *Machine) send(r request) *request {
	r.write.ID = m.cfg.NewID()
	r.sent, r.seen = m.now, m.bucket.most
	m.transmit(&r)
	return &r
}

func (m *Machine) transmit(r *request) {
	r.writes = m.nextRequest(r)
	m.do(Write{Req: r.writes, Op: r.op, Write: r.write})
}

// repeat sends the identical request again: the store answers a repeat
// instead of applying it twice.
func (m *Machine) repeat(r *request, alternate bool) {
	delete(m.requests, r.writes)
	r.write.Alt = alternate
	m.transmit(r)
}

// forget drops a request. Answers that still come are for nobody.
func (m *Machine) forget(r *request) {
	delete(m.requests, r.writes)
	delete(m.requests, r.reads)
	switch {
	case r.app != nil && r.app.req == r:
		r.app.req = nil
	case r.member != nil && r.member.req == r:
		r.member.req = nil
	case r.shared != nil && r.shared.req == r:
		r.shared.req = nil
	}
	m.touch()
}

// wrote takes the answer to a write. An answer to anything but the latest
// request of its cell is late, and no licence for anything.
func (m *Machine) wrote(ev Wrote) {
	r := m.requests[ev.Req]
	if r == nil || r.writes != ev.Req || r.settled {
		return
	}
	switch ev.Outcome {
	case policy.OutcomeOK:
		m.forget(r)
		m.bucket.answered(r.write.Cell.Key, ev.Rev, m.now)
		m.accepted(r, ev.Rev)
		if ev.Rev <= r.seen {
			c := r.write.Cell
			c.Rev = ev.Rev
			m.givenAgain(c)
		}
	case policy.OutcomeRefused:
		m.settle(r)
	default:
		r.unknown = true
		m.unanswered(r)
	}
}

// accepted spreads the news of an acknowledged write: first what the cell now
// holds, then what that means for its row.
func (m *Machine) accepted(r *request, rev policy.Revision) {
	cell := r.write.Cell
	cell.Rev = rev
	switch {
	case r.member != nil:
		m.sessionAccepted(r, cell)
	case r.shared != nil:
		m.learn(cell)
	default:
		r.app.open = nil
		m.claimAccepted(r, cell)
	}
}

// unanswered: the write may have been applied, or may yet be.
func (m *Machine) unanswered(r *request) {
	if r.op == OpRenew && m.session.valid(m.now) {
		m.repeat(r, m.now.Sub(m.session.acked) >= m.cfg.Lease.Fence()/3)
		return
	}
	m.settle(r)
}

// settle finds out by reading, unless the cell is already known to have moved
// on, which settles any write that expected the older revision.
func (m *Machine) settle(r *request) {
	r.settled = true
	r.again = 0
	m.touch()
}

// drive moves a request that waits for its outcome.
func (m *Machine) drive(r *request) {
	switch {
	case !r.settled:
	case m.revisionOf(r) > r.write.Expect:
		m.resolved(r)
	case r.reads != 0:
	case m.passed(r.again):
		r.reads = m.nextRequest(r)
		m.do(Read{Req: r.reads, Key: r.write.Cell.Key})
	}
}

func (m *Machine) revisionOf(r *request) policy.Revision {
	switch {
	case r.member != nil:
		return r.member.rev
	case r.shared != nil:
		return r.shared.rev
	}
	return r.app.rev
}

// readDone takes what the leader says. At the expected revision an unknown
// write may still land later: it stays in mind as open, and whatever is
// decided next goes to the same revision, so that only one of them can win.
func (m *Machine) readDone(ev ReadDone) {
	r := m.requests[ev.Req]
	if r == nil || r.reads != ev.Req {
		return
	}
	delete(m.requests, ev.Req)
	r.reads = 0
	if !ev.OK || ev.Cell.Key != r.write.Cell.Key {
		r.again = m.now.Add(readAgain)
		m.touch()
		return
	}
	m.learn(ev.Cell)
	m.resolved(r)
	if r.op == opConfirm || m.revisionOf(r) > r.write.Expect {
		return
	}
	again := m.now.Add(readAgain)
	switch {
	case r.app != nil:
		if r.unknown {
			r.app.open = append(r.app.open, r.op)
		}
		r.app.hold = again
	case r.shared != nil:
		r.shared.open = r.shared.open || r.unknown
		r.shared.hold = again
	default:
		r.member.hold = again
	}
}

// resolved: the cell has been read. What an unknown write of this node may
// have brought about is seen there, and is decided on like anything else.
func (m *Machine) resolved(r *request) {
	m.forget(r)
	m.adoptSession(r)
}

// opConfirm marks a request that only reads.
const opConfirm Op = "rule 9 confirm"

// learn takes the value of a cell from wherever it came. Older values than
// the known one are not news, except that any change restarts an observation.
func (m *Machine) learn(c policy.Cell) {
	m.bucket.answered(c.Key, c.Rev, m.now)
	switch c.Key.Kind {
	case policy.KeyNode:
		m.learnNode(c)
	case policy.KeyApp:
		m.learnApp(c)
	case policy.KeyPermit:
		m.learnPermit(c)
	case policy.KeyConfig:
		m.learnSpec(c)
	}
}
