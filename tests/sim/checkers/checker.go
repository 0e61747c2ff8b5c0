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
	cells     map[policy.Key]*held
	buckets   int              // how many were lost
	based     map[string]*held // by the id of a write: the value that its sender knew at its revision; nil: none
	basedIDs  []string         // the oldest first
	seq       policy.Revision  // of the latest write
	kept, top policy.Revision  // what is above kept, up to top, may have been given more than once
	err       *Violation
}

// held is what the store holds by one key.
type held struct {
	cell   policy.Cell
	told   map[Life]bool // who was told of it
	common bool          // it was the value once before, so that anybody may know it
}

// agent is one agent process.
type agent struct {
	node    node.Name
	lease   policy.Lease
	barrier machine.Sync
	heard   []node.Name
	born    machine.Instant
	bucket  int           // how many buckets had been lost before it
	longest time.Duration // the longest lease that its disk knew of when it began
	over    bool
	renewID string // of the last registration or renewal sent
	sentAt  machine.Instant
	rights  []right
	read    map[policy.App]epochRead
}

// epochRead is what an agent has read of an app's epochs, at which revision.
type epochRead struct {
	rev  policy.Revision
	high policy.Epoch
}

// session is one lease.
type session struct {
	life  Life
	acked machine.Instant // t_send of the last acknowledged renewal
	valid bool            // one was acknowledged at all

	shaken bool            // the store was set back behind it
	until  machine.Instant // with that: when its node must have noticed
	slept  bool            // its host stood still, clocks and all
	woke   machine.Instant // with that: when it went on
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
		cells:    map[policy.Key]*held{}, based: map[string]*held{},
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
// longest is the longest lease that it knows of from its disk.
func (c *Checker) Booted(l Life, n node.Name, nonce policy.Nonce, lease policy.Lease, barrier machine.Sync, longest time.Duration) {
	c.lives = append(c.lives, agent{node: n, lease: lease, barrier: barrier, bucket: c.buckets, longest: max(lease.TTL, longest)})
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
	h := c.cells[w.Cell.Key]
	if h != nil && !h.told[l] {
		h = nil
	}
	c.base(w, h)
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
	c.tell(l, w.Cell)
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
	s.slept = s.slept && a.sentAt < s.woke // since then its clock has run
}

// Saw says that a cell was delivered to an agent by a read or by its picture
// of the bucket.
func (c *Checker) Saw(l Life, cell policy.Cell) {
	c.tell(l, cell)
	if cell.App != nil {
		c.learnRight(l, cell.App)
	}
}

// excused: the session's renewals were forgotten, and its node need not
// have noticed yet.
func (s *session) excused(now machine.Instant) bool { return s.shaken && now <= s.until }

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

// tell notes who was told of the value that a key has now.
func (c *Checker) tell(l Life, cell policy.Cell) {
	if h := c.cells[cell.Key]; h != nil && h.cell.App == cell.App && h.cell.Node == cell.Node {
		h.told[l] = true
		c.lives[l].reads(cell)
	}
}

// reads keeps the highest epoch of the records that an agent was told of, each
// newer than those before.
func (a *agent) reads(cell policy.Cell) {
	if cell.App == nil || cell.Rev <= a.read[cell.App.App].rev {
		return
	}
	if a.read == nil {
		a.read = map[policy.App]epochRead{}
	}
	a.read[cell.App.App] = epochRead{cell.Rev, max(cell.App.High, a.read[cell.App.App].high)}
}

// Certifies says that a warden writes what follows from a value that it has read.
func (c *Checker) Certifies(read policy.Cell, w *policy.Write) {
	h := c.cells[w.Cell.Key]
	if h != nil && h.cell.Node != read.Node {
		h = nil
	}
	c.base(w, h)
}

// basedMax is how many writes are remembered; older ones have long landed.
const basedMax = 1 << 14

func (c *Checker) base(w *policy.Write, h *held) {
	if _, repeated := c.based[w.ID]; repeated {
		return
	}
	if h != nil && h.cell.Rev != w.Expect {
		h = nil
	}
	c.based[w.ID] = h
	c.basedIDs = append(c.basedIDs, w.ID)
	if len(c.basedIDs) > basedMax {
		delete(c.based, c.basedIDs[0])
		c.basedIDs = c.basedIDs[1:]
	}
}

// Applied says that the store has accepted a life's write, which then is the
// value of its key, at a revision.
func (c *Checker) Applied(by Life, w *policy.Write, rev policy.Revision) {
	stray := c.stray(w)
	cell := w.Cell
	cell.Rev = rev
	c.seq = rev
	c.cells[cell.Key] = &held{cell: cell, told: map[Life]bool{}}
	switch {
	case cell.Node != nil && stray:
		c.nodeStray(cell.Node)
	case cell.Node != nil:
		c.nodeApplied(by, cell.Node)
	case cell.App != nil:
		c.appApplied(cell.App, stray)
	}
}

// stray: the write names a revision that was given twice, and when it was sent its
// sender had not been told of the value that has it now. So it is about the one
// before, which the store has forgotten, and no compare-and-set can tell them
// apart.
func (c *Checker) stray(w *policy.Write) bool {
	h := c.cells[w.Cell.Key]
	knew, known := c.based[w.ID]
	return known && h != nil && h != knew && !h.common && h.cell.Rev == w.Expect && w.Expect > c.kept && w.Expect <= c.top
}

// given: from now on what is above rev is given again.
func (c *Checker) given(rev policy.Revision) {
	if c.top == 0 {
		c.kept = rev
	}
	c.kept, c.top = min(c.kept, rev), max(c.top, c.seq)
	c.seq = rev
}

// Recreated says that the bucket was lost and that an empty one is in its
// place. Epochs that no living node remembers may come again.
func (c *Checker) Recreated() {
	c.buckets++
	c.given(0)
	clear(c.cells)
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
	case was.State == policy.SessionLive && now.Session != was.Session:
		c.replaced(&was, now)
	case was.State == policy.SessionLive && now.State != policy.SessionLive:
		c.sessionEnded(by, &was, now.State)
	case was.State != policy.SessionLive && now.Session == was.Session:
		c.Fail("I8", "session %s of %s was %s and is %s again", now.Session, now.Node, was.State, now.State)
	}
}

// nodeStray: a session that others hold for live is gone, and its node can't know
// that yet. One that is live again by such a write has to be ended once more.
func (c *Checker) nodeStray(now *policy.SessionRecord) {
	was := c.nodes[now.Node]
	c.nodes[now.Node] = *now
	if was.State == policy.SessionLive && (now.Session != was.Session || now.State != policy.SessionLive) {
		c.shake(was.Session)
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
	if at, ok := c.Deadline(was.Session); ok && state == policy.SessionExpired && !c.lives[l].over && c.clock(l) < at && !s.excused(c.clock(l)) && !s.slept {
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
