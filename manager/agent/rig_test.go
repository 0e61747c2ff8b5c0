package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const myapp policy.App = "myapp"

var lease = policy.NewLease(3*time.Second, time.Second)

// rig is one or more nodes on one store and one bus in memory, in the virtual
// time of a bubble. A bubble that ends with goroutines left fails its test.
type rig struct {
	t     *testing.T
	store *kvtest.Memory
	bus   *bus
	clock *clock
	nodes map[node.Name]*rigNode
	spec  policy.Spec
	start func(manual *manual) // what a new instance of the app does at once
}

type rigNode struct {
	*Agent
	ledger *ledger
	disk   *disk
	apps   *apps
	stop   context.CancelFunc
	exit   chan Exit
}

// inBubble runs f with a rig whose nodes have ended when it returns.
func inBubble(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, store: kvtest.New(), bus: &bus{}, clock: &clock{begin: time.Now()}, nodes: map[node.Name]*rigNode{},
			spec: policy.Spec{
				App: myapp, Groups: [][]node.Name{{"n1@h"}, {"n2@h"}}, Timeout: policy.Timeout(time.Second),
				Takeover: policy.Exclusive, FullStart: true,
			},
		}
		defer func() {
			for _, n := range r.nodes {
				n.stop()
				<-n.exit
			}
		}()
		f(r)
	})
}

// boot starts a node; change may alter its options.
func (r *rig) boot(name node.Name, change ...func(*Options)) *rigNode {
	r.t.Helper()
	n := &rigNode{ledger: &ledger{}, disk: &disk{}, apps: &apps{rig: r}, exit: make(chan Exit, 1)}
	opts := Options{
		Machine: machine.Config{
			Self: name, Lease: lease, Digest: "d", NewCluster: true,
			Apps: []machine.AppConfig{{App: myapp, Spec: &r.spec, Defined: true, Type: policy.Temporary}},
		},
		Store: r.store, Bus: r.bus, Ledger: n.ledger, Disk: n.disk, Prover: noProof{}, Clock: r.clock,
		Runners: func(policy.App) (app.Runner, bool) { return n.apps, true },
		Logger:  slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
	for _, f := range change {
		f(&opts)
	}
	var err error
	if n.Agent, err = New(opts); err != nil {
		r.t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	r.bus.join(n.Agent)
	r.nodes[name] = n
	go func() { n.exit <- n.Run(ctx) }()
	return n
}

// ends waits for the end of a node that was told to, or has to.
func (r *rig) ends(n *rigNode, within time.Duration) Exit {
	r.t.Helper()
	select {
	case e := <-n.exit:
		n.exit <- e
		return e
	case <-time.After(within):
		r.t.Fatalf("%s has not ended within %v", n.Name(), within)
		return Exit{}
	}
}

// await waits for a status, woken by Changed alone.
func (n *rigNode) await(t *testing.T, what string, ok func(*machine.Status) bool) *machine.Status {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		changed := n.Changed()
		if s := n.Status(); ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("not within a minute: %s; status %+v", what, n.Status())
		}
	}
}

func (n *rigNode) runs(s *machine.Status) bool {
	return s.Apps[0].State == machine.AppRunning && s.Apps[0].Node == n.Name()
}

func (n *rigNode) startApp(t *testing.T) {
	t.Helper()
	if err := n.Call(t.Context(), machine.Command{Verb: machine.VerbStart, App: myapp}); err != nil {
		t.Fatalf("start on %s: %v", n.Name(), err)
	}
}

// clock is the bubble's time, which a test may bend.
type clock struct {
	begin time.Time
	boot  atomic.Int64 // ahead of the bubble: the host was suspended, Go's timers stood still
	wall  atomic.Int64 // ahead of the clock since boot
}

func (c *clock) Now() machine.Instant {
	return machine.Instant(time.Hour + time.Since(c.begin) + time.Duration(c.boot.Load()))
}

func (c *clock) Wall() int64 {
	return time.Now().Add(time.Duration(c.boot.Load() + c.wall.Load())).UnixMilli()
}

// bus carries heartbeats between the nodes of a rig.
type bus struct {
	mu    sync.Mutex
	nodes []*Agent
	sent  []machine.Beat
	down  bool          // publishing fails
	stuck chan struct{} // publishing waits for its end; nil: it doesn't
}

func (b *bus) join(n *Agent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, n)
}

func (b *bus) set(f func(*bus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

var errDown = errors.New("not connected")

func (b *bus) PublishBeat(beat machine.Beat) error {
	b.mu.Lock()
	stuck, down, nodes := b.stuck, b.down, slices.Clone(b.nodes)
	b.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	if down {
		return errDown
	}
	b.set(func(b *bus) { b.sent = append(b.sent, beat) })
	for _, n := range nodes {
		if n.Name() != beat.Node {
			n.Post(machine.Heard{Beat: beat})
		}
	}
	return nil
}

func (b *bus) last() machine.Beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent[len(b.sent)-1]
}

// ledger remembers lines.
type ledger struct {
	mu     sync.Mutex
	lines  []Line
	ids    map[string]bool
	down   bool // nothing is answered
	refuse int  // so many attempts fail at once
}

func (l *ledger) Append(ctx context.Context, h Line) error {
	id := h.ID()
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse > 0 {
		l.refuse--
		return errDown
	}
	if l.ids[id] {
		return fmt.Errorf("line %s twice", id)
	}
	if l.ids == nil {
		l.ids = map[string]bool{}
	}
	l.ids[id] = true
	l.lines = append(l.lines, h)
	return nil
}

func (l *ledger) types() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var types []string
	for _, h := range l.lines {
		types = append(types, h.Type)
	}
	return types
}

// disk keeps memories.
type disk struct {
	mu    sync.Mutex
	saved []machine.Memory
	at    []time.Time // of every attempt
	full  bool
}

var errFull = errors.New("no space left on device")

func (d *disk) Save(m machine.Memory) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	if d.full {
		return errFull
	}
	d.saved = append(d.saved, m)
	return nil
}

func (d *disk) set(f func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

type noProof struct{}

func (noProof) Prove(policy.SessionRecord) bool { return false }

// apps is the runner of a node: it starts apps in Go and remembers them.
type apps struct {
	rig *rig
	mu  sync.Mutex
	all []*manual
}

func (a *apps) Start(s app.Start) app.Instance {
	m := &manual{begin: time.Now(), told: s, quit: make(chan error, 1), ended: make(chan struct{})}
	if a.rig.start != nil {
		a.rig.start(m)
	}
	a.mu.Lock()
	a.all = append(a.all, m)
	a.mu.Unlock()
	g := app.Go{
		New: func() app.Application { return m }, StopTimeout: time.Second,
		Abort: func(reason string) { a.rig.t.Error(reason) },
	}
	return g.Start(s)
}

func (a *apps) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

func (a *apps) last() *manual {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[len(a.all)-1]
}

// manual is an app that ends when it is told to.
type manual struct {
	begin time.Time
	told  app.Start
	fail  error      // of the start
	quit  chan error // ends Run
	hands []byte     // over to the next
	ended chan struct{}
	cause error     // of the end of its context; valid when ended is closed
	end   time.Time // likewise
}

func (m *manual) Start(context.Context, app.Start) error { return m.fail }

func (m *manual) Run(ctx context.Context) error {
	defer close(m.ended)
	defer func() { m.end = time.Now() }()
	select {
	case err := <-m.quit:
		return err
	case <-ctx.Done():
		m.cause = context.Cause(ctx)
		return nil
	}
}

func (m *manual) Stop(context.Context) ([]byte, error) { return m.hands, nil }

// lastResort remembers when it was armed for.
type lastResort struct {
	mu sync.Mutex
	at machine.Instant
}

func (l *lastResort) Arm(at machine.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
}

func (l *lastResort) armed() machine.Instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}
