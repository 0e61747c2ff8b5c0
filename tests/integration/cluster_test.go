package integration

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy"
)

// journal is what the apps of all nodes of a test did, in order.
type journal struct {
	mu      sync.Mutex
	entries []entry
	alive   map[string]int
	most    int
}

type entry struct {
	at   time.Time
	node string
	what string // start or stop
	s    manager.Start
}

func (j *journal) add(e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.at = time.Now()
	j.entries = append(j.entries, e)
	if j.alive == nil {
		j.alive = map[string]int{}
	}
	if e.what == "start" {
		j.alive[e.node]++
	} else {
		j.alive[e.node]--
	}
	n := 0
	for _, k := range j.alive {
		n += k
	}
	j.most = max(j.most, n)
}

func (j *journal) running() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var on []string
	for n, k := range j.alive {
		for range k {
			on = append(on, n)
		}
	}
	return on
}

func (j *journal) last() entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return entry{}
	}
	return j.entries[len(j.entries)-1]
}

type testApp struct {
	j    *journal
	node string
	s    manager.Start
}

func (a *testApp) Start(_ context.Context, s manager.Start) error {
	a.s = s
	a.j.add(entry{node: a.node, what: "start", s: s})
	return nil
}

func (a *testApp) Run(ctx context.Context) error {
	<-ctx.Done()
	a.j.add(entry{node: a.node, what: "stop", s: a.s})
	return nil
}

// cluster is three nodes inside this process, each with its own server.
type cluster struct {
	t      *testing.T
	dir    string
	j      *journal
	cookie manager.Cookie
	nodes  map[string]*running
}

type running struct {
	n    *manager.Node
	stop context.CancelFunc
	exit chan manager.Exit
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), j: &journal{}, nodes: map[string]*running{}}
	var err error
	if c.cookie, err = cred.NewCookie("integration-test-cookie-0123456789", false); err != nil {
		t.Fatal(err)
	}
	p := freePorts(t, 6)
	addr := ""
	for i := range 3 {
		addr += fmt.Sprintf("  node%d@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", i+1, p[2*i], p[2*i+1])
	}
	conf := `sync: {mandatory: [node1@lxw, node2@lxw, node3@lxw], timeout: 20s}
distributed:
  - {app: myapp, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
hosts: {lxw: 127.0.0.1}
addresses:
` + addr
	if err := os.WriteFile(filepath.Join(c.dir, "cluster.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name := range c.nodes {
			c.halt(name)
		}
	})
	return c
}

func (c *cluster) boot(name string) *manager.Node {
	c.t.Helper()
	cfg, err := manager.LoadConfig(filepath.Join(c.dir, "cluster.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := manager.New(manager.Options{
		Name: name + "@lxw", Config: cfg, Cookie: c.cookie, DataDir: filepath.Join(c.dir, name),
		Apps:   map[string]func() manager.Application{"myapp": func() manager.Application { return &testApp{j: c.j, node: name} }},
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{n: n, stop: stop, exit: make(chan manager.Exit, 1)}
	c.nodes[name] = r
	go func() { r.exit <- n.Run(ctx) }()
	return n
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

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	c.t.Fatalf("not within 30 s: %s (running: %v)", what, c.j.running())
}

// TestThreeNodesInOneProcess is the example's life with graceful stops: start
// on node1, failover after the Timeout, takeover on return.
func TestThreeNodesInOneProcess(t *testing.T) {
	c := newCluster(t)
	begin := time.Now()
	for _, name := range []string{"node1", "node2", "node3"} {
		c.boot(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, r := range c.nodes {
		wg.Go(func() {
			<-r.n.Connected()
			if err := r.n.StartApp(ctx, "myapp", ""); err != nil {
				t.Errorf("start on %s: %v", r.n.Name(), err)
			}
		})
	}
	wg.Wait()
	t.Logf("first owner after %v", time.Since(begin))
	if e := c.j.last(); e.node != "node1" || e.s.Kind != policy.StartNormal {
		t.Fatalf("runs on %s as %s, want node1, normal", e.node, e.s.Kind)
	}
	stopped := time.Now()
	if e := c.halt("node1"); e.Code != 0 {
		t.Fatalf("node1 ended with %+v", e)
	}
	c.eventually("failover", func() bool { return len(c.j.running()) == 1 })
	if e := c.j.last(); e.node == "node1" || e.s.Kind != policy.StartFailover || e.at.Sub(stopped) < 2*time.Second {
		t.Fatalf("failover to %s as %s after %v", e.node, e.s.Kind, e.at.Sub(stopped))
	}
	n := c.boot("node1")
	<-n.Connected()
	if err := n.StartApp(ctx, "myapp", ""); err != nil {
		t.Fatal(err)
	}
	if e := c.j.last(); e.node != "node1" || e.s.Kind != policy.StartTakeover {
		t.Fatalf("after the return it runs on %s as %s", e.node, e.s.Kind)
	}
	if c.j.most != 1 {
		t.Fatalf("%d instances at once", c.j.most)
	}
	st, err := n.Status(ctx)
	if err != nil || !st.Quorum.OK || len(st.Apps) != 1 {
		t.Fatalf("status: %+v, %v", st, err)
	}
}
