package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy"
)

// What an app of a test did, as its journal has it.
const (
	started   = "start"
	confirmed = "confirmed"
	stopped   = "stop"
)

// journal is what the apps of all nodes of a test did, in order.
type journal struct {
	mu      sync.Mutex
	entries []entry
	alive   map[instanceOf]int
	most    int // instances of one app at once
}

type instanceOf struct {
	app  policy.App
	node string
}

type entry struct {
	at   time.Time
	node string
	what string
	s    manager.Start
}

func (j *journal) add(e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.at = time.Now()
	j.entries = append(j.entries, e)
	if j.alive == nil {
		j.alive = map[instanceOf]int{}
	}
	switch of := (instanceOf{e.s.App, e.node}); e.what {
	case started:
		j.alive[of]++
	case stopped:
		j.alive[of]--
	}
	n := 0
	for of, k := range j.alive {
		if of.app == e.s.App {
			n += k
		}
	}
	j.most = max(j.most, n)
}

// running lists where instances are alive, those of some apps or of all.
func (j *journal) running(apps ...policy.App) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var on []string
	for of, k := range j.alive {
		if len(apps) == 0 || slices.Contains(apps, of.app) {
			on = append(on, slices.Repeat([]string{of.node}, k)...)
		}
	}
	slices.Sort(on)
	return on
}

// of is what happened to one app.
func (j *journal) of(app policy.App) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.entries), func(e entry) bool { return e.s.App != app })
}

func (j *journal) last() entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return entry{}
	}
	return j.entries[len(j.entries)-1]
}

// testApp keeps the journal.
type testApp struct {
	j    *journal
	node string
	fail error         // of the start
	deaf chan struct{} // if set, the app ignores its context and ends with this
	s    manager.Start
}

func (a *testApp) Start(_ context.Context, s manager.Start) error {
	a.s = s
	if a.fail != nil {
		return a.fail
	}
	a.j.add(entry{node: a.node, what: started, s: s})
	return nil
}

func (a *testApp) Run(ctx context.Context) error {
	if a.fail != nil {
		return nil
	}
	if a.deaf != nil {
		<-a.deaf
	} else {
		<-ctx.Done()
	}
	a.j.add(entry{node: a.node, what: stopped, s: a.s})
	return nil
}

func (a *testApp) Confirmed(context.Context) {
	a.j.add(entry{node: a.node, what: confirmed, s: a.s})
}

// cluster is some nodes inside this process, each with its own server if it is
// a voter.
type cluster struct {
	t      *testing.T
	dir    string
	j      *journal
	cookie manager.Cookie
	nodes  map[string]*running
	log    *testLog
}

// testLog is the log of a test until it ends: what belongs to NATS may say a last
// word after its node has ended, and testing panics at that.
type testLog struct {
	mu sync.Mutex
	w  io.Writer // nil: ended
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(line), nil
	}
	return l.w.Write(line)
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = nil
}

type running struct {
	n    *manager.Node
	stop context.CancelFunc
	exit chan manager.Exit
}

// newCluster is that of the example.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return leasedCluster(t, 3*time.Second)
}

// leasedCluster is newCluster with a lease of its own.
func leasedCluster(t *testing.T, lease time.Duration) *cluster {
	t.Helper()
	return configuredCluster(t, fmt.Sprintf(`lease: %v
sync: {mandatory: [node1@lxw, node2@lxw, node3@lxw], timeout: 20s}
distributed:
  - {app: myapp, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
`, lease))
}

// configuredCluster has free ports for node1, node2 and node3.
func configuredCluster(t *testing.T, yaml string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), j: &journal{}, cookie: cookie(t, "integration-test-cookie-0123456789"), nodes: map[string]*running{}, log: &testLog{w: t.Output()}}
	p := port.Free(t, 6)
	yaml += "hosts: {lxw: 127.0.0.1}\naddresses:\n"
	for i := range 3 {
		yaml += fmt.Sprintf("  node%d@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", i+1, p[2*i], p[2*i+1])
	}
	if err := os.WriteFile(filepath.Join(c.dir, "cluster.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, r := range c.nodes {
			r.stop()
		}
		for name := range c.nodes {
			c.halt(name)
		}
		c.log.end()
	})
	return c
}

func cookie(t *testing.T, text string) manager.Cookie {
	t.Helper()
	c, err := cred.NewCookie(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) config() *manager.Config {
	c.t.Helper()
	cfg, err := manager.LoadConfig(filepath.Join(c.dir, "cluster.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

// boot starts a node; change may alter its options.
func (c *cluster) boot(name string, change ...func(*manager.Options)) *manager.Node {
	c.t.Helper()
	r := c.begin(name, change...)
	c.nodes[name] = r
	return r.n
}

// begin is boot without the end: whoever begins a node waits for it.
func (c *cluster) begin(name string, change ...func(*manager.Options)) *running {
	c.t.Helper()
	o := manager.Options{
		Shared: true,
		Name:   name + "@lxw", Config: c.config(), Cookie: c.cookie, DataDir: filepath.Join(c.dir, name),
		Apps:   map[string]func() manager.Application{"myapp": func() manager.Application { return &testApp{j: c.j, node: name} }},
		Logger: slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	for _, f := range change {
		f(&o)
	}
	n, err := manager.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{n: n, stop: stop, exit: make(chan manager.Exit, 1)}
	go func() { r.exit <- n.Run(ctx) }()
	return r
}

func (c *cluster) halt(name string) manager.Exit {
	r := c.nodes[name]
	if r == nil {
		return manager.Exit{}
	}
	delete(c.nodes, name)
	r.stop()
	return <-r.exit
}

// ends waits for a node that ends by itself.
func (c *cluster) ends(r *running) manager.Exit {
	c.t.Helper()
	defer r.stop()
	select {
	case e := <-r.exit:
		return e
	case <-time.After(30 * time.Second):
		r.stop()
		c.t.Fatalf("%s has not ended within 30 s but with %+v when it was told to", r.n.Name(), <-r.exit)
		return manager.Exit{}
	}
}

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	c.t.Fatalf("not within 30 s: %s (running: %v)", what, c.j.running())
}

// startOn starts an app on some nodes at once and waits until all calls have
// returned.
func (c *cluster) startOn(app policy.App, names ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, name := range names {
		n := c.nodes[name].n
		wg.Go(func() {
			<-n.Connected()
			if err := n.StartApp(ctx, app, ""); err != nil {
				c.t.Errorf("start %s on %s: %v", app, name, err)
			}
		})
	}
	wg.Wait()
}
