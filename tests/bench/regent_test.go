//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/status"
	nodename "github.com/seed7529eb29/regent/policy/node"
)

// cluster is three nodes that are started again when they were killed.
type cluster struct {
	*lab
	nodes  []*node
	env    []string
	stamps stampFile
	ports  []int
	store  *kv.Store
	conn   *bus.Conn
}

const cookieText = "a cookie that is only for benchmarks 123456"

// regent starts three nodes with Timeout 0; all are equals, so that the app
// stays where it went.
func (b *lab) regent(k kind) *cluster {
	b.t.Helper()
	dir := b.path(fmt.Sprintf("regent-%d", k))
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	c := &cluster{lab: b, stamps: stampFile{b.t, filepath.Join(dir, "stamps")}, ports: port.Free(b.t, 6)}
	c.env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	var text strings.Builder
	text.WriteString("distributed: [{app: bench, timeout: 0s, nodes: [[node1@lab, node2@lab, node3@lab]]}]\nhosts: {lab: 127.0.0.1}\naddresses:\n")
	for i := range 3 {
		fmt.Fprintf(&text, "  node%d@lab: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", i+1, c.ports[2*i], c.ports[2*i+1])
	}
	if k == processApp {
		fmt.Fprintf(&text, "apps: {bench: {command: [%q, %q, \"-\"]}}\n", b.path("stamp"), c.stamps.path)
	}
	config, cookie := filepath.Join(dir, "cluster.yaml"), filepath.Join(dir, "cookie")
	for path, content := range map[string]string{config: text.String(), cookie: cookieText} {
		if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
			b.t.Fatal(err)
		}
	}
	for i := range 3 {
		name := fmt.Sprintf("node%d@lab", i+1)
		args := []string{b.path("gonode"), name, config, cookie, filepath.Join(dir, name), c.stamps.path}
		if k == processApp {
			args = []string{b.path("regent"), "node", "--sname", name, "--config", config, "--cookie-file", cookie, "--data", filepath.Join(dir, name), "--start", "bench"}
		}
		c.nodes = append(c.nodes, &node{name: name, args: args, dir: filepath.Join(dir, name)})
	}
	b.t.Cleanup(c.end)
	b.t.Cleanup(c.explain)
	for _, n := range c.nodes {
		c.boot(n)
	}
	c.stamps.after(0)
	c.connect()
	return c
}

func (c *cluster) boot(n *node) {
	c.t.Helper()
	n.cmd = exec.Command(n.args[0], n.args[1:]...)
	n.cmd.Env = c.env
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(c.logOf(n), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_, _ = fmt.Fprintf(log, "%s: %s began, pid %d\n", time.Now().Format(time.RFC3339Nano), n.name, n.cmd.Process.Pid)
}

func (c *cluster) logOf(n *node) string { return n.dir + ".log" }

// explain prints what the nodes say and have said, if a measurement failed.
func (c *cluster) explain() {
	if !c.t.Failed() {
		return
	}
	for _, n := range c.nodes {
		var d status.Document
		err := errors.New("not connected")
		if c.conn != nil {
			d, err = c.statusOf(n)
		}
		text, _ := json.Marshal(d)
		log, _ := os.ReadFile(c.logOf(n))
		c.t.Logf("%s: status %s (%v), log:\n%s", n.name, text, err, log[max(0, len(log)-20_000):])
	}
}

func (c *cluster) connect() {
	c.t.Helper()
	cookie, err := cred.NewCookie(cookieText, false)
	if err != nil {
		c.t.Fatal(err)
	}
	authority, err := cred.Derive(cookie, "default")
	if err != nil {
		c.t.Fatal(err)
	}
	login, err := authority.ConnOptions(cred.App, "bench")
	if err != nil {
		c.t.Fatal(err)
	}
	var urls []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", c.ports[2*i]))
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if c.conn, err = bus.Dial(ctx, bus.Options{URLs: urls, Name: "bench", Login: login}); err != nil {
		c.t.Fatal(err)
	}
	if c.store, err = kv.Bind(ctx, c.conn.NATS(), kv.Options{Cluster: "default", Node: "bench"}); err != nil {
		c.t.Fatal(err)
	}
}

// writes is how long one acknowledged write takes.
func (c *cluster) writes(n int) (times []time.Duration) {
	c.t.Helper()
	for range n {
		begin := time.Now()
		if _, err := c.store.Probe(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	return times
}

func (c *cluster) statusOf(n *node) (d status.Document, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), time.Second)
	defer cancel()
	return d, c.service().Call(ctx, nodename.Name(n.name), "status", nil, &d)
}

func (c *cluster) service() service.Client {
	return service.Client{Conn: c.conn.NATS(), Cluster: "default"}
}

// ownerIs reports whether all nodes know that the app runs on n.
func (c *cluster) ownerIs(n *node) bool {
	return !slices.ContainsFunc(c.nodes, func(o *node) bool {
		d, err := c.statusOf(o)
		return err != nil || len(d.Apps) == 0 || d.Apps[0].State != "running" || string(d.Apps[0].Node) != n.name
	})
}

// calm waits until one runs the app, all have recovered from the kill before,
// and who leads the store is or is not the owner, as wanted.
func (c *cluster) calm(led bool) (owner *node) {
	c.t.Helper()
	until(c.t, "three nodes that have recovered, an owner and a leader", func() bool {
		owner = nil
		var leader string
		for i, n := range c.nodes {
			d, err := c.statusOf(n)
			if err != nil || !recovered(&d) || i > 0 && leader != d.Quorum.Leader {
				return false
			}
			leader = d.Quorum.Leader
			if string(d.Apps[0].Node) == n.name {
				owner = n
			}
		}
		if owner == nil || led == (leader == owner.name) {
			return owner != nil
		}
		if led {
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			defer cancel()
			_ = c.store.StepDown(ctx, owner.name)
		}
		return false
	})
	return owner
}

// recovered: the node has a session, it sees the app run, and its own copy of
// the records is complete. Else a kill of the leader would be the loss of two
// copies of three.
func recovered(d *status.Document) bool {
	i := slices.IndexFunc(d.Nodes, func(n status.Node) bool { return n.Name == d.Node })
	return i >= 0 && d.Nodes[i].State == "up" && d.Nodes[i].Session != "" &&
		d.Quorum.OK && d.Quorum.Behind == "" && len(d.Apps) == 1 && d.Apps[0].State == "running"
}

// settle is between a calm cluster and the kill: replicas catch up.
const settle = 1500 * time.Millisecond

// measure kills the owner again and again.
func (c *cluster) measure(n int, led bool) (times []time.Duration) {
	c.t.Helper()
	for range n {
		c.calm(led)
		if !led {
			time.Sleep(settle)
		}
		owner, before := c.calm(led), len(c.stamps.all())
		begin := time.Now()
		if err := owner.cmd.Process.Kill(); err != nil {
			c.t.Fatal(err)
		}
		times = append(times, c.stamps.after(before).at.Sub(begin))
		_ = owner.cmd.Wait()
		c.boot(owner)
	}
	return times
}

func (c *cluster) end() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	for _, n := range c.nodes {
		if n.cmd != nil && n.cmd.Process != nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	for _, n := range c.nodes {
		if n.cmd != nil {
			_ = n.cmd.Wait()
			n.cmd = nil
		}
	}
}
