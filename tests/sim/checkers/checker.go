package checkers

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Life numbers the agent processes of a run; it begins at 1.
type Life int

// Violation is one broken invariant.
type Violation struct {
	Rule   string
	Detail string
}

func (v *Violation) Error() string { return v.Rule + ": " + v.Detail }

// Checker holds what has been seen so far. Facts are its methods.
type Checker struct {
	clock     func(Life) machine.Instant
	lives     []agent // by Life; 0 is nobody
	byNonce   map[policy.Nonce]Life
	sessions  map[policy.Session]*session
	nodes     map[node.Name]policy.SessionRecord
	apps      map[policy.App]*app
	instances []instance // those alive
	err       *Violation
}

// agent is one agent process.
type agent struct {
	node    node.Name
	lease   policy.Lease
	barrier machine.Sync
	heard   []node.Name
	born    machine.Instant
	over    bool
	renewID string // of the last registration or renewal sent
	sentAt  machine.Instant
	rights  []right
}

// session is one lease.
type session struct {
	life  Life
	acked machine.Instant // t_send of the last acknowledged renewal
	valid bool            // one was acknowledged at all

	shaken bool            // the store was set back behind it
	until  machine.Instant // with the store set back: when it must have been noticed
	slept  bool            // its host stood still, clocks and all
}

// New makes a checker of the given apps. clock reads the clock of the host
// that a life runs on.
func New(specs []*policy.Spec, clock func(Life) machine.Instant) *Checker {
	c := &Checker{
		clock: clock, lives: make([]agent, 1),
		byNonce:  map[policy.Nonce]Life{},
		sessions: map[policy.Session]*session{},
		nodes:    map[node.Name]policy.SessionRecord{},
		apps:     map[policy.App]*app{},
	}
	for _, s := range specs {
		c.apps[s.App] = &app{
			spec: s, ranOn: map[node.Name]policy.Epoch{},
			allotted: map[policy.Epoch]policy.Nonce{}, ever: map[policy.Epoch]policy.Nonce{},
		}
	}
	return c
}

// Err is the first violation, or nil.
func (c *Checker) Err() *Violation { return c.err }

// Fail records a violation that was found elsewhere; the first one stays.
func (c *Checker) Fail(rule, format string, args ...any) {
	if c.err == nil {
		c.err = &Violation{Rule: rule, Detail: fmt.Sprintf(format, args...)}
	}
}

// Booted says that an agent process has started. Lives are counted up.
func (c *Checker) Booted(l Life, n node.Name, nonce policy.Nonce, lease policy.Lease, barrier machine.Sync) {
	c.lives = append(c.lives, agent{node: n, lease: lease, barrier: barrier})
	c.byNonce[nonce] = l
	c.lives[l].born = c.clock(l)
}

// Died says that an agent process is gone. Its app processes may still be
// there.
func (c *Checker) Died(l Life) { c.lives[l].over, c.lives[l].rights = true, nil }

// Heard says that a heartbeat of another node was delivered.
func (c *Checker) Heard(l Life, from node.Name) {
	a := &c.lives[l]
	if len(a.barrier.Mandatory)+len(a.barrier.Optional) == 0 {
		return
	}
	if !slices.Contains(a.heard, from) {
		a.heard = append(a.heard, from)
	}
}

// Sent says that an agent has handed a write to its client.
func (c *Checker) Sent(l Life, op machine.Op, req machine.RequestID, w *policy.Write) {
	a := &c.lives[l]
	if w.Cell.Node != nil {
		if (op == machine.OpRegister || op == machine.OpRenew) && w.ID != a.renewID {
			a.renewID, a.sentAt = w.ID, c.clock(l)
		}
		return
	}
	c.claimSent(l, op, req, w)
}

// Acknowledged says that an agent was told that its write is applied. late
// means that it had been told before that the outcome is unknown.
func (c *Checker) Acknowledged(l Life, op machine.Op, req machine.RequestID, w *policy.Write, late bool) {
	if w.Cell.App != nil {
		c.learnRight(l, w.Cell.App)
		if !late {
			c.confirmRight(l, op, req, w.Cell.App)
		}
		return
	}
	if op != machine.OpRegister && op != machine.OpRenew || late {
		return
	}
	a := &c.lives[l]
	if w.ID != a.renewID {
		return
	}
	s := c.session(w.Cell.Node.Session, l)
	s.acked = max(s.acked, a.sentAt)
	s.valid = true
}

// Saw says that a cell was delivered to an agent by a read or by its picture
// of the bucket.
func (c *Checker) Saw(l Life, cell policy.Cell) {
	if cell.App != nil {
		c.learnRight(l, cell.App)
	}
}

func (c *Checker) session(id policy.Session, l Life) *session {
	s := c.sessions[id]
	if s == nil {
		s = &session{life: l}
		c.sessions[id] = s
	}
	return s
}

// Deadline is the instant, on the clock of the session's host, at which its
// right to act ends; ok is false when it never had any.
func (c *Checker) Deadline(id policy.Session) (at machine.Instant, ok bool) {
	s := c.sessions[id]
	if s == nil || !s.valid {
		return 0, false
	}
	return s.acked.Add(c.lives[s.life].lease.Fence()), true
}

// Applied says that the store has accepted a life's write, which then is the
// value of its key.
func (c *Checker) Applied(by Life, cell policy.Cell) {
	switch {
	case cell.Node != nil:
		c.nodeApplied(by, cell.Node)
	case cell.App != nil:
		c.appApplied(cell.App)
	}
}

// Recreated says that the bucket was lost and that an empty one is in its
// place. Epochs that no living node remembers may come again.
func (c *Checker) Recreated() {
	clear(c.nodes)
	for _, a := range c.apps {
		a.record, a.exists, a.started = policy.AppRecord{}, false, 0
		clear(a.allotted)
	}
	for i := range c.lives {
		for j := range c.lives[i].rights {
			c.lives[i].rights[j].bygone = true
		}
	}
}

func (c *Checker) nodeApplied(by Life, now *policy.SessionRecord) {
	was, existed := c.nodes[now.Node]
	c.nodes[now.Node] = *now
	if existed && now.State == policy.SessionLive && was.State == policy.SessionLive && now.Session == was.Session {
		c.renewed(now.Session)
	}
	switch {
	case !existed:
	case was.State == policy.SessionLive && now.Session != was.Session && c.sessions[now.Session] != nil && c.sessions[now.Session].shaken:
		// A renewal from before the store was set back has found its revision given
		// again, to another life. That one notices when it renews.
		c.shake(was.Session)
	case was.State == policy.SessionLive && now.Session != was.Session:
		c.replaced(&was, now)
	case was.State == policy.SessionLive && now.State != policy.SessionLive:
		c.sessionEnded(by, &was, now.State)
	case was.State != policy.SessionLive && now.Session == was.Session && !c.session(now.Session, c.byNonce[now.Agent]).shaken:
		// In a store that was set back a renewal under way may find its revision
		// given again, after the end of its session. It has to be ended once more.
		c.Fail("I8", "session %s of %s was %s and is %s again", now.Session, now.Node, was.State, now.State)
	}
}

func (c *Checker) replaced(was, now *policy.SessionRecord) {
	if was.Agent != now.Agent {
		c.Fail("S1", "%s: the live session %s was overwritten by another life", now.Node, was.Session)
	}
	for i := range c.instances {
		if c.instances[i].session == was.Session {
			c.Fail("S1", "%s: registered anew while %s of session %s is alive", now.Node, c.instances[i].name(), was.Session)
		}
	}
}

func (c *Checker) sessionEnded(by Life, was *policy.SessionRecord, state policy.SessionState) {
	l := c.byNonce[was.Agent]
	s := c.session(was.Session, l)
	if at, ok := c.Deadline(was.Session); ok && state == policy.SessionExpired && !c.lives[l].over && c.clock(l) < at && !s.shaken && !s.slept {
		rule := "I8"
		if ttl := c.lives[by].lease.TTL; ttl < c.lives[l].lease.TTL {
			rule = "I9"
		}
		c.Fail(rule, "%s was expired by %s %v before its right to act ends", was.Node, c.lives[by].node, time.Duration(at-c.clock(l)))
	}
	if state == policy.SessionDead && !c.lives[l].over {
		c.Fail("S4", "%s was certified dead while its agent lives", was.Node)
	}
	for i := range c.instances {
		in := &c.instances[i]
		if in.session == was.Session && (!in.frozen && !in.excused && !in.shaken || state != policy.SessionExpired) {
			c.Fail("I4", "session %s of %s is %s while %s is alive", was.Session, was.Node, state, in.name())
		}
	}
}
