//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// tree is an app that makes trouble for whoever ends it: it ignores SIGTERM, and
// has a child, a grandchild that was orphaned, and, as daemons do, one in a
// process session of its own. Each writes its pid down.
const tree = `trap '' TERM
echo "$$ leader $REGENT_NODE" >>pids
sh -c 'trap "" TERM; echo "$$ child $REGENT_NODE" >>pids; sleep 1000' &
sh -c '(sh -c "echo \$\$ orphan $REGENT_NODE >>pids; exec sleep 1000" &)'
setsid sh -c 'echo "$$ daemon $REGENT_NODE" >>pids; exec sleep 1000' &
while :; do sleep 1; done
`

// guarded is three nodes on one host with an app of that kind.
type guarded struct {
	*host
	clients map[string]string
	nodes   map[string]*process
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{host: newHost(t), nodes: map[string]*process{}}
	g.write("tree.sh", tree)
	g.write("pids", "")
	one := strings.ReplaceAll(threeOnes, "timeout: 2s", "timeout: 0s")
	g.clients = g.configure("three.yaml", one+fmt.Sprintf("\napps: {myapp: {command: [sh, tree.sh], dir: %q, stop: {timeout: 200ms}}}", g.dir), three...)
	for _, n := range three {
		g.boot(n)
	}
	t.Cleanup(g.sweep)
	g.runsOn("node1@lxw")
	g.until("all three can take the app over", g.clients["node1@lxw"], canTakeOver)
	return g
}

// canTakeOver reports whether every node has a session, which it has only once
// it trusts the bucket, and has been told to start the app.
func canTakeOver(d manager.ClusterStatus) bool {
	for _, n := range d.Nodes {
		if n.Session == "" {
			return false
		}
	}
	return len(d.Nodes) == len(three) && len(d.Apps) == 1 && len(d.Apps[0].StartedOn) == len(three)
}

func (g *guarded) boot(name string, more ...string) {
	g.t.Helper()
	g.nodes[name] = g.begin(append([]string{"node", "--sname", name, "--config", "three.yaml", "--data", "data-" + name, "--start", "myapp"}, more...)...)
}

// runsOn waits until the app's processes on a node are all there, and returns
// them.
func (g *guarded) runsOn(node string) []int {
	g.t.Helper()
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pids := g.pids(node); len(pids) == len(roles) {
			return pids
		}
	}
	g.t.Fatalf("the app did not start on %s: %s", node, g.read("pids"))
	return nil
}

// roles are the parts of the tree; the last leaves its group.
var roles = []string{"leader", "child", "orphan", "daemon"}

// pids are the processes of the app on a node in the order of roles; they write
// themselves down in any.
func (g *guarded) pids(node string) (pids []int) {
	text := g.read("pids")
	for _, role := range roles {
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) == 3 && f[1] == role && f[2] == node && strings.HasSuffix(line, "\n") {
				pid, _ := strconv.Atoi(f[0])
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// sweep ends what no test should leave.
func (g *guarded) sweep() {
	for _, p := range g.nodes {
		p.kill()
	}
	for _, n := range three {
		for _, pid := range g.pids(n) {
			if g.cgroups() && alive(pid) {
				g.t.Errorf("process %d of %s has outlived the test", pid, n)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func alive(pid int) bool {
	p, err := samehost.Find(pid)
	return err == nil && !p.Gone()
}

// cgroups reports whether the node could put its apps into cgroups.
func (g *guarded) cgroups() bool {
	for _, p := range g.nodes {
		if strings.Contains(p.errOut.String(), "no cgroups to put apps in") {
			return false
		}
	}
	return true
}

// warden is the second process of a node, its child.
func (g *guarded) warden(node string) int {
	g.t.Helper()
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pid := wardenOf(g.nodes[node].cmd.Process.Pid); pid != 0 {
			return pid
		}
	}
	g.t.Fatalf("%s has no warden", node)
	return 0
}

func wardenOf(agent int) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !strings.HasPrefix(string(line), "regent-warden\x00") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(agent) {
			return pid
		}
	}
	return 0
}

// watched notes the moment at which each of pids is gone, by its descriptor.
type watched struct {
	fds  []int
	pids []int
}

func watch(t *testing.T, pids ...int) *watched {
	t.Helper()
	w := &watched{pids: pids}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("process %d: %v", pid, err)
		}
		w.fds = append(w.fds, fd)
	}
	t.Cleanup(func() {
		for _, fd := range w.fds {
			_ = unix.Close(fd)
		}
	})
	return w
}

// left are those that are alive.
func (w *watched) left() (pids []int) {
	for i, fd := range w.fds {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(poll, 0)
		}
		if n == 0 {
			pids = append(pids, w.pids[i])
		}
	}
	return pids
}

// all waits for the end of all.
func (w *watched) all(t *testing.T, limit time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(limit); len(w.left()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v processes %v of %v are alive", limit, w.left(), w.pids)
		}
	}
}

// moved waits until the app has begun elsewhere, and fails if anything of the
// old instance was alive then. The daemon counts only where there are cgroups.
func (g *guarded) moved(old []int, w *watched) (to string, took time.Duration) {
	g.t.Helper()
	begin := time.Now()
	for deadline := begin.Add(runMax); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, n := range three[1:] {
			if len(g.pids(n)) == 0 {
				continue
			}
			took = time.Since(begin)
			for _, pid := range w.left() {
				if pid != old[3] || g.cgroups() {
					g.t.Errorf("the app has begun on %s and process %d of the old one is alive:\n%s", n, pid, g.read("pids"))
				}
			}
			return n, took
		}
	}
	g.t.Fatalf("the app did not move: %s", g.read("pids"))
	return "", 0
}

func (g *guarded) end() {
	g.t.Helper()
	for n, p := range g.nodes {
		if !alive(p.cmd.Process.Pid) { // its warden may be at work yet
			p.end()
			continue
		}
		w := watch(g.t, g.warden(n))
		if code := p.terminate(); code != 0 {
			g.t.Errorf("%s ended with %d", n, code)
		}
		w.all(g.t, 2*time.Second)
	}
}

func signal(t *testing.T, sig syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatalf("signal %v to %d: %v", sig, pid, err)
		}
	}
}

// TestWardenAfterKill: after kill -9 of the agent the app's whole tree is gone
// and certified before anybody starts the app elsewhere (S4).
func TestWardenAfterKill(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if !g.cgroups() {
		t.Log("SKIPPED in part: no cgroup of version 2 is writable, so daemons are not ended")
	}
	old := g.runsOn("node1@lxw")
	warden := watch(t, g.warden("node1@lxw"))
	w := watch(t, old...)
	g.nodes["node1@lxw"].kill()
	to, took := g.moved(old, w)
	t.Logf("kill -9 of the agent to the first process on %s: %v", to, took)
	warden.all(t, runMax)
	g.certified("node1@lxw", g.clients[to])
	g.end()
}

// certified waits for a certificate in the history: the warden's as a rule, and
// on a host so busy that the warden takes longer than a renewal, another node's.
func (g *guarded) certified(node, client string) {
	g.t.Helper()
	var r result
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		r = g.host.run("events", "--server", "tls://"+client, "--node", node)
		if strings.Contains(r.out, "certified") {
			g.t.Logf("certified by its warden: %t", strings.Contains(r.out, "by its warden"))
			return
		}
	}
	g.t.Errorf("no certificate in the history:\n%s%s", r.out, r.errOut)
}

// TestWardenAfterStop: an agent that stands still is dead by the deadline, with
// its app, before anybody else starts it.
func TestWardenAfterStop(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	old := g.runsOn("node1@lxw")
	w := watch(t, append(old, g.nodes["node1@lxw"].cmd.Process.Pid)...)
	begin := time.Now()
	signal(t, syscall.SIGSTOP, g.nodes["node1@lxw"].cmd.Process.Pid)
	_, took := g.moved(old, w)
	t.Logf("SIGSTOP of the agent to the start elsewhere: %v", took)
	if took < time.Second || time.Since(begin) > 5*time.Second {
		t.Errorf("the failover of a node that stands still took %v", took)
	}
	w.all(t, 0)
	g.nodes["node1@lxw"].says("right to run apps has run out")
	g.end()
}

// TestWardenKilled: another one is started, which knows what runs; the app is
// not touched. One that stands still is replaced, too.
func TestWardenKilled(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	old := g.runsOn("node1@lxw")
	w := watch(t, old...)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		first := g.warden("node1@lxw")
		gone := watch(t, first)
		signal(t, sig, first)
		if sig == syscall.SIGSTOP { // it is noticed when there is something to say
			gone.all(t, runMax)
		}
		for deadline := time.Now().Add(runMax); ; time.Sleep(5 * time.Millisecond) {
			if second := wardenOf(g.nodes["node1@lxw"].cmd.Process.Pid); second != 0 && second != first {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("no other warden after %v", sig)
			}
		}
		if left := w.left(); len(left) != len(old) {
			t.Fatalf("after %v of the warden of the app's processes %v only %v are alive", sig, old, left)
		}
	}
	g.armed("node1@lxw")
	g.nodes["node1@lxw"].kill() // the new one knows the group
	g.moved(old, w)
	g.end()
}

// armed waits until the newest warden has been told everything: the agent says
// so in its log, once for each.
func (g *guarded) armed(node string) {
	g.t.Helper()
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		log := g.nodes[node].errOut.String()
		if strings.Contains(log, fmt.Sprintf("pid=%d", wardenOf(g.nodes[node].cmd.Process.Pid))) {
			return
		}
	}
	g.t.Fatal("the new warden is not ready")
}

// TestWardenAndAgent: with both killed, or both standing still, the kernel ends
// the app, and what it does not reach is ended by the other nodes of the host;
// nobody starts the app before.
func TestWardenAndAgent(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			old := g.runsOn("node1@lxw")
			w := watch(t, old...)
			if !g.cgroups() {
				w = watch(t, old[:3]...) // nobody could know of the daemon
			}
			signal(t, sig, g.warden("node1@lxw"), g.nodes["node1@lxw"].cmd.Process.Pid)
			to, took := g.moved(old, w)
			w.all(t, 0)
			t.Logf("%v of both to the start on %s: %v", sig, to, took)
			_ = syscall.Kill(old[3], syscall.SIGKILL)
			g.end()
		})
	}
}

// TestWardenWithoutNetwork: a warden that can't reach the cluster kills all the
// same; the lease tells the others.
func TestWardenWithoutNetwork(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	old := g.runsOn("node1@lxw")
	w := watch(t, old...)
	for _, n := range three[1:] {
		signal(t, syscall.SIGSTOP, g.nodes[n].cmd.Process.Pid) // its app's deadline does not run there
	}
	g.nodes["node1@lxw"].kill()
	if g.cgroups() {
		w.all(t, time.Second)
	} else {
		watch(t, old[:3]...).all(t, time.Second)
	}
	for _, n := range three[1:] {
		signal(t, syscall.SIGCONT, g.nodes[n].cmd.Process.Pid)
	}
	g.moved(old, w)
	g.end()
}

// TestWardenModes: off is none, require is one before the first app, and
// anything else is a mistake.
func TestWardenModes(t *testing.T) {
	t.Parallel()
	m, client := alone(t)
	for mode, wanted := range map[string]bool{"off": false, "require": true} {
		p := m.beginNode1("--warden", mode, "--start", "myapp")
		m.until("myapp runs", client, runsWhere("node1@lxw", ""))
		if got := wardenOf(p.cmd.Process.Pid) != 0; got != wanted {
			t.Errorf("with --warden %s there is one: %t", mode, got)
		}
		if code := p.terminate(); code != 0 {
			t.Errorf("ended with %d", code)
		}
	}
	m.fails(2, []string{"--warden: unknown mode"}, "node", "--sname", "node1@lxw", "--config", "one.yaml", "--warden", "perhaps")
}
