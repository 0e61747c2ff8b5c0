package proc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// fabric is a transport between systems in one process, with the faults that
// core NATS has: it loses, repeats, delays and, around reconnects, reorders.
type fabric struct {
	t *testing.T

	mu     sync.Mutex
	rng    *rand.Rand
	faults faults
	ports  map[node.Name]*port
	cuts   map[[2]node.Name]bool
	lines  map[[2]node.Name]*line
	lives  int
}

// faults are probabilities in a thousand.
type faults struct {
	lose, repeat, reorder int
	delay                 time.Duration // at most
}

// port is one system at the fabric.
type port struct {
	f    *fabric
	name node.Name
	s    *System
	stop context.CancelFunc
	done chan struct{}
	in   sync.Mutex // Receive is called for one frame at a time
	max  int
}

// line is one direction between two nodes; it outlives the systems at its ends.
type line struct {
	mu    sync.Mutex
	queue []parcel
	wake  chan struct{}
}

type parcel struct {
	at   time.Time
	data []byte
}

func newFabric(t *testing.T) *fabric {
	return &fabric{
		t: t, rng: rand.New(rand.NewPCG(1, 2)), ports: map[node.Name]*port{},
		cuts: map[[2]node.Name]bool{}, lines: map[[2]node.Name]*line{},
	}
}

// start runs a system. Systems in a bubble end before the bubble does.
func (f *fabric) start(name node.Name, change ...func(*Options)) *System {
	f.t.Helper()
	p := &port{f: f, name: name, done: make(chan struct{}), max: 1 << 20}
	f.mu.Lock()
	f.lives++
	o := Options{Node: name, Life: Life(fmt.Sprintf("life-%d", f.lives)), Transport: p, Logger: slog.New(slog.DiscardHandler)}
	f.mu.Unlock()
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	p.s = s
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	f.mu.Lock()
	f.ports[name] = p
	f.mu.Unlock()
	go func() {
		defer close(p.done)
		s.Run(ctx)
	}()
	return s
}

// paced lets a system gather in its own way; the zero pace reads no batches.
func (f *fabric) paced(p pace) func(*Options) { return func(o *Options) { o.pace = &p } }

// kill ends a system without a word to anybody.
func (f *fabric) kill(name node.Name) {
	f.mu.Lock()
	p := f.ports[name]
	delete(f.ports, name)
	f.mu.Unlock()
	if p != nil {
		p.stop()
		<-p.done
	}
}

func (f *fabric) close() {
	for _, n := range []node.Name{"n1@h", "n2@h", "n3@h", "n4@h"} {
		f.kill(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lines {
		close(l.wake)
	}
	f.lines = map[[2]node.Name]*line{}
}

func (f *fabric) cut(a, b node.Name, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts[[2]node.Name{a, b}], f.cuts[[2]node.Name{b, a}] = cut, cut
}

func (f *fabric) setFaults(x faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = x
}

func (p *port) MaxFrame() int { return p.max }

func (p *port) Absent(_ context.Context, n node.Name) bool {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return p.f.ports[n] == nil && !p.f.cuts[[2]node.Name{p.name, n}]
}

func (p *port) Send(to node.Name, data []byte) error {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ports[p.name] != p {
		return nil // dead: what it says is heard by nobody
	}
	chance := func(perMille int) bool { return f.rng.IntN(1000) < perMille }
	if chance(f.faults.lose) || f.cuts[[2]node.Name{p.name, to}] {
		return nil
	}
	l := f.line(p.name, to)
	copies := 1
	if chance(f.faults.repeat) {
		copies = 2 + f.rng.IntN(2)
	}
	for range copies {
		at := time.Now()
		if f.faults.delay > 0 {
			at = at.Add(time.Duration(f.rng.Int64N(int64(f.faults.delay))))
		}
		l.add(parcel{at, slices.Clone(data)}, chance(f.faults.reorder), f.rng)
	}
	return nil
}

func (f *fabric) line(from, to node.Name) *line {
	key := [2]node.Name{from, to}
	l := f.lines[key]
	if l == nil {
		l = &line{wake: make(chan struct{}, 1)}
		f.lines[key] = l
		go l.run(f, to)
	}
	return l
}

func (l *line) add(p parcel, early bool, rng *rand.Rand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := len(l.queue)
	if early && at > 0 {
		at -= 1 + rng.IntN(min(at, 4))
	}
	l.queue = slices.Insert(l.queue, at, p)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *line) run(f *fabric, to node.Name) {
	for range l.wake {
		for {
			l.mu.Lock()
			if len(l.queue) == 0 {
				l.mu.Unlock()
				break
			}
			p := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			time.Sleep(time.Until(p.at))
			f.mu.Lock()
			dest := f.ports[to]
			f.mu.Unlock()
			if dest != nil {
				dest.in.Lock()
				dest.s.Receive(p.data)
				dest.in.Unlock()
			}
		}
	}
}

// beats lets every system hear the heartbeats of all others, until stop.
func (f *fabric) beats(hidden ...node.Name) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pauseFor(ctx, 250*time.Millisecond) {
			f.mu.Lock()
			ports := values(f.ports)
			cuts := map[[2]node.Name]bool{}
			maps.Copy(cuts, f.cuts)
			f.mu.Unlock()
			for _, from := range ports {
				for _, to := range ports {
					if from != to && !cuts[[2]node.Name{from.name, to.name}] {
						to.s.Heard(Beat{Node: from.name, Life: from.s.life, Hidden: slices.Contains(hidden, from.name)})
					}
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// inBubble runs a test on a clock of its own, with a fabric.
func inBubble(t *testing.T, test func(t *testing.T, f *fabric)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFabric(t)
		defer f.close()
		test(t, f)
	})
}

// hand runs f as a process and waits for it: a test's own hands.
func hand(t *testing.T, s *System, f func(ctx context.Context, self *Self)) {
	t.Helper()
	done := make(chan struct{})
	if _, err := s.Go(func(ctx context.Context, self *Self) error {
		defer close(done)
		f(ctx, self)
		return nil
	}); err != nil {
		t.Error(err)
		return
	}
	<-done
}

// start runs f as a process, with a name.
func spawned(t *testing.T, s *System, name string, f func(ctx context.Context, self *Self) error) PID {
	t.Helper()
	ready := make(chan error, 1)
	pid, err := s.Go(func(ctx context.Context, self *Self) error {
		var err error
		if name != "" {
			err = self.Register(name)
		}
		if ready <- err; err != nil {
			return err
		}
		return f(ctx, self)
	})
	if err == nil {
		err = <-ready
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func sleeper(ctx context.Context, _ *Self) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// next is the next message, which has to be of type M.
func next[M Message](t *testing.T, ctx context.Context, self *Self) M {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := self.Receive(ctx)
	if err != nil {
		var want M
		t.Errorf("no message, expected %T: %v", want, err)
		return want
	}
	typed, ok := m.(M)
	if !ok {
		t.Errorf("got %T %+v, expected %T", m, m, typed)
	}
	return typed
}

// nothing demands that no message comes for a while.
func nothing(t *testing.T, ctx context.Context, self *Self) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if m, err := self.Receive(ctx); err == nil {
		t.Errorf("got %T %+v, expected nothing", m, m)
	}
}

func slogTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
