//go:build linux

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

// erlang is three nodes of Erlang/OTP; nil where it is not installed.
func (b *lab) erlang(k kind) *erlang {
	b.t.Helper()
	if _, err := exec.LookPath("erl"); err != nil {
		b.t.Log("SKIPPED in part: no erl on PATH: nothing to compare with")
		return nil
	}
	e := &erlang{lab: b, dir: b.path(fmt.Sprintf("erlang-%d", k)), port: port.Free(b.t, 1)[0]}
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	e.stamps = stampFile{b.t, filepath.Join(e.dir, "stamps")}
	e.env = append(os.Environ(), "HOME="+e.dir, "ERL_EPMD_PORT="+strconv.Itoa(e.port), "ERL_EPMD_ADDRESS=127.0.0.1", "STAMP_FILE="+e.stamps.path)
	if k == processApp {
		e.env = append(e.env, "STAMP_PROGRAM="+b.path("stamp"))
	}
	app, err := os.ReadFile("erlang/bench.app")
	if err == nil {
		err = os.WriteFile(filepath.Join(e.dir, "bench.app"), app, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if out, err := exec.Command("erlc", "-o", e.dir, "erlang/bench.erl").CombinedOutput(); err != nil {
		b.t.Fatalf("erlc: %v\n%s", err, out)
	}
	config := `[{kernel, [{distributed, [{bench, 0, [{'n1@127.0.0.1', 'n2@127.0.0.1', 'n3@127.0.0.1'}]}]},
		{sync_nodes_optional, ['n1@127.0.0.1', 'n2@127.0.0.1', 'n3@127.0.0.1']}, {sync_nodes_timeout, 10000}]}].`
	if err := os.WriteFile(filepath.Join(e.dir, "bench.config"), []byte(config), 0o600); err != nil {
		b.t.Fatal(err)
	}
	e.epmd = exec.Command("epmd", "-port", strconv.Itoa(e.port), "-address", "127.0.0.1")
	e.epmd.Env = e.env
	if err := e.epmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(e.end)
	for i := range 3 {
		e.nodes = append(e.nodes, &node{name: fmt.Sprintf("n%d@127.0.0.1", i+1)})
	}
	for _, n := range e.nodes {
		e.boot(n)
	}
	e.stamps.after(0)
	return e
}

type erlang struct {
	*lab
	dir    string
	port   int
	epmd   *exec.Cmd
	env    []string
	nodes  []*node
	stamps stampFile
}

func (e *erlang) ready(n *node) string { return filepath.Join(e.dir, n.name+".ready") }

func (e *erlang) boot(n *node) {
	e.t.Helper()
	_ = os.Remove(e.ready(n))
	eval := fmt.Sprintf(`application:start(bench), ok = file:write_file(%q, "")`, e.ready(n))
	// Without the option a lost node makes the others drop one another.
	n.cmd = exec.Command("erl", "-noinput", "-name", n.name, "-setcookie", "bench", "-pa", e.dir,
		"-config", filepath.Join(e.dir, "bench"), "-kernel", "prevent_overlapping_partitions", "false", "-eval", eval)
	n.cmd.Env, n.cmd.Dir = e.env, e.dir
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
}

// measure kills the owner again and again. The app of a tuple fails over alone,
// so that OTP's mutual waiting does not come into it.
func (e *erlang) measure(n int) (times []time.Duration) {
	e.t.Helper()
	for range n {
		for _, n := range e.nodes {
			until(e.t, n.name, func() bool { _, err := os.Stat(e.ready(n)); return err == nil })
		}
		time.Sleep(settle)
		all := e.stamps.all()
		i := slices.IndexFunc(e.nodes, func(n *node) bool { return n.name == all[len(all)-1].node })
		owner := e.nodes[i]
		begin := time.Now()
		if err := owner.cmd.Process.Kill(); err != nil {
			e.t.Fatal(err)
		}
		times = append(times, e.stamps.after(len(all)).at.Sub(begin))
		_ = owner.cmd.Wait()
		_ = syscall.Kill(-owner.cmd.Process.Pid, syscall.SIGKILL)
		e.boot(owner)
	}
	return times
}

func (e *erlang) end() {
	for _, n := range e.nodes {
		if n.cmd != nil {
			_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
			_ = n.cmd.Wait()
			n.cmd = nil
		}
	}
	if e.epmd != nil {
		_ = e.epmd.Process.Kill()
		_ = e.epmd.Wait()
		e.epmd = nil
	}
}
