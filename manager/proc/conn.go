package proc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// connState is how far a connection is.
type connState byte

const (
	connDialing connState = iota // a hello was sent
	connHalf                     // a hello was answered; whether the other one still wants it is not known
	connUp
	connBroken
)

// Limits of what may be on its way over one connection. Senders wait beyond
// them, so that what arrives faster than it is read stays with who sends it.
const (
	windowFrames = 16384
	windowBytes  = 8 << 20
	ackFrames    = windowFrames / 8
	ackBytes     = windowBytes / 8
)

// conn is a connection between this life of this node and one life of another.
// Whatever goes wrong with it ends it; it never heals.
type conn struct {
	s     *System
	node  node.Name
	ready chan struct{} // closed when it can be used, or is broken

	// Guarded by System.mu.
	hello   uint64 // number of our hello; 0: the other one's was answered
	greeted uint64 // number of theirs

	// Set before ready is closed.
	id     uint64 // in every frame, chosen by who answered the hello
	life   Life
	hidden bool // either end is a hidden node
	ticks  bool // no heartbeats are heard: silence is the only sign
	batch  bool // the other one reads batches, and so do we

	in, inBytes atomic.Uint64 // numbered frames that have arrived
	ackSent     atomic.Uint64
	ackBytes    atomic.Uint64
	crowd       *mailbox // that a message has found crowded; Receive alone uses it
	holding     atomic.Bool
	heldIn      atomic.Uint64 // what is acknowledged while holding
	heldBytes   atomic.Uint64
	known       atomic.Uint64 // acked, to be read without the mutex
	heard       atomic.Bool   // since the last tick
	confirmed   atomic.Bool

	greetedGroups atomic.Bool // the other one was told all groups

	mu      sync.Mutex
	state   connState
	err     error  // why it is broken
	number  uint64 // of the last numbered frame sent
	bytes   uint64 // of all of them
	acked   uint64 // the last one that has arrived there
	ackedB  uint64
	room    chan struct{} // closed when something is acknowledged; nil: nobody waits
	buf     []byte
	out     outbound
	calls   map[uint64]*pending
	owedAt  time.Time // since when the same acknowledgement is owed; zero: nothing is
	owed    uint64    // acked at owedAt
	heardAt time.Time
	begun   time.Time

	// Guarded by System.mu.
	links   map[link]struct{}
	watched map[uint64]*process // processes here that the other one monitors, by its ref
	watches map[uint64]struct{} // monitors of ours, by our ref
}

// link is a pair of linked processes.
type link struct{ here, there uint64 }

// pending is a call that waits for its answer.
type pending struct {
	done    chan answer
	spawned func(serial uint64) // of a spawn: called before anything else about the process is heard
}

type answer struct {
	payload Payload
	pid     uint64 // of a spawn
	err     error
	conn    *conn
}

func newConn(s *System, n node.Name, hello uint64) *conn {
	return &conn{
		s: s, node: n, hello: hello, ready: make(chan struct{}), begun: time.Now(),
		calls: map[uint64]*pending{}, links: map[link]struct{}{}, watched: map[uint64]*process{}, watches: map[uint64]struct{}{},
	}
}

func newID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}

// send is for what processes say: it waits for room, at most until ctx ends.
// Whoever calls it holds no lock.
func (c *conn) send(ctx context.Context, f *frame) error { return c.transmit(ctx, f, true) }

// push is for what the system itself has to say, which must not wait. It needs
// no error: a failure ends the connection, and that tells everybody.
//
// It may be called with groups.order held.
func (c *conn) push(f *frame) { _ = c.transmit(context.Background(), f, false) }

// transmit numbers a frame and lets it go.
func (c *conn) transmit(ctx context.Context, f *frame, wait bool) error {
	most := c.s.t.MaxFrame()
	if f.sizeMax() > most {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(f.payload.Data), most-overhead-len(f.name))
	}
	c.mu.Lock()
	for wait && c.full() {
		if err := c.await(ctx); err != nil {
			c.mu.Unlock()
			return err
		}
	}
	if c.state == connBroken {
		err := c.err
		c.mu.Unlock()
		return err
	}
	c.number++
	f.conn, f.number = c.id, c.number
	err := c.put(f, min(c.s.pace.batch, most))
	c.mu.Unlock()
	if err == nil {
		return nil
	}
	if wait {
		c.s.breakConn(c, ConnectionClosed, false)
	} else {
		go c.s.breakConn(c, ConnectionClosed, false)
	}
	return fmt.Errorf("%w: %w", ErrNoConnection, err)
}

// full reports whether a sender has to wait.
func (c *conn) full() bool {
	return c.state == connUp && (c.number-c.acked >= windowFrames || c.bytes-c.ackedB >= windowBytes)
}

// await waits, without the lock, until something is acknowledged.
func (c *conn) await(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stamp adds what has arrived here.
func (c *conn) stamp(f *frame) {
	f.ack, f.ackBytes = c.ackable()
	c.ackSent.Store(f.ack)
	c.ackBytes.Store(f.ackBytes)
}

// control sends a frame about the connection itself. That it may be lost is
// part of the plan.
func (c *conn) control(k kind, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Not c.number: what gathers here is not missing there.
	f := frame{kind: k, conn: c.id, node: c.s.self, number: c.out.sent, text: text}
	c.stamp(&f)
	_ = c.s.t.Send(c.node, appendFrame(nil, &f))
}

// arrived takes note of what the other one has, and sends what waited for that.
func (c *conn) arrived(ack, ackBytes uint64) {
	if ack <= c.known.Load() {
		return // as usual within a batch
	}
	c.mu.Lock()
	if ack <= c.acked || ack > c.out.sent || ackBytes > c.out.sentBytes {
		c.mu.Unlock()
		return
	}
	c.acked, c.ackedB = ack, ackBytes
	c.known.Store(ack)
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	var err error
	if c.state != connBroken {
		err = c.pump()
	}
	c.mu.Unlock()
	if err != nil {
		c.s.breakConn(c, ConnectionClosed, false)
	}
}

// expect begins a call; its answer comes through the channel.
func (c *conn) expect(ref uint64) (*pending, error) {
	p := &pending{done: make(chan answer, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connBroken {
		return nil, c.err
	}
	c.calls[ref] = p
	return p, nil
}

// answer ends a call.
func (c *conn) answer(ref uint64, a answer) {
	c.mu.Lock()
	p := c.calls[ref]
	delete(c.calls, ref)
	c.mu.Unlock()
	if p == nil {
		return
	}
	if a.pid != 0 && p.spawned != nil {
		p.spawned(a.pid)
	}
	p.done <- a
}

// forget reports whether the call was still open.
func (c *conn) forget(ref uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, open := c.calls[ref]
	delete(c.calls, ref)
	return open
}

// fail ends the connection itself and all its calls, and reports whether it was
// not broken before.
func (c *conn) fail(err error) bool {
	c.mu.Lock()
	if c.state == connBroken {
		c.mu.Unlock()
		return false
	}
	if c.state == connDialing {
		close(c.ready)
	}
	c.state, c.err = connBroken, err
	calls := c.calls
	c.calls = nil
	if c.out.timer != nil {
		c.out.timer.Stop()
	}
	c.out = outbound{sent: c.out.sent, sentBytes: c.out.sentBytes}
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	c.mu.Unlock()
	for _, p := range calls {
		p.done <- answer{err: err}
	}
	return true
}

// connect returns a connection to n, and makes one if there is none.
func (s *System) connect(ctx context.Context, n node.Name) (*conn, error) {
	if n == s.self || n == "" {
		return s.local, nil
	}
	s.mu.RLock()
	p := s.peers[n]
	if p != nil && p.conn != nil && !s.closed {
		c := p.conn
		s.mu.RUnlock()
		return c.wait(ctx)
	}
	s.mu.RUnlock()
	c, err := s.dialing(n)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

func (s *System) dialing(n node.Name) (*conn, error) {
	if _, err := node.Parse(string(n)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.peer(n); {
	case s.closed:
		return nil, ErrClosed
	case p.conn != nil:
		return p.conn, nil
	case !s.mayTalk(n):
		s.disallowed("with", n)
		return nil, fmt.Errorf("%w: %s", ErrNotAllowed, n)
	default:
		c := newConn(s, n, newID())
		c.id = c.hello
		p.conn, s.conns[c.id] = c, c
		hello := frame{kind: kindHello, conn: c.hello, node: s.self, life: s.life, flags: s.flags(!p.beating)}
		s.work.Go(func() { s.dial(c, &hello) })
		return c, nil
	}
}

func (c *conn) wait(ctx context.Context) (*conn, error) {
	select {
	case <-c.ready:
	default:
		select {
		case <-c.ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s: %w", ErrNoConnection, c.node, context.Cause(ctx))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connBroken {
		return nil, c.err
	}
	return c, nil
}

// dial says hello until somebody answers.
func (s *System) dial(c *conn, hello *frame) {
	ctx, cancel := context.WithTimeout(s.life0, dialMax)
	defer cancel()
	for {
		err := s.t.Send(c.node, appendFrame(nil, hello))
		if err == nil && s.t.Absent(ctx, c.node) {
			err = fmt.Errorf("%w: %s is not there", ErrNoConnection, c.node)
		}
		if err != nil {
			s.breakConnFor(c, ConnectionClosed, false, fmt.Errorf("%w: %w", ErrNoConnection, err))
			return
		}
		timer := time.NewTimer(dialEvery)
		select {
		case <-c.ready:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			s.breakConnFor(c, ConnectionClosed, false, fmt.Errorf("%w: %s does not answer", ErrNoConnection, c.node))
			return
		case <-timer.C:
		}
	}
}

func (s *System) flags(ticks bool) flags {
	var f flags
	if s.pace.batch > 0 {
		f |= flagBatches
	}
	if s.hidden {
		f |= flagHidden
	}
	if ticks {
		f |= flagTicks
	}
	return f
}
