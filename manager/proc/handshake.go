package proc

import (
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// How two systems begin to talk. A says hello with a number of its own choice;
// B answers with welcome and the number of the connection, which is B's choice;
// A confirms with an acknowledgement. B's number is what makes an old hello that
// comes again, with all that was sent after it, harmless: nobody confirms it.
//
// If both say hello at once, that of the lesser name counts.

// onHello answers a hello.
func (s *System) onHello(f *frame) {
	if f.node == s.self {
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	if !s.mayTalk(f.node) {
		s.mu.Unlock()
		s.disallowed("from", f.node)
		s.refuse(f, ErrNotAllowed)
		return
	}
	p := s.peer(f.node)
	old := p.conn
	switch {
	case old != nil && old.hello == 0 && old.greeted == f.conn:
		s.mu.Unlock()
		s.welcome(old, f) // again: the first answer was lost
		return
	case p.half != nil && p.half.greeted == f.conn:
		half := p.half
		s.mu.Unlock()
		s.welcome(half, f)
		return
	case old != nil && old.dialing() && s.self < f.node:
		s.mu.Unlock()
		return // ours counts, and it will be sent again
	}
	var c *conn
	adopted := old != nil && old.dialing()
	if adopted {
		c = old
		delete(s.conns, c.id)
	} else {
		c = newConn(s, f.node, 0)
	}
	c.greeted = f.conn
	c.hello, c.life, c.hidden = 0, f.life, s.hidden || f.flags&flagHidden != 0
	c.ticks = f.flags&flagTicks != 0 || !p.beating
	c.batch = s.pace.batch > 0 && f.flags&flagBatches != 0
	c.id = newID()
	s.conns[c.id] = c
	if p.half != nil {
		delete(s.conns, p.half.id)
	}
	p.half = nil
	if old == nil || adopted {
		p.conn = c
	} else {
		p.half = c
	}
	s.mu.Unlock()
	s.welcome(c, f)
	c.open(connHalf)
}

// dialing is for holders of System.mu.
func (c *conn) dialing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connDialing && c.hello != 0
}

// open lets senders use it.
func (c *conn) open(state connState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connBroken || c.state == connUp {
		return
	}
	if c.state == connDialing {
		close(c.ready)
	}
	c.state, c.heardAt, c.begun = state, time.Now(), time.Now()
}

func (s *System) welcome(c *conn, f *frame) {
	answer := frame{kind: kindWelcome, conn: f.conn, number: c.id, node: s.self, life: s.life, want: f.life, flags: s.flags(c.ticks)}
	_ = s.t.Send(f.node, appendFrame(nil, &answer)) // if it is lost the hello comes again
}

func (s *System) refuse(f *frame, why error) {
	answer := frame{kind: kindRefuse, conn: f.conn, node: s.self, text: why.Error()}
	_ = s.t.Send(f.node, appendFrame(nil, &answer)) // likewise
}

// onWelcome opens the connection that this system asked for.
func (s *System) onWelcome(f *frame) {
	s.mu.Lock()
	c := s.conns[f.conn]
	p := s.peers[f.node]
	if c == nil || c.node != f.node || f.want != s.life || f.number == 0 || !c.dialing() || p == nil {
		s.mu.Unlock()
		if f.want == s.life || f.number != 0 {
			s.reset(f.node, f.number, "no hello was sent")
		}
		return
	}
	delete(s.conns, c.id)
	c.id, c.life, c.hidden = f.number, f.life, s.hidden || f.flags&flagHidden != 0
	c.ticks = f.flags&flagTicks != 0 || !p.beating
	c.batch = s.pace.batch > 0 && f.flags&flagBatches != 0
	s.conns[c.id] = c
	c.open(connUp)
	p.cut = false
	events := s.reviewPeer(p, ConnectionClosed)
	s.mu.Unlock()
	c.control(kindAck, "")
	s.tell(events)
	s.greetGroups(c)
}

// confirm is called with the first frame of a connection that this system has
// answered: the other one knows its number, so it is no echo of an old hello.
func (s *System) confirm(c *conn) {
	c.open(connUp)
	s.mu.Lock()
	p := s.peers[c.node]
	if p == nil || c.isBroken() {
		s.mu.Unlock()
		return
	}
	old := p.conn
	if p.half == c {
		p.half, p.conn = nil, c
	}
	p.cut = false
	events := s.reviewPeer(p, ConnectionClosed)
	s.mu.Unlock()
	if old != nil && old != c {
		s.breakConn(old, ConnectionClosed, false)
	}
	s.tell(events)
	s.greetGroups(c)
}

func (c *conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connBroken
}

// onRefuse ends an attempt to connect.
func (s *System) onRefuse(f *frame) {
	s.mu.RLock()
	c := s.conns[f.conn]
	ours := c != nil && c.node == f.node && c.hello == f.conn
	s.mu.RUnlock()
	if !ours {
		return
	}
	why := fmt.Errorf("%w: %s refuses: %s", ErrNoConnection, f.node, clip(f.text))
	for _, known := range []error{ErrNotAllowed, ErrNewer} {
		if f.text == known.Error() {
			why = fmt.Errorf("%w: %s refuses: %w", ErrNoConnection, f.node, known)
		}
	}
	s.breakConnFor(c, ConnectionClosed, false, why)
}

// reset tells a node that a connection is over.
func (s *System) reset(n node.Name, id uint64, why string) {
	f := frame{kind: kindReset, conn: id, node: s.self, text: why}
	_ = s.t.Send(n, appendFrame(nil, &f)) // if it is lost, its next question is answered alike
}

// onReset ends a connection that the other one has ended.
func (s *System) onReset(f *frame) {
	if c := s.conn(f.conn); c != nil && c.node == f.node {
		s.breakConn(c, ConnectionClosed, false)
	}
}

// breakConn ends a connection: NoConnection for all links, monitors and calls
// over it.
func (s *System) breakConn(c *conn, reason NodeDownReason, tell bool) {
	s.breakConnFor(c, reason, tell, fmt.Errorf("%w: %s: %s", ErrNoConnection, c.node, reason))
}

func (s *System) breakConnFor(c *conn, reason NodeDownReason, tell bool, err error) {
	if c == s.local {
		return
	}
	if tell {
		c.pumpAll() // what was sent before the end arrives before the end
	}
	if !c.fail(err) {
		return
	}
	s.mu.Lock()
	id := c.id
	delete(s.conns, id)
	p := s.peers[c.node]
	var events []nodeEvent
	if p != nil {
		if p.half == c {
			p.half = nil
		}
		if p.conn == c {
			p.conn = nil
			events = s.reviewPeer(p, reason)
		}
	}
	exits, downs := s.unbind(c)
	s.mu.Unlock()
	if tell {
		s.reset(c.node, id, string(reason))
	}
	for _, e := range exits {
		s.exitSignal(e.to, e.from, NoConnection, false)
	}
	for _, w := range downs {
		w.fire(NoConnection)
	}
	s.groups.nodeGone(s, c.node, c)
	s.tell(events)
}

type exitSignal struct {
	to   *process
	from PID
}

// unbind forgets all that was tied to a connection. It is for holders of mu.
func (s *System) unbind(c *conn) (exits []exitSignal, downs []*watch) {
	for l := range c.links {
		if p := s.procs[l.here]; p != nil {
			from := PID{c.node, c.life, l.there}
			delete(p.links, from)
			exits = append(exits, exitSignal{p, from})
		}
	}
	for ref, p := range c.watched {
		delete(p.watchers, callKey{c, ref})
	}
	for ref := range c.watches {
		if w := s.watches[ref]; w != nil {
			delete(s.watches, ref)
			delete(w.by.watching, ref)
			downs = append(downs, w)
		}
	}
	c.links, c.watched, c.watches = nil, nil, nil
	return exits, downs
}
