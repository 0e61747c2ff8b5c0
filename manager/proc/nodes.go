package proc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// NodeType says which nodes are meant (OTP: the argument of nodes/1).
type NodeType string

// Types of nodes. A connection of which either end is hidden is hidden at both
// ends, as in Erlang.
const (
	Visible   NodeType = "visible"
	Hidden    NodeType = "hidden"
	Connected NodeType = "connected" // visible or hidden
	Known     NodeType = "known"     // every node ever heard of, this one too
	This      NodeType = "this"
)

// NodeDownReason is why a node counts as gone (OTP: nodedown_reason).
type NodeDownReason string

// Reasons of a NodeDown.
const (
	ConnectionClosed NodeDownReason = "connection_closed" // it ended, or the connection did
	TickTimeout      NodeDownReason = "net_tick_timeout"  // it is silent
	Disconnect       NodeDownReason = "disconnect"        // by Disconnect on this node
)

// NodeUp tells a process that has called MonitorNodes of a node that is there.
type NodeUp struct {
	Node node.Name
	Life Life
	Type NodeType // Visible or Hidden
}

// NodeDown says that a node is gone.
type NodeDown struct {
	Node   node.Name
	Life   Life
	Type   NodeType
	Reason NodeDownReason
}

func (NodeUp) isMessage()   {}
func (NodeDown) isMessage() {}

// peersMax bounds the nodes that are remembered: names come from outside.
const peersMax = 4096

// peer is what is known of another node. System.mu guards it.
type peer struct {
	name    node.Name
	beating bool // its heartbeats are heard
	life    Life // of the heartbeats
	former  []Life
	hidden  bool
	heardAt time.Time

	cut  bool  // disconnected: only a message, or another life, brings it back
	conn *conn // dialling, half or up; nil: none
	half *conn // answered, while conn is there and it is not known which one counts

	remindAt time.Time // not before: see groups.remind

	up     bool
	upLife Life
	upType NodeType
}

const formerMax = 8 // lives of one node whose stragglers are told from a new life

// peer finds or makes the entry of a node. It is for holders of mu.
func (s *System) peer(n node.Name) *peer {
	p := s.peers[n]
	if p == nil {
		if len(s.peers) >= peersMax {
			s.forgetPeers()
		}
		p = &peer{name: n}
		s.peers[n] = p
	}
	return p
}

// forgetPeers makes room: nobody needs the names of nodes that were there once.
func (s *System) forgetPeers() {
	maps.DeleteFunc(s.peers, func(_ node.Name, p *peer) bool { return !p.up && !p.beating && p.conn == nil && p.half == nil })
}

// mayTalk is for holders of mu.
func (s *System) mayTalk(n node.Name) bool { return s.allowed == nil || s.allowed[n] }

// disallowed logs an attempt to connect, at most once a second: attempts come
// from outside.
func (s *System) disallowed(what string, n node.Name) {
	now := time.Now().Unix()
	if s.disallowedAt.Swap(now) != now {
		s.log.Warn("connection attempt "+what+" disallowed node", "node", n)
	}
}

// nodeEvent is a NodeUp or NodeDown to be told.
type nodeEvent struct {
	Message
	typ NodeType
}

// reviewPeer compares what is known of a node with what was told, and returns
// what has to be told now. It is for holders of mu.
func (s *System) reviewPeer(p *peer, reason NodeDownReason) (events []nodeEvent) {
	up, life, typ := false, Life(""), Visible
	if c := p.conn; c != nil && c.isUp() {
		up, life = true, c.life
		if c.hidden {
			typ = Hidden
		}
	}
	if !up && p.beating && !p.cut && !p.hidden && !s.hidden && (p.up || s.mayTalk(p.name)) {
		up, life = true, p.life
	}
	if p.up && (!up || life != p.upLife || typ != p.upType) {
		events = append(events, nodeEvent{NodeDown{p.name, p.upLife, p.upType, reason}, p.upType})
		p.up = false
	}
	if up && !p.up {
		p.up, p.upLife, p.upType = true, life, typ
		events = append(events, nodeEvent{NodeUp{p.name, life, typ}, typ})
	}
	return events
}

func (c *conn) isUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connUp
}

// tell gives events to the processes that watch nodes, once for each of their
// calls of MonitorNodes, and to the groups.
func (s *System) tell(events []nodeEvent) {
	for _, e := range events {
		s.mu.RLock()
		var to []*process
		for p, counts := range s.observers {
			for range counts[e.typ] {
				to = append(to, p)
			}
		}
		s.mu.RUnlock()
		for _, p := range to {
			s.deliver(p, e.Message)
		}
		switch m := e.Message.(type) {
		case NodeUp:
			s.log.Debug("node up", "node", m.Node, "type", m.Type)
			s.groups.nodeUp(s, m)
		case NodeDown:
			s.log.Debug("node down", "node", m.Node, "type", m.Type, "cause", m.Reason)
		}
	}
}

// Beat is what a heartbeat says of a node.
type Beat struct {
	Node    node.Name
	Life    Life
	Hidden  bool
	Leaving bool // its last one
}

// Heard is told every heartbeat of the other nodes.
func (s *System) Heard(b Beat) {
	if b.Node == s.self {
		return
	}
	s.mu.Lock()
	p := s.peer(b.Node)
	if slices.Contains(p.former, b.Life) || s.closed {
		s.mu.Unlock()
		return
	}
	if b.Leaving {
		s.mu.Unlock()
		s.lost(b.Node, b.Life, ConnectionClosed)
		return
	}
	var stale []*conn
	if p.life != b.Life {
		if p.life != "" {
			p.former = append(p.former, p.life)
			p.former = p.former[max(0, len(p.former)-formerMax):]
		}
		p.cut = false
		for _, c := range []*conn{p.conn, p.half} {
			if c != nil && slices.Contains(p.former, c.life) {
				stale = append(stale, c)
			}
		}
	}
	p.beating, p.life, p.hidden, p.heardAt = true, b.Life, b.Hidden, time.Now()
	events := s.reviewPeer(p, ConnectionClosed)
	s.mu.Unlock()
	for _, c := range stale {
		s.breakConn(c, ConnectionClosed, false)
	}
	s.tell(events)
}

// Lost is told that a node seems to have gone, before its silence shows it. It
// asks before it believes it.
func (s *System) Lost(n node.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[n]
	if p == nil || s.closed {
		return
	}
	life := p.life
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(s.life0, s.suspicion)
		defer cancel()
		if s.t.Absent(ctx, n) {
			s.lost(n, life, ConnectionClosed)
		}
	})
}

// lost ends what there is with one life of a node.
func (s *System) lost(n node.Name, life Life, reason NodeDownReason) {
	s.mu.Lock()
	p := s.peers[n]
	if p == nil || p.life != life {
		s.mu.Unlock()
		return
	}
	p.beating = false
	var conns []*conn
	for _, c := range []*conn{p.conn, p.half} {
		if c != nil && c.life == life {
			conns = append(conns, c)
		}
	}
	events := s.reviewPeer(p, reason)
	s.mu.Unlock()
	for _, c := range conns {
		s.breakConn(c, reason, true)
	}
	s.tell(events)
}

// tick asks what is owed, and ends what has been silent for too long.
func (s *System) tick(now time.Time) {
	type silent struct {
		name node.Name
		life Life
	}
	var gone []silent
	s.mu.RLock()
	for _, p := range s.peers {
		if p.beating && now.Sub(p.heardAt) > s.suspicion {
			gone = append(gone, silent{p.name, p.life})
		}
	}
	conns := values(s.conns)
	s.mu.RUnlock()
	for _, g := range gone {
		s.lost(g.name, g.life, TickTimeout)
	}
	s.groups.remind(s, now)
	for _, c := range conns {
		switch c.tick(now, s.TickTime()) {
		case tickAsk:
			c.control(kindProbe, "")
		case tickDead:
			s.breakConn(c, TickTimeout, true)
		}
	}
}

// tickVerdict is what a tick finds about a connection.
type tickVerdict byte

const (
	tickFine tickVerdict = iota
	tickAsk
	tickDead
)

func (c *conn) tick(now time.Time, most time.Duration) tickVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != connUp && c.state != connHalf {
		return tickFine
	}
	if c.heard.Swap(false) {
		c.heardAt = now
	}
	owes := c.acked < c.number
	switch {
	case !owes:
		c.owedAt = time.Time{}
	case c.owedAt.IsZero() || c.owed != c.acked:
		c.owedAt, c.owed = now, c.acked
	}
	switch {
	case owes && now.Sub(c.owedAt) > most,
		c.ticks && now.Sub(c.heardAt) > most,
		c.state == connHalf && now.Sub(c.begun) > dialMax:
		return tickDead
	case owes, c.ticks:
		return tickAsk
	}
	return tickFine
}

// Nodes lists nodes, sorted by name (OTP: nodes/1).
func (s *System) Nodes(t NodeType) []node.Name {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []node.Name{}
	if t == This || t == Known {
		list = append(list, s.self)
	}
	for n, p := range s.peers {
		if t == Known || p.up && (t == Connected || t == p.upType) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// Connect makes sure that there is a connection to n (OTP:
// net_kernel:connect_node/1). Every message does so too.
//
// Errors: ErrNoConnection, ErrNotAllowed, ErrNewer, ErrClosed, the cause of
// ctx.
func (s *System) Connect(ctx context.Context, n node.Name) error {
	_, err := s.connect(ctx, n)
	return err
}

// Disconnect ends the connection with n and reports whether there was one
// (OTP: disconnect_node/1). The next message makes another.
func (s *System) Disconnect(n node.Name) bool {
	s.mu.Lock()
	p := s.peers[n]
	if p == nil || !p.up {
		s.mu.Unlock()
		return false
	}
	p.cut = true
	c := p.conn
	events := []nodeEvent(nil)
	if c == nil {
		events = s.reviewPeer(p, Disconnect)
	}
	s.mu.Unlock()
	if c != nil {
		s.breakConn(c, Disconnect, true)
	} else {
		s.reset(n, 0, string(Disconnect))
	}
	s.tell(events)
	return true
}

// onCut: the other node has called Disconnect. Its heartbeats alone don't bring
// it back.
func (s *System) onCut(f *frame) {
	s.mu.Lock()
	p := s.peers[f.node]
	if p == nil || !p.up {
		s.mu.Unlock()
		return
	}
	p.cut = true
	var events []nodeEvent
	if p.conn == nil {
		events = s.reviewPeer(p, ConnectionClosed)
	}
	s.mu.Unlock()
	s.tell(events)
}

// Allow adds nodes to those that this one talks to; once it has been called it
// talks to no others (OTP: net_kernel:allow/1). It can't be taken back, and
// connections that are there stay.
func (s *System) Allow(nodes ...node.Name) error {
	for _, n := range nodes {
		if _, err := node.Parse(string(n)); err != nil {
			return fmt.Errorf("allow: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.allowed == nil {
		s.allowed = map[node.Name]bool{}
	}
	for _, n := range nodes {
		s.allowed[n] = true
	}
	return nil
}

// Allowed lists them; ok is false as long as all nodes are allowed (OTP:
// net_kernel:allowed/0).
func (s *System) Allowed() (nodes []node.Name, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.allowed)), s.allowed != nil
}
