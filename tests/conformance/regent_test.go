//go:build linux

package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/tests/scenario"
)

// regent is the engine of real nodes of regent: processes, with their wardens,
// clients of one NATS server inside the test.
type regent struct {
	dir     string
	program string
	nats    *server.Server
	seq     atomic.Int64
}

func newRegent(dir string) (*regent, error) {
	r := &regent{dir: dir, program: filepath.Join(dir, "gonode")}
	if out, err := exec.Command("go", "build", "-o", r.program, "./gonode").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build gonode: %w\n%s", err, out)
	}
	var err error
	r.nats, err = server.NewServer(&server.Options{
		ServerName: "conformance", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	r.nats.Start()
	if !r.nats.ReadyForConnections(natsPatience) {
		return nil, errors.New("the NATS server is not ready")
	}
	return r, nil
}

const natsPatience = 20 * time.Second

func (r *regent) end() {
	r.nats.Shutdown()
	r.nats.WaitForShutdown()
}

// Name implements scenario.Engine.
func (r *regent) Name() string { return "regent" }

// Side implements scenario.Engine.
func (r *regent) Side() string { return scenario.Regent }

// Begin implements scenario.Engine.
func (r *regent) Begin(s *scenario.Scenario) (scenario.World, error) {
	dir, err := os.MkdirTemp(r.dir, s.Name+"-")
	if err != nil {
		return nil, err
	}
	k := &regentKind{engine: r, cluster: fmt.Sprintf("s%d", r.seq.Add(1)), wires: map[string]*wire{}}
	return newCluster(k, s, dir), nil
}

type regentKind struct {
	engine  *regent
	cluster string
	mu      sync.Mutex
	wires   map[string]*wire // of the nodes
	ports   string           // their part of the configuration, if servers are inside
}

func (k *regentKind) command(c *cluster, n string, boot int) (*exec.Cmd, error) {
	path, text, url := filepath.Join(c.dir, fmt.Sprintf("%s-%d.yaml", n, boot)), scenario.Config(c.s, n), ""
	if c.s.Servers {
		addresses, err := k.addresses(c.s.Nodes)
		if err != nil {
			return nil, err
		}
		text += addresses
	} else {
		w, err := k.wire(n)
		if err != nil {
			return nil, err
		}
		url = "nats://" + w.address()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{n + "@h", k.cluster, path, filepath.Join(c.dir, n), url}
	if c.alone(n) && boot == 1 {
		args = append(args, "new")
	}
	cmd := exec.Command(k.engine.program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "XDG_STATE_HOME="+c.dir, "XDG_RUNTIME_DIR="+c.dir)
	return cmd, nil
}

// addresses are those of nodes with servers inside: all are voters.
func (k *regentKind) addresses(nodes []string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ports != "" {
		return k.ports, nil
	}
	p, err := port.Take(2 * len(nodes))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString("hosts: {h: 127.0.0.1}\naddresses:\n")
	for i, n := range nodes {
		fmt.Fprintf(&text, "  %s@h: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", n, p[2*i], p[2*i+1])
	}
	k.ports = text.String()
	return k.ports, nil
}

// alone: no other node of the cluster is there, or waited for. Its first node
// is then told so, as a person would, who does not want to wait.
func (c *cluster) alone(n string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.nodes) == 1 && c.nodes[n] != nil && c.s.Barrier == nil && !c.s.Servers
}

func (k *regentKind) wire(n string) (*wire, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.wires[n]; w != nil {
		return w, nil
	}
	w, err := newWire(k.engine.nats.Addr().String())
	if err == nil {
		k.wires[n] = w
	}
	return w, err
}

func (k *regentKind) cut(_ *cluster, n string) {
	if w, err := k.wire(n); err == nil {
		w.cut(true)
	}
}

func (k *regentKind) heal(_ *cluster, n string) {
	if w, err := k.wire(n); err == nil {
		w.cut(false)
	}
}

// unlink does nothing: nodes of regent are linked to the store, not to one
// another.
func (k *regentKind) unlink(*cluster, string, string) {}

func (k *regentKind) normal(result string) string { return result }

var regentExits = map[int]string{0: scenario.ExitNormal, 2: scenario.ExitConfig, 3: scenario.ExitSync, 6: scenario.ExitDigest, 7: scenario.ExitTaken, 8: scenario.ExitByApp, -1: scenario.ExitFenced}

func (k *regentKind) ended(code int, _ string) string {
	if is := regentExits[code]; is != "" {
		return is
	}
	return fmt.Sprintf("exits %d", code)
}

func (k *regentKind) close(*cluster) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.wires {
		w.end()
	}
}
