package embeddedtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

// Cluster is a number of servers, each a process of its own. Members are
// numbered from 0. Its methods fail the test rather than return errors.
type Cluster struct {
	t       testing.TB
	members []*process
	api     jetstream.JetStream // for WaitReady and StreamLeader, made when needed
}

type process struct {
	config memberConfig
	log    syncBuffer // standard error of all its lives

	cmd   *exec.Cmd // nil while it does not run
	stdin io.WriteCloser
}

// StartCluster runs n servers, ready for JetStream, until the test ends.
func StartCluster(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	c := NewCluster(t, n, options...)
	var wg sync.WaitGroup
	for _, p := range c.members {
		wg.Go(func() { c.start(p) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	c.WaitReady()
	return c
}

// Option changes all members of a cluster.
type Option func(*memberConfig)

// StockTiming leaves the raft timers of nats-server alone.
func StockTiming(c *memberConfig) { c.StockTiming = true }

// NewCluster is a cluster of n servers of which none runs yet; see Restart.
func NewCluster(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	CheckLeaks(t)
	derived := filepath.Join(t.TempDir(), "derived")
	c, err := cookie()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SaveDerived(derived); err != nil {
		t.Fatal(err)
	}
	cluster := &Cluster{t: t}
	voters := Voters(t, n)
	clients := port.Addrs(t, n)
	for i, v := range voters {
		config := memberConfig{
			Name: v.Name, Cookie: Cookie, Derived: derived, DataDir: t.TempDir(),
			ClientListen: clients[i], ClusterListen: v.ClusterAddr, Voters: voters,
		}
		for _, option := range options {
			option(&config)
		}
		cluster.members = append(cluster.members, &process{config: config})
	}
	t.Cleanup(cluster.end)
	return cluster
}

// Voters are n voters, n1@test and so on, on free loopback ports.
func Voters(t testing.TB, n int) []embedded.Peer {
	t.Helper()
	var voters []embedded.Peer
	for i, addr := range port.Addrs(t, n) {
		voters = append(voters, embedded.Peer{Name: fmt.Sprintf("n%d@test", i+1), ClusterAddr: addr})
	}
	return voters
}

// Authority is that of the cookie all members share.
func (c *Cluster) Authority() *cred.Authority { return Authority(c.t) }

// Options let member i run in the test's process instead; see StartWith.
func (c *Cluster) Options(i int) embedded.Options {
	m := c.members[i].config
	return embedded.Options{
		Name: m.Name, Authority: c.Authority(), DataDir: m.DataDir,
		ClientListen: m.ClientListen, ClusterListen: m.ClusterListen, Voters: m.Voters,
		StockTiming: m.StockTiming,
	}
}

// Name is member i's server name.
func (c *Cluster) Name(i int) string { return c.members[i].config.Name }

// ClusterAddr is where member i accepts routes.
func (c *Cluster) ClusterAddr(i int) string { return c.members[i].config.ClusterListen }

// URL is where member i accepts clients. It stays the same over restarts.
func (c *Cluster) URL(i int) string { return "tls://" + c.members[i].config.ClientListen }

// URLs are those of all members, joined by commas as nats.Connect takes them.
func (c *Cluster) URLs() string {
	var urls []string
	for i := range c.members {
		urls = append(urls, c.URL(i))
	}
	return strings.Join(urls, ",")
}

// Conn is a connection to member i as the application user, which stays with it.
func (c *Cluster) Conn(i int, opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	return Connect(c.t, c.Authority(), c.URL(i), opts...)
}

// Client is a connection as the application user that moves to another member
// when its own is gone.
func (c *Cluster) Client(opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	return connect(c.t, c.Authority(), cred.App, c.URLs(), append(pings, opts...)...)
}

// System is Client as the user of the system account.
func (c *Cluster) System(opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	return connect(c.t, c.Authority(), cred.System, c.URLs(), append(pings, opts...)...)
}

var pings = []nats.Option{nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2)}

// Kill ends member i as kill -9 does, and waits until it is gone.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	p := c.running(i)
	if err := p.cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill %s: %v", p.config.Name, err)
	}
	_ = p.reap() // killed is an error
}

// Stop ends member i in order, and waits until it is gone.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	p := c.running(i)
	if _, err := io.WriteString(p.stdin, sayStop+"\n"); err != nil {
		c.t.Fatalf("stop %s: %v", p.config.Name, err)
	}
	if err := p.reap(); err != nil {
		c.t.Fatalf("stop %s: %v\n%s", p.config.Name, err, p.log.String())
	}
}

// Restart starts member i, which does not run, on its data and its ports.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	if c.members[i].cmd != nil {
		c.t.Fatalf("%s runs already", c.Name(i))
	}
	c.start(c.members[i])
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// Log is what member i has logged so far.
func (c *Cluster) Log(i int) string { return c.members[i].log.String() }

func (c *Cluster) running(i int) *process {
	c.t.Helper()
	if c.members[i].cmd == nil {
		c.t.Fatalf("%s does not run", c.Name(i))
	}
	return c.members[i]
}

// start runs p and waits until its ports are open. It may be called from any
// goroutine.
func (c *Cluster) start(p *process) {
	text, err := json.Marshal(p.config)
	if err != nil {
		c.t.Error(err)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		c.t.Error(err)
		return
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), memberEnv+"="+string(text))
	cmd.Stderr = &p.log
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		c.t.Error(errIn, errOut)
		return
	}
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	p.cmd, p.stdin = cmd, stdin
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != sayReady+"\n" {
		_ = cmd.Process.Kill()
		_ = p.reap()
		c.t.Errorf("start %s: %q, %v\n%s", p.config.Name, line, err, p.log.String())
	}
}

func (p *process) reap() error {
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// end kills what runs. Nothing of a cluster is worth a graceful stop.
func (c *Cluster) end() {
	for _, p := range c.members {
		if p.cmd == nil {
			continue
		}
		_ = p.cmd.Process.Kill()
		_ = p.reap()
	}
	if !c.t.Failed() {
		return
	}
	for _, p := range c.members {
		c.t.Logf("log of %s:\n%s", p.config.Name, p.log.String())
	}
}

// requestMax is short since nobody answers a request of JetStream's API before
// there is a leader.
const requestMax = 500 * time.Millisecond

// WaitReady waits until the members that run answer JetStream requests.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	js := c.jetStream()
	Eventually(c.t, "JetStream answers", func() bool {
		_, err := js.AccountInfo(c.t.Context())
		return err == nil
	})
}

// StreamLeader is the member that leads the stream, as soon as one does.
func (c *Cluster) StreamLeader(stream string) int {
	c.t.Helper()
	js := c.jetStream()
	leader := -1
	Eventually(c.t, stream+" has a leader", func() bool {
		s, err := js.Stream(c.t.Context(), stream)
		if err != nil {
			return false
		}
		leader = c.index(s.CachedInfo().Cluster)
		return leader >= 0
	})
	return leader
}

// MetaLeader is the member that leads JetStream's meta group, without which no
// stream is made, as soon as one does.
func (c *Cluster) MetaLeader() int {
	c.t.Helper()
	nc := c.System()
	defer nc.Close()
	leader := -1
	Eventually(c.t, "JetStream has a leader", func() bool {
		msg, err := nc.Request("$SYS.REQ.SERVER.PING.JSZ", nil, requestMax)
		if err != nil {
			return false
		}
		var reply struct {
			Data struct {
				Meta *jetstream.ClusterInfo `json:"meta_cluster"`
			} `json:"data"`
		}
		leader = -1
		if json.Unmarshal(msg.Data, &reply) == nil {
			leader = c.index(reply.Data.Meta)
		}
		return leader >= 0
	})
	return leader
}

// WaitCurrent waits until every replica of the stream is up to date. Before
// that, a majority that includes one which is still empty elects nobody.
func (c *Cluster) WaitCurrent(stream string) {
	c.t.Helper()
	js := c.jetStream()
	Eventually(c.t, "all replicas of "+stream+" are current", func() bool {
		s, err := js.Stream(c.t.Context(), stream)
		if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
			return false
		}
		return !slices.ContainsFunc(s.CachedInfo().Cluster.Replicas, func(p *jetstream.PeerInfo) bool {
			return !p.Current || p.Offline || p.Lag > 0
		})
	})
}

func (c *Cluster) index(info *jetstream.ClusterInfo) int {
	if info == nil {
		return -1
	}
	for i := range c.members {
		if c.Name(i) == info.Leader {
			return i
		}
	}
	return -1
}

func (c *Cluster) jetStream() jetstream.JetStream {
	c.t.Helper()
	if c.api == nil {
		js, err := jetstream.New(c.Client(), jetstream.WithDefaultTimeout(requestMax))
		if err != nil {
			c.t.Fatal(err)
		}
		c.api = js
	}
	return c.api
}

// syncBuffer is a buffer that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
