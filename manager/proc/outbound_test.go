package proc

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// tapped counts what a system gives its transport.
type tapped struct {
	*port
	frames, batches, largest atomic.Int64
}

func (t *tapped) Send(to node.Name, data []byte) error {
	if isBatch(data) {
		t.batches.Add(1)
	} else {
		t.frames.Add(1)
	}
	t.largest.Store(max(t.largest.Load(), int64(len(data))))
	return t.port.Send(to, data)
}

// tap lets a test count what goes out.
func tap(o *Options) *tapped {
	t := &tapped{port: o.Transport.(*port)}
	o.Transport = t
	return t
}

// sum takes numbers, which have to come in order, and answers calls with how
// many.
func sum(t *testing.T) func(ctx context.Context, self *Self) error {
	return func(ctx context.Context, self *Self) error {
		got := 0
		for {
			m, err := self.Receive(ctx)
			if err != nil {
				return nil
			}
			switch m := m.(type) {
			case Msg:
				if n := int(binary.BigEndian.Uint32(m.Data)); n != got {
					t.Errorf("message %d comes as number %d", n, got)
				}
				got++
			case *Request:
				m.Reply(got)
			}
		}
	}
}

func numbered(n, size int) Raw {
	return binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(n))[:size]
}

// TestBatches: what is said faster than it is acknowledged goes in few large
// messages, in order, and none is larger than the server takes; a single message
// goes by itself at once.
func TestBatches(t *testing.T) {
	for _, size := range []int{4, 100, 5000, 60_000} {
		inBubble(t, func(t *testing.T, f *fabric) {
			var out *tapped
			a := f.start(n1, func(o *Options) {
				o.Transport.(*port).max = 1 << 16
				out = tap(o)
			})
			b := f.start(n2)
			pid := spawned(t, b, "", sum(t))
			f.setFaults(faults{delay: time.Microsecond})
			ctx := t.Context()
			if err := a.Connect(ctx, n2); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond) // what new connections have to say is said
			alone := out.frames.Load()
			if err := a.Send(ctx, pid, numbered(0, size)); err != nil {
				t.Fatal(err)
			}
			if out.frames.Load() != alone+1 || out.batches.Load() != 0 {
				t.Errorf("%d bytes: the first message did not go at once", size)
			}
			const n = 2000
			for i := 1; i < n; i++ {
				if err := a.Send(ctx, pid, numbered(i, size)); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := Call[int](ctx, a, pid, nil); err != nil || got != n {
				t.Errorf("%d bytes: %d of %d have arrived: %v", size, got, n, err)
			}
			if size < 1000 && (out.batches.Load() == 0 || out.batches.Load()+out.frames.Load() > n/4) {
				t.Errorf("%d bytes: %d batches and %d frames for %d messages", size, out.batches.Load(), out.frames.Load(), n)
			}
			if out.largest.Load() > 1<<16 {
				t.Errorf("%d bytes: a message of %d bytes", size, out.largest.Load())
			}
		})
	}
}

// TestOldNodesGetNoBatches: a node that does not read batches is sent none, and
// sends none, whoever connects.
func TestOldNodesGetNoBatches(t *testing.T) {
	for _, first := range []node.Name{n1, n2} {
		inBubble(t, func(t *testing.T, f *fabric) {
			var out *tapped
			systems := map[node.Name]*System{n1: f.start(n1, func(o *Options) { out = tap(o) }), n2: f.start(n2, f.paced(pace{}))}
			pid := spawned(t, systems[n2], "", sum(t))
			ctx := t.Context()
			if err := systems[first].Connect(ctx, map[node.Name]node.Name{n1: n2, n2: n1}[first]); err != nil {
				t.Fatal(err)
			}
			const n = 5000
			for i := range n {
				if err := systems[n1].Send(ctx, pid, numbered(i, 100)); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := Call[int](ctx, systems[n1], pid, nil); err != nil || got != n {
				t.Errorf("%d of %d have arrived: %v", got, n, err)
			}
			if out.batches.Load() > 0 {
				t.Errorf("%d batches", out.batches.Load())
			}
		})
	}
}

// TestNetworkStaysFree: however much is said to a node that acknowledges
// nothing, the servers hold a bounded part of it, and the sender waits.
func TestNetworkStaysFree(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		var out *tapped
		a := f.start(n1, func(o *Options) { out = tap(o); o.TickTime = time.Hour })
		pid := spawned(t, f.start(n2, func(o *Options) { o.TickTime = time.Hour }), "", sleeper)
		if err := a.Connect(t.Context(), n2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.cut(n1, n2, true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		sent := 0
		for ; a.Send(ctx, pid, Raw(make([]byte, 1000))) == nil; sent++ {
		}
		if at := windowBytes / 1100; sent < at || sent > windowFrames {
			t.Errorf("the sender waits after %d messages, expected %d to %d", sent, at, windowFrames)
		}
		if got := int(out.batches.Load()) * defaultPace.batch; got > int(defaultPace.network)+2*defaultPace.batch {
			t.Errorf("%d batches are on their way, %d bytes", out.batches.Load(), got)
		}
	})
}

// TestReaderIsWaitedFor: messages that come faster than they are read are not
// dropped as long as they are read; a process that does not read holds up
// nobody.
func TestReaderIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		slow := sum(t)
		pid := spawned(t, b, "", func(ctx context.Context, self *Self) error {
			time.Sleep(20 * time.Millisecond) // busy with something else
			return slow(ctx, self)
		})
		deaf := spawned(t, b, "", sleeper)
		ctx := t.Context()
		const n = 60_000
		begun := time.Now()
		for i := range n {
			if err := a.Send(ctx, pid, numbered(i, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Call[int](ctx, a, pid, nil); err != nil || got != n {
			t.Errorf("%d of %d have arrived: %v", got, n, err)
		}
		for i := range n {
			if err := a.Send(ctx, deaf, numbered(i, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Call[int](ctx, a, pid, nil); err != nil || got != n {
			t.Errorf("then %d: %v", got, err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if d := b.Stats().Dropped; d < n-mailboxMessages-100 {
			t.Errorf("%d were dropped", d)
		}
	})
}

// TestLastWords: what was sent before a connection is ended arrives, also what
// had gathered.
func TestLastWords(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		slow := pace{batch: 32 << 10, network: 512 << 10, frames: 4096, gather: time.Hour, ackAt: 1000, ackSize: 1 << 20}
		a, b := f.start(n1, f.paced(slow)), f.start(n2, f.paced(slow))
		pid := spawned(t, b, "", sum(t))
		for i := range 500 {
			if err := a.Send(t.Context(), pid, numbered(i, 100)); err != nil {
				t.Fatal(err)
			}
		}
		a.Disconnect(n2)
		time.Sleep(time.Second)
		if got, err := Call[int](t.Context(), b, pid, nil); err != nil || got != 500 {
			t.Errorf("%d of 500 have arrived: %v", got, err)
		}
	})
}

func sampleBatch(conn uint64, frames ...frame) []byte {
	b := binary.BigEndian.AppendUint64([]byte{version, byte(kindBatch)}, conn)
	for _, f := range frames {
		one := appendFrame(nil, &f)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(one))), one...)
	}
	return b
}

// FuzzBatch: no bytes are a panic, on a connection that is there, and nothing
// arrives that was not in them.
func FuzzBatch(f *testing.F) {
	ok := frame{kind: kindSend, conn: 1, number: 1, to: 1, payload: Payload{Codec: CodecRaw, Data: []byte("x")}}
	for _, b := range [][]byte{
		sampleBatch(1), sampleBatch(1, ok, ok), sampleBatch(1, frame{kind: kindProbe, conn: 1, node: n1}),
		sampleBatch(1, frame{kind: kindBatch, conn: 1, number: 1}), append(sampleBatch(1, ok), 0, 0, 0, 9, 1),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := New(Options{Node: n1, Life: "life", Transport: nowhere{}})
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(s, n2, 0)
		c.id, c.life, c.batch = 1, "other", true
		s.conns[c.id], s.peer(n2).conn = c, c
		c.open(connUp)
		s.Receive(slices.Concat(sampleBatch(1), b))
		s.Receive(b)
		if in := c.in.Load(); in > uint64(2*len(b)) {
			t.Errorf("%d frames have arrived in %d bytes", in, len(b))
		}
		s.close()
	})
}

type nowhere struct{}

func (nowhere) Send(node.Name, []byte) error           { return nil }
func (nowhere) Absent(context.Context, node.Name) bool { return true }
func (nowhere) MaxFrame() int                          { return 1 << 20 }

// TestBrokenBatch: a batch that can't be read ends its connection, and so do
// frames in it that belong to no or another connection.
func TestBrokenBatch(t *testing.T) {
	ok := frame{kind: kindSend, conn: 1, number: 1, to: 1}
	for name, b := range map[string][]byte{
		"another connection": sampleBatch(1, ok, frame{kind: kindSend, conn: 2, number: 2}),
		"not numbered":       sampleBatch(1, ok, frame{kind: kindProbe, conn: 1, node: n2}),
		"batch in batch":     sampleBatch(1, ok, frame{kind: kindBatch, conn: 1, number: 2}),
		"cut off":            append(sampleBatch(1, ok), 0, 0, 0, 200, 1),
		"a number missing":   sampleBatch(1, ok, frame{kind: kindSend, conn: 1, number: 3}),
	} {
		s, err := New(Options{Node: n1, Life: "life", Transport: nowhere{}})
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(s, n2, 0)
		c.id, c.life, c.batch = 1, "other", true
		s.conns[c.id], s.peer(n2).conn = c, c
		c.open(connUp)
		s.Receive(b)
		if !c.isBroken() || c.in.Load() != 1 {
			t.Errorf("%s: broken: %t, arrived: %d", name, c.isBroken(), c.in.Load())
		}
		s.close()
	}
}

// pipe carries frames to one system, in order, on a goroutine of its own.
type pipe struct {
	to chan []byte
}

func (p *pipe) Send(_ node.Name, b []byte) error {
	p.to <- slices.Clone(b)
	return nil
}
func (*pipe) Absent(context.Context, node.Name) bool { return false }
func (*pipe) MaxFrame() int                          { return 1 << 20 }

// BenchmarkSend is a one-way message from one process to another, both ends
// together: what it costs beside NATS.
func BenchmarkSend(b *testing.B) { benchmarkSend(b, defaultPace) }

// BenchmarkSendAlone is the same to a node that reads no batches.
func BenchmarkSendAlone(b *testing.B) { benchmarkSend(b, pace{}) }

func benchmarkSend(b *testing.B, p pace) {
	ctx, cancel := context.WithCancel(b.Context())
	toB, toA := &pipe{make(chan []byte, 1<<15)}, &pipe{make(chan []byte, 1<<15)}
	var running sync.WaitGroup
	system := func(n node.Name, out, in *pipe) *System {
		s, err := New(Options{Node: n, Life: "life", Transport: out, pace: &p, Mailbox: Mailbox{Messages: 1 << 20, Bytes: 1 << 30}})
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { s.Run(ctx) })
		running.Go(func() {
			for {
				select {
				case f := <-in.to:
					s.Receive(f)
				case <-ctx.Done():
					return
				}
			}
		})
		return s
	}
	from, to := system(n1, toB, toA), system(n2, toA, toB)
	pid, err := to.Go(func(ctx context.Context, self *Self) error {
		for {
			m, err := self.Receive(ctx)
			if err != nil {
				return nil
			}
			if r, ok := m.(*Request); ok {
				r.Reply(nil)
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	var dest Dest = pid
	var message any = Raw(make([]byte, 100))
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Send(ctx, dest, message); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := CallPayload(ctx, from, pid, nil); err != nil { // all have arrived
		b.Fatal(err)
	}
	cancel()
	running.Wait()
}
