package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/examples/classic"
	"github.com/seed7529eb29/regent/policy/erlterm"
	"github.com/seed7529eb29/regent/policy/node"
)

// The cluster of the classic configuration.
const (
	app   = "myapp"
	host  = "lxw"
	node1 = node.Name("node1@lxw")
	node2 = node.Name("node2@lxw")
	node3 = node.Name("node3@lxw")

	clusterName = "default"
	loopback    = "127.0.0.1"
	evalStart   = "application:start(myapp)"
)

var allNodes = []node.Name{node1, node2, node3}

// cluster is the demo's directory and the processes that run in it.
type cluster struct {
	executable string
	dir        string
	clientPort int
	timeout    time.Duration // of the app
	spawner    *spawner
	nodes      map[node.Name]*process // the latest life of each
}

// process is one life of one node.
type process struct {
	node     node.Name
	cmd      *exec.Cmd
	done     chan struct{} // closed when it has ended
	expected bool          // its end was asked for
}

func newCluster(executable string, fast bool) (*cluster, error) {
	dir, err := os.MkdirTemp("", "regent-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	c := &cluster{
		executable: executable, dir: dir, timeout: 5 * time.Second,
		spawner: newSpawner(), nodes: map[node.Name]*process{},
	}
	if fast {
		c.timeout = fastTimeout
	}
	if err := c.fill(fast); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// fastTimeout is still long enough for a node to return within it.
const fastTimeout = 3 * time.Second

// fill writes what the nodes read.
func (c *cluster) fill(fast bool) error {
	for _, sub := range []string{"run", "tmp", "state"} {
		if err := os.Mkdir(filepath.Join(c.dir, sub), 0o700); err != nil {
			return fmt.Errorf("fill the demo's directory: %w", err)
		}
	}
	files, err := fs.Glob(classic.Files, "*.config")
	if err != nil {
		return fmt.Errorf("fill the demo's directory: %w", err)
	}
	for _, name := range files {
		text, err := classic.Files.ReadFile(name)
		if err == nil && fast {
			text, err = shorten(text)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(c.dir, name), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("fill the demo's directory: %s: %w", name, err)
		}
	}
	return errors.Join(c.writeApps(), os.WriteFile(c.appLog(), nil, 0o600))
}

// shorten replaces the app's timeout of five seconds.
func shorten(text []byte) ([]byte, error) {
	old, short := []byte("{myapp, 5000,"), fmt.Appendf(nil, "{myapp, %d,", fastTimeout.Milliseconds())
	if bytes.Count(text, old) != 1 {
		return nil, fmt.Errorf("%q is not in it once", old)
	}
	return bytes.Replace(text, old, short, 1), nil
}

// writeApps writes the second configuration file: the command of the app, and
// free ports.
func (c *cluster) writeApps() error {
	base, err := freePorts(2 * len(allNodes))
	if err != nil {
		return err
	}
	c.clientPort = base
	pair := func(key string, value erlterm.Term) erlterm.Term {
		return erlterm.NewTuple(erlterm.NewAtom(key), value)
	}
	port := func(n int) erlterm.Term { return erlterm.NewInteger(strconv.Itoa(n)) }
	term := erlterm.NewList(pair("regent", erlterm.NewList(
		pair("ports", erlterm.NewList(pair("client", port(base)), pair("cluster", port(base+len(allNodes))))),
		pair("apps", erlterm.NewList(pair(app, erlterm.NewList(pair("command", erlterm.NewList(
			erlterm.NewString(c.executable), erlterm.NewString("demo-app"), erlterm.NewString(c.appLog()),
		)))))),
	)))
	return os.WriteFile(filepath.Join(c.dir, "apps.config"), []byte(term.Pretty()+".\n"), 0o600)
}

// freePorts finds n ports in a row that nobody listens at, below those that
// systems give to outgoing connections.
func freePorts(n int) (base int, err error) {
	for range 100 {
		base = 20000 + rand.IntN(10000)
		if err = tryPorts(base, n); err == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("find free ports: %w", err)
}

func tryPorts(base, n int) error {
	for p := base; p < base+n; p++ {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(p)))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) appLog() string     { return filepath.Join(c.dir, "myapp.log") }
func (c *cluster) cookieFile() string { return filepath.Join(c.dir, "cookie") }

func (c *cluster) nodeLog(n node.Name) string { return filepath.Join(c.dir, n.Base()+".log") }

// url is the client port of a node: they are given out in the order of names.
func (c *cluster) url(n node.Name) string {
	return "nats://" + net.JoinHostPort(loopback, strconv.Itoa(c.clientPort+slices.Index(allNodes, n)))
}

func (c *cluster) authority() (*cred.Authority, error) {
	cookie, err := cred.LoadCookie(c.cookieFile(), false)
	if err != nil {
		return nil, err
	}
	return cred.Derive(cookie, clusterName)
}

// environ is the caller's environment without anything that would lead out of
// the demo.
func (c *cluster) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return slices.ContainsFunc([]string{"REGENT_", "NATS_", "XDG_", "HOME=", "TMPDIR="}, func(p string) bool {
			return strings.HasPrefix(kv, p)
		})
	})
	return append(env,
		"REGENT_HOSTS="+host+"="+loopback,
		"REGENT_COOKIE_FILE="+c.cookieFile(),
		"HOME="+c.dir,
		"TMPDIR="+filepath.Join(c.dir, "tmp"),
		"XDG_STATE_HOME="+filepath.Join(c.dir, "state"),
		"XDG_RUNTIME_DIR="+filepath.Join(c.dir, "run"),
	)
}

// arguments are the command line of a node, as a user would write it.
func arguments(n node.Name) []string {
	return []string{"erl", "-sname", string(n), "-config", n.Base(), "-config", "apps", "-eval", evalStart}
}

func (c *cluster) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.executable, args...)
	cmd.Dir, cmd.Env = c.dir, c.environ()
	bind(cmd)
	return cmd
}

// start starts a node, whose output is added to its log.
func (c *cluster) start(n node.Name) error {
	log, err := os.OpenFile(c.nodeLog(n), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", n, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	p := &process{node: n, cmd: c.command(arguments(n)...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := c.spawner.start(p.cmd); err != nil {
		return fmt.Errorf("start %s: %w", n, err)
	}
	c.nodes[n] = p
	go func() {
		_ = p.cmd.Wait() // how it ended is in its state
		close(p.done)
	}()
	return nil
}

// run runs a command of the program and returns what it printed.
func (c *cluster) run(ctx context.Context, args ...string) (string, error) {
	cmd := c.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := c.spawner.start(cmd)
	if err == nil {
		defer context.AfterFunc(ctx, func() { killGroup(cmd.Process.Pid) })()
		err = cmd.Wait()
	}
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("regent %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return text, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9 of the node's agent; it returns when it has ended.
func (p *process) kill() error {
	p.expected = true
	if err := kill(p.pid()); err != nil {
		return fmt.Errorf("kill %s: %w", p.node, err)
	}
	<-p.done
	return nil
}

// close ends all processes and removes the directory.
func (c *cluster) close() {
	for _, n := range allNodes {
		if p := c.nodes[n]; p != nil && !p.ended() {
			killGroup(p.pid())
			<-p.done
		}
	}
	c.spawner.close()
	c.endApps()
	_ = os.RemoveAll(c.dir) // nothing that could be done about it
}

// appsMax is how long the apps may take to follow their nodes.
const appsMax = 2 * time.Second

// endApps waits until every instance in the log is gone: they die with their
// nodes, or else of the loss of their log.
func (c *cluster) endApps() {
	h, err := readLog(c.appLog())
	if err != nil {
		return
	}
	_ = os.Remove(c.appLog())
	for deadline := time.Now().Add(appsMax); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(h.runs(), func(r run) bool { return !gone(r.first.PID) }) {
			return
		}
	}
}

// tail is the end of a node's log.
func (c *cluster) tail(n node.Name, lines int) []string {
	text, err := os.ReadFile(c.nodeLog(n))
	if err != nil {
		return nil
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return all[max(0, len(all)-lines):]
}
