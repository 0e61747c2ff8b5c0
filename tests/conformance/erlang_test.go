//go:build linux

package conformance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/tests/scenario"
)

// erlang is the engine of real Erlang nodes.
type erlang struct {
	dir  string
	port int
	epmd *exec.Cmd
	seq  atomic.Int64
}

// newErlang compiles the module and starts a port mapper of our own.
func newErlang(dir string, port int) (*erlang, error) {
	e := &erlang{dir: dir, port: port}
	if out, err := exec.Command("erlc", "-o", dir, "erlang/conform.erl").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("erlc: %w\n%s", err, out)
	}
	e.epmd = exec.Command("epmd", "-port", strconv.Itoa(port), "-address", "127.0.0.1")
	if err := e.epmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(epmdPatience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return e, conn.Close()
		}
		if time.Now().After(deadline) {
			e.end()
			return nil, fmt.Errorf("epmd does not listen: %w", err)
		}
	}
}

const epmdPatience = 20 * time.Second

func (e *erlang) end() {
	_ = e.epmd.Process.Kill()
	_ = e.epmd.Wait()
}

// Name implements scenario.Engine.
func (e *erlang) Name() string { return "Erlang/OTP" }

// Side implements scenario.Engine.
func (e *erlang) Side() string { return scenario.Erlang }

// Begin implements scenario.Engine.
func (e *erlang) Begin(s *scenario.Scenario) (scenario.World, error) {
	dir, err := os.MkdirTemp(e.dir, s.Name+"-")
	if err != nil {
		return nil, err
	}
	k := &erlangKind{engine: e, suffix: fmt.Sprintf("x%d@127.0.0.1", e.seq.Add(1))}
	return newCluster(k, s, dir), nil
}

func newCluster(k kind, s *scenario.Scenario, dir string) *cluster {
	return &cluster{kind: k, s: s, dir: dir, nodes: map[string]*proc{}, cuts: map[string]bool{}}
}

type erlangKind struct {
	engine *erlang
	suffix string
}

func (k *erlangKind) full(n string) string { return "'" + n + k.suffix + "'" }

func (k *erlangKind) list(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, k.full(n))
	}
	return strings.Join(all, ",")
}

func (k *erlangKind) command(c *cluster, n string, boot int) (*exec.Cmd, error) {
	base := filepath.Join(c.dir, fmt.Sprintf("%s-%d", n, boot))
	var load strings.Builder
	for _, a := range c.s.Apps {
		var keys []string
		if a.Phases != nil {
			keys = append(keys, "{start_phases,["+strings.Join(phaseTerms(c.s, a), ",")+"]}")
		}
		if a.Prep {
			keys = append(keys, "{env,[{prep,true}]}")
		}
		if a.Parts != nil {
			keys = append(keys, "{included_applications,["+strings.Join(a.Parts, ",")+"]}")
		}
		unloaded := ""
		if a.Unloaded {
			unloaded = "unloaded,"
		}
		fmt.Fprintf(&load, "{%s%s,[%s]}.\n", unloaded, a.Name, strings.Join(keys, ","))
	}
	for path, text := range map[string]string{base + ".config": k.config(c, n), base + ".apps": load.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("erl", "-noinput", "-name", n+k.suffix, "-setcookie", strings.SplitN(k.suffix, "@", 2)[0], "-pa", k.engine.dir,
		"-start_epmd", "false", "-config", base, "-conform", base+".apps", k.suffix, "-s", "conform", "boot", "+S", "1:1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "ERL_EPMD_PORT="+strconv.Itoa(k.engine.port), "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_CRASH_DUMP_SECONDS=0")
	return cmd, nil
}

// phaseTerms are the start phases of an app. Their arguments are what start_phase/3
// is to say: whose they are, and their name.
func phaseTerms(s *scenario.Scenario, a scenario.App) (terms []string) {
	whole := s.Whole(a.Name)
	for _, p := range a.Phases {
		said := p
		if whole != a.Name {
			said = a.Name + ":" + p
		}
		terms = append(terms, fmt.Sprintf("{%s,[%s,'%s']}", p, whole, said))
	}
	return terms
}

// config is the node's sys.config. Without a barrier of the scenario a node
// waits for those that are there, or come with it: dist_ac meets others only
// then.
func (k *erlangKind) config(c *cluster, n string) string {
	apps, denied := c.s.AppsOf(n)
	var specs, permissions []string
	for _, a := range apps {
		if a.Groups == nil {
			continue
		}
		var groups []string
		for _, g := range a.Groups {
			one := k.list(g)
			if len(g) > 1 {
				one = "{" + one + "}"
			}
			groups = append(groups, one)
		}
		timeout := strconv.FormatInt(a.Timeout.Milliseconds(), 10)
		if a.Infinite {
			timeout = "infinity"
		}
		specs = append(specs, fmt.Sprintf("{%s,%s,[%s]}", a.Name, timeout, strings.Join(groups, ",")))
	}
	for _, a := range denied {
		permissions = append(permissions, fmt.Sprintf("{%s,false}", a))
	}
	keys := []string{
		"{distributed,[" + strings.Join(specs, ",\n  ") + "]}", "{permissions,[" + strings.Join(permissions, ",") + "]}",
		fmt.Sprintf("{prevent_overlapping_partitions,%t}", c.s.Overlap), "{inet_dist_use_interface,{127,0,0,1}}",
	}
	if c.s.Tick > 0 {
		keys = append(keys, fmt.Sprintf("{net_ticktime,%d}", c.s.Tick))
	}
	c.mu.Lock()
	others := c.nodes[n].want
	c.mu.Unlock()
	if b := c.s.BarrierOf(n); b != nil {
		keys = append(keys, "{sync_nodes_mandatory,["+k.list(b.Mandatory)+"]}", "{sync_nodes_optional,["+k.list(b.Optional)+"]}")
		switch {
		case b.Infinite:
			keys = append(keys, "{sync_nodes_timeout,infinity}")
		case b.Set:
			keys = append(keys, fmt.Sprintf("{sync_nodes_timeout,%d}", b.Timeout.Milliseconds()))
		}
	} else if len(others) > 0 {
		keys = append(keys, "{sync_nodes_optional,["+k.list(others)+"]}", "{sync_nodes_timeout,12000}")
	}
	return "[{kernel,[" + strings.Join(keys, ",\n ") + "]}].\n"
}

// known checks that a node met those it should have met: under load a boot now
// and then leaves a mesh that is not whole.
func (p *proc) known(nodes []string) {
	if p.c.s.Barrier != nil {
		return
	}
	for _, n := range p.want {
		if o := p.c.nodes[n]; !slices.Contains(nodes, n) && !o.over() && !p.c.cuts[n] {
			p.c.odd = fmt.Errorf("%w: %s knows %v and should know %v", errOdd, p.name, nodes, p.want)
		}
	}
}

func (k *erlangKind) ended(code int, output string) string {
	for _, w := range []struct{ text, is string }{
		{"Distribution mismatch", scenario.ExitDigest}, {"application_terminated", scenario.ExitByApp}, {"mandatory_nodes_down", scenario.ExitSync}, {"seems to be in use", scenario.ExitTaken}, {"invalid config data", scenario.ExitConfig},
		{"badopt", scenario.ExitConfig}, {"application_start_failure", scenario.ExitByApp},
		{"Kernel pid terminated (application_controller) ({'", scenario.ExitByApp}, // a start failed elsewhere
	} {
		if strings.Contains(output, w.text) {
			return w.is
		}
	}
	if code == 0 {
		return scenario.ExitNormal
	}
	return fmt.Sprintf("exits %d", code)
}

// cut lets a node and the others refuse one another, then drops what there is.
func (k *erlangKind) cut(c *cluster, n string) {
	c.mu.Lock()
	others := c.company(n)
	c.mu.Unlock()
	for _, o := range others {
		c.tell(o, "split %s", n)
	}
	c.tell(n, "split %s", strings.Join(others, " "))
	c.tell(n, "drop %s", strings.Join(others, " "))
	for _, o := range others {
		c.tell(o, "drop %s", n)
	}
}

func (k *erlangKind) unlink(c *cluster, n, o string) {
	c.tell(n, "split %s", o)
	c.tell(o, "split %s", n)
	c.tell(n, "drop %s", o)
}

func (k *erlangKind) heal(c *cluster, n string) {
	c.mu.Lock()
	others := c.company(n)
	c.mu.Unlock()
	for _, o := range others {
		c.tell(o, "trust %s", n)
	}
	c.tell(n, "trust %s", strings.Join(others, " "))
	c.tell(n, "connect %s", strings.Join(others, " "))
	for _, o := range others {
		c.tell(o, "connect %s", n)
	}
}

func (k *erlangKind) close(*cluster) {}

var callback = regexp.MustCompile(`\{boom,\{conform,start,\[.*\]\}\}`)

// normal takes out the suffix of nodes and the callback that failed.
func (k *erlangKind) normal(result string) string {
	for _, n := range []string{"n1", "n2", "n3", "n4", "n5"} {
		result = strings.ReplaceAll(result, k.full(n), n)
	}
	return callback.ReplaceAllString(result, scenario.Boom)
}
