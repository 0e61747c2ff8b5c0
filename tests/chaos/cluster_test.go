//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// cluster is one node a host, with everything that looks at it.
type cluster struct {
	t     testing.TB
	dir   string
	net   *network
	rec   *recorder
	obs   *observer
	lag   *lag
	nodes []*member // 1 and up, as the hosts
	apps  []string

	closing sync.Once
}

// member is a node of the cluster: one process of regent after another.
type member struct {
	host    *host
	name    string
	program string
	config  string
	env     []string
	data    string
	log     string
	boots   int
	away    bool // on purpose
	born    trace.Instant

	mu  sync.Mutex // of what a soak does at once
	cmd *exec.Cmd
	end chan struct{}
}

// plan is what a cluster is made of. The zero value is three nodes with one
// exclusive app that may run on each, none better than the others.
type plan struct {
	nodes  int
	wired  bool
	yaml   func(app func(keys string) string) string // configuration; app is the entry of one
	apps   []string
	lease  map[int]string          // of single nodes, where they differ
	adjust func(*member)           // before its directories are used
	before func(*cluster, *member) // once, before its first boot
}

const equals = "distributed: [{app: one, timeout: 0s, nodes: [[node1@h1, node2@h2, node3@h3]]}]\n"

// ranked is the app with a first node.
const ranked = "distributed: [{app: one, timeout: 0s, nodes: [node1@h1, node2@h2, node3@h3]}]\n"

func (p *plan) fill() {
	if p.nodes == 0 {
		p.nodes = 3
	}
	if p.apps == nil {
		p.apps = []string{"one"}
	}
	if p.yaml == nil {
		p.yaml = func(app func(string) string) string { return equals + "apps: {one: " + app("") + "}\n" }
	}
}

// simply is a configuration whose only app is "one".
func simply(text string) func(func(string) string) string {
	return func(app func(string) string) string { return text + "apps: {one: " + app("") + "}\n" }
}

func nodeName(i int) string { return fmt.Sprintf("node%d@h%d", i, i) }

// newCluster boots all nodes and waits until they are at rest.
func newCluster(t testing.TB, p plan) *cluster {
	t.Helper()
	p.fill()
	dir, err := os.MkdirTemp(built.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, apps: p.apps, nodes: []*member{nil}}
	open.mu.Lock()
	open.clusters[c] = true
	open.mu.Unlock()
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range c.nodes[1:] {
				t.Logf("log of %s:\n%s", m.name, tail(m.log, 40))
			}
		}
		c.close()
	})
	c.lag = newLag(dir)
	if c.rec, err = newRecorder(dir); err != nil {
		t.Fatal(err)
	}
	if c.net, err = newNetwork(dir, p.nodes, p.wired); err != nil {
		t.Fatal(err)
	}
	c.write("cookie", cookieText)
	for i := 1; i <= p.nodes; i++ {
		c.settle(i, &p)
	}
	for i := 1; i <= p.nodes; i++ {
		if p.before != nil {
			p.before(c, c.nodes[i])
		}
		c.boot(i)
	}
	c.obs = newObserver(t, c.net.hosts[0], c.urls())
	c.calm()
	return c
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// settle makes the home of a node.
func (c *cluster) settle(i int, p *plan) {
	c.t.Helper()
	m := &member{host: c.net.hosts[i], name: nodeName(i), program: program(), log: filepath.Join(c.dir, fmt.Sprintf("node%d.log", i))}
	home := filepath.Join(c.dir, m.host.name)
	m.data = filepath.Join(home, "data")
	for _, d := range []string{home, filepath.Join(home, "run")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	text := p.yaml(func(keys string) string {
		return fmt.Sprintf("{command: [%q, app, %q], stop: {timeout: 1s}%s}", stagehand(), c.rec.socket, keys)
	})
	var hosts []string
	for _, h := range c.net.hosts[1:] {
		hosts = append(hosts, h.name+": "+h.ip)
	}
	text += "hosts: {" + strings.Join(hosts, ", ") + "}\n"
	if lease := p.lease[i]; lease != "" {
		text += "lease: " + lease + "\n"
	}
	m.config = c.write(fmt.Sprintf("node%d.yaml", i), text)
	m.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_RUNTIME_DIR=" + filepath.Join(home, "run")}
	if p.adjust != nil {
		p.adjust(m)
	}
	c.nodes = append(c.nodes, m)
}

// boot starts a node.
func (c *cluster) boot(i int) {
	c.t.Helper()
	if err := c.begin(c.nodes[i]); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) arguments(m *member) []string {
	args := []string{"node", "--sname", m.name, "--config", m.config, "--cookie-file", filepath.Join(c.dir, "cookie"), "--data", m.data}
	for _, app := range c.apps {
		args = append(args, "--start", app)
	}
	return args
}

func (c *cluster) begin(m *member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd, end := exec.Command(m.program, c.arguments(m)...), make(chan struct{})
	cmd.Env, cmd.Dir = m.env, c.dir
	cmd.Stdout, cmd.Stderr = log, log
	m.born = trace.Now()
	if err := m.host.start(cmd); err != nil {
		return fmt.Errorf("boot %s: %w", m.name, err)
	}
	m.boots++
	m.away = false
	m.cmd, m.end = cmd, end
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(end)
	}()
	return nil
}

// pid is the agent's process; 0 before the first.
func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return 0
	}
	return m.cmd.Process.Pid
}

func (m *member) running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.end:
		return false
	default:
		return true
	}
}

// wait waits for the end of the agent.
func (m *member) wait(limit time.Duration) error {
	select {
	case <-m.end:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s has not ended within %v", m.name, limit)
	}
}

// warden is the node's second process; 0 if there is none.
func (m *member) warden() int {
	agent := m.pid()
	if agent == 0 {
		return 0
	}
	for _, pid := range m.host.pids() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.HasPrefix(line, []byte("regent-warden\x00")) && parent(pid) == agent {
			return pid
		}
	}
	return 0
}

func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(after)
	if len(f) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(f[1])
	return ppid
}

func (c *cluster) urls() (urls []string) {
	for _, m := range c.nodes[1:min(len(c.nodes), 4)] {
		urls = append(urls, "tls://"+m.host.ip+":4222")
	}
	return urls
}

// urlsFrom are those of the servers, a host's own first.
func (c *cluster) urlsFrom(i int) []string {
	urls := c.urls()
	if i <= len(urls) {
		urls[0], urls[i-1] = urls[i-1], urls[0]
	}
	return urls
}

// status asks the nodes one after the other.
func (c *cluster) status() (status.Document, error) {
	err := errors.New("no node runs")
	for _, m := range c.nodes[1:] {
		if !m.running() {
			continue
		}
		var d status.Document
		if d, err = c.obs.status(context.Background(), m.name); err == nil {
			return d, nil
		}
	}
	return status.Document{}, err
}

// complete reports whether each node that runs says that its copy of the records
// lacks nothing: a fault before that would be the loss of one voter more.
func (c *cluster) complete() bool {
	for _, m := range c.nodes[1:] {
		if !m.running() {
			continue
		}
		if d, err := c.obs.status(context.Background(), m.name); err != nil || d.Quorum.Behind != "" {
			return false
		}
	}
	return true
}

// calm waits until all nodes that run are up, with complete copies of the
// records, and each app runs once.
func (c *cluster) calm() {
	c.t.Helper()
	var seen status.Document
	var err error
	defer func() {
		if c.t.Failed() {
			c.t.Logf("status: %v %+v", err, seen)
		}
	}()
	until(c.t, "all nodes are up and each app runs once", func() bool {
		seen, err = c.status()
		if err != nil || !seen.Quorum.OK || seen.Quorum.Leader == "" {
			return false
		}
		up := 0
		for _, n := range seen.Nodes {
			if n.State == "up" && n.Session != "" {
				up++
			}
		}
		for _, m := range c.nodes[1:] {
			if m.running() {
				up--
			}
		}
		for _, app := range c.apps {
			if len(c.rec.alive(app)) != 1 {
				return false
			}
		}
		for _, a := range seen.Apps {
			if a.State != "running" {
				return false
			}
		}
		return up >= 0 && c.complete()
	})
}

// owner is where an app runs; it must run exactly once.
func (c *cluster) owner(app string) (int, *trace.Instance) {
	c.t.Helper()
	alive := c.rec.alive(app)
	if len(alive) != 1 {
		c.t.Fatalf("%s runs %d times: %v", app, len(alive), alive)
	}
	return c.index(alive[0].Node), alive[0]
}

func (c *cluster) index(name string) int {
	return slices.IndexFunc(c.nodes[1:], func(m *member) bool { return m.name == name }) + 1
}

// led makes a node's server lead the store, or any but it.
func (c *cluster) led(by int, want bool) {
	c.t.Helper()
	name, other := nodeName(by), nodeName(by%3+1)
	until(c.t, "who leads the store", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		leader, err := c.obs.store.Leader(ctx)
		switch {
		case err != nil || leader == "":
			return false
		case want && leader != name:
			_ = c.obs.store.StepDown(ctx, name)
		case !want && leader == name:
			_ = c.obs.store.StepDown(ctx, other)
		default:
			return true
		}
		return false
	})
}

// meta is the node whose server leads JetStream itself, as that server says.
func (c *cluster) meta() (i int) {
	c.t.Helper()
	nc := connect(c.t, c.obs.thread, cred.System, c.urls(), "meta")
	defer nc.Close()
	until(c.t, "who leads JetStream", func() bool {
		m, err := nc.Request("$SYS.REQ.SERVER.PING.JSZ", []byte(`{"leader_only": true}`), time.Second)
		if err != nil {
			return false
		}
		var reply struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
		}
		if json.Unmarshal(m.Data, &reply) == nil {
			i = c.index(reply.Server.Name)
		}
		return i > 0
	})
	return i
}

// send sends a signal to processes that may be gone.
func send(sig syscall.Signal, pids ...int) {
	for _, pid := range pids {
		if pid > 0 {
			_ = syscall.Kill(pid, sig)
		}
	}
}

// close ends everything, in any state.
func (c *cluster) close() {
	c.closing.Do(func() {
		if c.lag != nil {
			c.lag.close()
		}
		if c.obs != nil {
			c.obs.close()
		}
		if c.net != nil {
			c.net.close()
		}
		if c.rec != nil {
			c.rec.close()
		}
		open.mu.Lock()
		delete(open.clusters, c)
		open.mu.Unlock()
	})
}
