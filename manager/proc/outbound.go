package proc

import (
	"encoding/binary"
	"time"
)

// How frames get from a connection to the transport. As long as little is on
// its way a frame is handed over at once, by who sends it. What is said faster
// than the other one acknowledges it gathers, and goes as one batch: by itself
// each message costs two servers and two clients more than what is in it.
//
// The other one acknowledges a batch when it has it. So batches are as large as
// the way is slow, and no more than networkBytes of one pair of nodes is ever in
// the servers, where heartbeats have to get through too. The rest waits here;
// and beyond windowFrames and windowBytes the sender waits.
//
// A batch is only sent to who has said in the handshake that it reads them
// (flagBatches).

// pace is what may be on its way.
type pace struct {
	atOnce  uint64        // unacknowledged frames up to which the next is sent at once
	batch   int           // bytes of a batch that waits for no more
	network uint64        // unacknowledged bytes up to which the transport is given more
	frames  uint64        // and unacknowledged frames
	gather  time.Duration // the longest that a frame waits for others, unless the network is full
	ackAt   uint64        // frames that are acknowledged at once, when they have arrived
	ackSize uint64        // and bytes
}

// defaultPace: 32 frames are some hundred microseconds of a server's work. A
// batch of 32 KiB is large enough for its own costs to vanish, and small enough
// to be copied within a cache. 512 KiB is what a link of 1 Gbit/s carries in 4 ms.
// A millisecond is what an answer over a real network takes anyway.
var defaultPace = pace{atOnce: 32, batch: 32 << 10, network: 512 << 10, frames: 4096, gather: time.Millisecond, ackAt: 16, ackSize: 64 << 10}

// outbound is what gathers. Its connection's mutex guards it.
type outbound struct {
	sent      uint64 // the number of the last frame that the transport was given
	sentBytes uint64 // the bytes of all frames up to it

	open  batch   // still gathers
	full  []batch // wait for the network, oldest first
	free  [][]byte
	timer *time.Timer // ends the gathering
}

// batch is several frames in one.
type batch struct {
	buf    []byte // with batchHead; nil: there is none
	frames int
	number uint64 // of the last one
	bytes  uint64 // of all frames of the connection up to it
}

// batchHead is version, kind and connection; batchItem the length before each
// frame.
const (
	batchHead = 2 + 8
	batchItem = 4
)

// put hands a numbered frame to the transport, now or, in a batch of at most so
// many bytes, a little later.
func (c *conn) put(f *frame, most int) error {
	o := &c.out
	if !c.batch || o.open.buf == nil && len(o.full) == 0 && c.quiet() {
		c.stamp(f)
		c.buf = appendFrame(c.buf[:0], f)
		c.bytes += uint64(len(c.buf))
		o.sent, o.sentBytes = f.number, c.bytes
		err := c.s.t.Send(c.node, c.buf)
		if cap(c.buf) > 64<<10 {
			c.buf = nil
		}
		return err
	}
	if o.open.buf != nil && len(o.open.buf)+batchItem+f.sizeMax() > most {
		c.closeBatch()
	}
	b := &o.open
	if b.buf == nil {
		b.buf = c.buffer(f)
		c.gatherFor(c.s.pace.gather)
	}
	at := len(b.buf)
	// It says what has arrived, but may have to wait for the network: that does
	// not count as an acknowledgement.
	f.ack, f.ackBytes = c.ackable()
	b.buf = appendFrame(append(b.buf, make([]byte, batchItem)...), f)
	n := len(b.buf) - at - batchItem
	binary.BigEndian.PutUint32(b.buf[at:], uint32(n))
	c.bytes += uint64(n)
	b.frames++
	b.number, b.bytes = f.number, c.bytes
	if len(b.buf)+overhead >= most {
		c.closeBatch()
	}
	return c.pump()
}

// sizeMax is at least as much as the frame takes.
func (f *frame) sizeMax() int {
	return overhead + len(f.name) + len(f.text) + len(f.payload.Data) + len(f.payload.Codec) + 10*len(f.list)
}

// quiet: so little is on its way that the next frame needs no others.
func (c *conn) quiet() bool { return c.out.sent-c.acked <= c.s.pace.atOnce && c.networkOpen() }

func (c *conn) networkOpen() bool {
	return c.out.sentBytes-c.ackedB <= c.s.pace.network && c.out.sent-c.acked <= c.s.pace.frames
}

// buffer begins a batch.
func (c *conn) buffer(f *frame) []byte {
	var b []byte
	if n := len(c.out.free); n > 0 {
		b, c.out.free = c.out.free[n-1], c.out.free[:n-1]
	} else {
		b = make([]byte, 0, c.s.pace.batch+batchItem)
	}
	b = append(b[:0], version, byte(kindBatch))
	return binary.BigEndian.AppendUint64(b, f.conn)
}

const freeMax = 2 // buffers that are kept for later batches

func (c *conn) recycle(b []byte) {
	if len(c.out.free) < freeMax && cap(b) <= 2*c.s.pace.batch {
		c.out.free = append(c.out.free, b)
	}
}

func (c *conn) closeBatch() {
	c.out.full = append(c.out.full, c.out.open)
	c.out.open = batch{}
}

// gatherFor lets the open batch go after d at the latest.
func (c *conn) gatherFor(d time.Duration) {
	if c.out.timer == nil {
		c.out.timer = time.AfterFunc(d, c.gathered)
		return
	}
	c.out.timer.Reset(d)
}

// gathered ends the gathering.
func (c *conn) gathered() {
	c.mu.Lock()
	if c.state == connBroken || c.out.open.buf == nil {
		c.mu.Unlock()
		return
	}
	c.closeBatch()
	err := c.pump()
	c.mu.Unlock()
	if err != nil {
		c.s.breakConn(c, ConnectionClosed, false)
	}
}

// pump gives the transport what it may have by now.
func (c *conn) pump() error {
	o := &c.out
	for len(o.full) > 0 && c.networkOpen() {
		b := o.full[0]
		if len(o.full) == 1 {
			o.full = o.full[:0]
		} else {
			o.full = o.full[1:]
		}
		if err := c.ship(b); err != nil {
			return err
		}
	}
	if o.open.buf != nil && len(o.full) == 0 && c.quiet() {
		b := o.open
		o.open = batch{}
		return c.ship(b)
	}
	return nil
}

// pumpAll gives it all that has gathered: nothing will be acknowledged any more.
func (c *conn) pumpAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != connUp && c.state != connHalf {
		return
	}
	if c.out.open.buf != nil {
		c.closeBatch()
	}
	for _, b := range c.out.full {
		if c.ship(b) != nil {
			break // the connection ends anyway
		}
	}
	c.out.full = nil
}

func (c *conn) ship(b batch) error {
	c.out.sent, c.out.sentBytes = b.number, b.bytes
	data := b.buf
	if b.frames == 1 {
		data = data[batchHead+batchItem:] // the frame itself
	}
	err := c.s.t.Send(c.node, data)
	c.recycle(b.buf)
	return err
}

// isBatch tells a batch from a frame.
func isBatch(b []byte) bool { return len(b) >= batchHead && b[0] == version && kind(b[1]) == kindBatch }

// batch takes a batch apart. What can't be read ends the connection.
func (s *System) batch(b []byte) {
	id := binary.BigEndian.Uint64(b[2:])
	c := s.conn(id)
	if c == nil {
		s.counts.stale.Add(1)
		return
	}
	size := len(b)
	var f frame
	for b = b[batchHead:]; len(b) > 0; {
		r := reader{b: b}
		part := r.take(uint64(r.uint32()))
		b = r.b
		if r.bad || parseFrame(part, &f) != nil || !f.kind.numbered() || f.conn != id {
			s.counts.unreadable.Add(1)
			s.breakConn(c, ConnectionClosed, true)
			return
		}
		// A message that is kept must not keep all the others.
		if len(f.payload.Data)*4 < size {
			f.payload = f.payload.clone()
		}
		if !s.next(c, &f, len(part)) {
			return
		}
	}
	s.acknowledge(c)
}

// holdMax is how long acknowledgements may wait for a reader; less where the
// tick time demands it.
const holdMax = 500 * time.Millisecond

// hold keeps acknowledgements back while a mailbox is crowded and its reader
// reads: so the sender waits for it, and nothing has to be dropped only because
// messages come faster than they are read. For a process that does not read
// nobody waits, since all others get their messages over the same connection.
func (c *conn) hold(box *mailbox) {
	s := c.s
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	c.heldIn.Store(c.ackSent.Load())
	c.heldBytes.Store(c.ackBytes.Load())
	c.holding.Store(true)
	s.work.Go(func() {
		box.relieved(s.life0, min(holdMax, s.TickTime()/4))
		c.holding.Store(false)
		c.control(kindAck, "")
	})
}

// ackable is what may be acknowledged.
func (c *conn) ackable() (frames, bytes uint64) {
	if c.holding.Load() {
		return c.heldIn.Load(), c.heldBytes.Load()
	}
	return c.in.Load(), c.inBytes.Load()
}
