package proc

import (
	"errors"
	"slices"
)

// Receive is called with every frame for this node, one after the other. The
// payload of a message is a part of b, which must not be changed afterwards.
func (s *System) Receive(b []byte) {
	if isBatch(b) {
		s.batch(b)
		return
	}
	var f frame
	if err := parseFrame(b, &f); err != nil {
		s.unreadable(&f, err)
		return
	}
	switch f.kind {
	case kindHello:
		s.onHello(&f)
	case kindWelcome:
		s.onWelcome(&f)
	case kindRefuse:
		s.onRefuse(&f)
	case kindReset:
		if f.text == string(Disconnect) {
			s.onCut(&f)
		}
		s.onReset(&f)
	case kindProbe, kindAck:
		s.onAck(&f)
	default:
		s.numbered(&f, len(b))
	}
}

// unreadable counts a frame that can't be read. If it belongs to a connection
// something is missing there now.
func (s *System) unreadable(f *frame, err error) {
	if errors.Is(err, errNewerFrame) {
		s.counts.newer.Add(1)
		if f.kind == kindHello && f.node != "" && f.node != s.self {
			s.refuse(f, ErrNewer)
		}
		return
	}
	s.counts.unreadable.Add(1)
	if c := s.conn(f.conn); c != nil && f.kind.numbered() {
		s.breakConn(c, ConnectionClosed, true)
	}
}

// onAck: the other one says what it has, or asks what we have.
func (s *System) onAck(f *frame) {
	c := s.conn(f.conn)
	if c == nil || c.node != f.node {
		s.counts.stale.Add(1)
		if f.kind == kindProbe && f.node != s.self && s.life0.Err() == nil {
			s.reset(f.node, f.conn, "no such connection")
		}
		return
	}
	s.alive(c)
	c.arrived(f.ack, f.ackBytes)
	switch {
	case f.kind == kindAck:
	case f.number > c.in.Load():
		s.gap(c)
	default:
		c.control(kindAck, "")
	}
}

// alive takes note of a sign of life.
func (s *System) alive(c *conn) {
	if !c.heard.Load() {
		c.heard.Store(true)
	}
	if c.unconfirmed() {
		s.confirm(c)
	}
}

func (c *conn) unconfirmed() bool {
	if c.confirmed.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirmed.Store(c.state != connDialing)
	return c.state == connHalf
}

// gap ends a connection on which something was lost: what came after it can't
// be delivered in order.
func (s *System) gap(c *conn) {
	s.counts.lost.Add(1)
	s.breakConn(c, ConnectionClosed, true)
}

// numbered takes a frame that came alone.
func (s *System) numbered(f *frame, size int) {
	c := s.conn(f.conn)
	if c == nil {
		s.counts.stale.Add(1)
		return
	}
	if s.next(c, f, size) {
		s.acknowledge(c)
	}
}

// next takes the frames of a connection in their order, each once. It reports
// false when one is missing.
func (s *System) next(c *conn, f *frame, size int) bool {
	s.alive(c)
	in := c.in.Load()
	switch {
	case f.number <= in:
		s.counts.repeated.Add(1)
		return true
	case f.number > in+1:
		s.gap(c)
		return false
	}
	c.in.Store(f.number)
	c.inBytes.Add(uint64(size))
	c.arrived(f.ack, f.ackBytes)
	f.payload.codecs = &s.codecs
	s.dispatch(c, f)
	return true
}

// acknowledge says what has arrived, when it is enough. Who sends batches waits
// for it, who does not has a large window.
func (s *System) acknowledge(c *conn) {
	frames, size := uint64(ackFrames), uint64(ackBytes)
	if c.batch {
		frames, size = s.pace.ackAt, s.pace.ackSize
	}
	if c.holding.Load() || c.in.Load()-c.ackSent.Load() < frames && c.inBytes.Load()-c.ackBytes.Load() < size {
		return
	}
	if box := c.crowd; c.batch && box != nil && box.crowd.Load() {
		c.hold(box)
		return
	}
	c.crowd = nil
	c.control(kindAck, "")
}

func (s *System) dispatch(c *conn, f *frame) {
	switch f.kind {
	case kindSend:
		s.onSend(c, f)
	case kindCall:
		s.onCall(c, f)
	case kindApply, kindSpawn:
		s.onSpawn(c, f)
	case kindReply:
		c.answer(f.ref, answer{payload: f.payload})
	case kindSpawned:
		c.answer(f.ref, answer{pid: f.to})
	case kindFail:
		c.answer(f.ref, answer{err: f.fail.error(string(cleanReason(Reason(f.text))))})
	case kindForget:
		s.onForget(c, f)
	case kindMonitor:
		s.onMonitor(c, f)
	case kindUnwatch:
		s.onUnwatch(c, f)
	case kindDown:
		s.onDown(c, f)
	case kindLink:
		s.onLink(c, f)
	case kindUnlink:
		s.onUnlink(c, f)
	case kindExit:
		s.onExit(c, f)
	case kindGroup:
		s.groups.onFrame(s, c, f)
	}
}

// sender is the process of the other node that a frame comes from.
func (c *conn) sender(f *frame) PID {
	if f.from == 0 {
		return PID{}
	}
	return PID{c.node, c.life, f.from}
}

func (s *System) onSend(c *conn, f *frame) {
	p := s.processOf(f.to, f.name)
	if p == nil {
		s.counts.noProcess.Add(1)
		return
	}
	s.deliver(p, Msg{c.sender(f), f.payload})
	if p.box.crowd.Load() {
		c.crowd = p.box
	}
}

func (s *System) onCall(c *conn, f *frame) {
	s.request(callKey{c, f.ref}, s.processOf(f.to, f.name), c.sender(f), f.payload)
}

func (s *System) onForget(c *conn, f *frame) {
	if p := s.processOf(f.to, f.name); p != nil {
		p.box.answers(callKey{c, f.ref})
	}
}

// deliver puts a message into a mailbox and does what its policy says when it
// is full.
func (s *System) deliver(p *process, m Message) put {
	result, evicted := p.box.put(m)
	for _, key := range evicted {
		s.failCall(key, failMailbox, "")
	}
	switch result {
	case putClosed:
		s.counts.noProcess.Add(1)
	case putExit:
		s.terminate(p, MailboxFull)
	case putOK, putFull:
	}
	return result
}

// request delivers a call; if that can't be done, the caller is told.
func (s *System) request(key callKey, p *process, from PID, payload Payload) {
	if p == nil {
		s.failCall(key, failExit, string(NoProc))
		return
	}
	switch s.deliver(p, &Request{From: from, Payload: payload, key: key, proc: p}) {
	case putClosed:
		s.failCall(key, failExit, string(NoProc))
	case putFull:
		s.failCall(key, failMailbox, "")
	case putExit:
		s.failCall(key, failExit, string(MailboxFull))
	case putOK:
	}
}

// failCall tells a caller that there will be no answer.
func (s *System) failCall(key callKey, f failure, text string) {
	if key.conn == s.local {
		s.local.answer(key.ref, answer{err: f.error(text)})
		return
	}
	key.conn.push(&frame{kind: kindFail, ref: key.ref, fail: f, text: text})
}

// clone keeps what a sender may change from what is delivered here.
func (p Payload) clone() Payload {
	p.Data = slices.Clone(p.Data)
	return p
}
