//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// spawn starts processes from one OS thread that lives as long as the tests:
// the kernel's signal on the death of the parent follows the thread.
var spawn = make(chan func())

func TestMain(m *testing.M) {
	go func() {
		runtime.LockOSThread()
		for start := range spawn {
			start()
		}
	}()
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built are the programs, made by the first test that needs them.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func build() {
	if built.dir, built.err = os.MkdirTemp("", "regent-fencing-"); built.err != nil {
		return
	}
	for name, pkg := range map[string]string{"regent": "../../cmd/regent", "fencing": "."} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, name), pkg).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build %s: %w\n%s", name, err, out)
			return
		}
	}
}

// rig is three nodes as a user starts them, in a directory with the example.
type rig struct {
	t     *testing.T
	dir   string
	flags []string // of all nodes
	addr  []string // where clients reach each node
	out   buffer   // of all nodes
	nodes map[int]*exec.Cmd
	ended map[int]chan struct{}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// newRig has regent and the example. more is laid over cluster.yaml.
func newRig(t *testing.T, more string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), nodes: map[int]*exec.Cmd{}, ended: map[int]chan struct{}{}}
	if built.once.Do(build); built.err != nil {
		t.Fatal(built.err)
	}
	for _, name := range []string{"regent", "fencing"} {
		if err := os.Link(filepath.Join(built.dir, name), r.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(r.end)
	config, err := os.ReadFile("cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r.write("cluster.yaml", string(config))
	if err := os.Mkdir(r.file("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("cookie", "a cookie for the test of fencing")
	var text strings.Builder
	text.WriteString(more + "\naddresses:\n")
	for i, l := range port.Addrs(t, 6) {
		if i%2 == 0 {
			r.addr = append(r.addr, l)
			fmt.Fprintf(&text, "  node%d@lxw: {client: %q, ", i/2+1, l)
		} else {
			fmt.Fprintf(&text, "cluster: %q}\n", l)
		}
	}
	r.write("test.yaml", text.String())
	return r
}

func (r *rig) file(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// typed is the line of README.md that runs node i.
func (r *rig) typed(i int) []string {
	r.t.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		r.t.Fatal(err)
	}
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^regent (node --sname node%d@lxw .*)$`, i)).FindSubmatch(page)
	if line == nil {
		r.t.Fatalf("README.md does not say how to run node %d", i)
	}
	return strings.Fields(string(line[1]))
}

// start runs node i, with free ports and a cookie of the test.
func (r *rig) start(i int) {
	r.t.Helper()
	cmd := exec.Command(r.file("regent"), append(r.typed(i), "--config", "test.yaml", "--cookie-file", "cookie")...)
	cmd.Args = append(cmd.Args, r.flags...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "HOME="+r.dir, "XDG_RUNTIME_DIR="+r.file("run"))
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second // apps of a killed node keep its output open until they have died, too
	started := make(chan error)
	spawn <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	r.nodes[i], r.ended[i] = cmd, done
}

// end kills what is left: nodes, and writers that have escaped from theirs.
func (r *rig) end() {
	for i, cmd := range r.nodes {
		_ = cmd.Process.Kill()
		<-r.ended[i]
	}
	for _, p := range r.processes(func(dir string) bool {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		return exe == r.file("fencing")
	}) {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	if r.t.Failed() {
		r.t.Logf("output of all nodes:\n%s", &r.out)
	}
}

// processes are those alive whose directory in /proc is as expected.
func (r *rig) processes(ok func(dir string) bool) (list []samehost.Process) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !ok(dir) {
			continue
		}
		if p, err := samehost.Find(pid); err == nil && !p.Gone() {
			list = append(list, p)
		}
	}
	return list
}

// tree is node i with all processes that it has started, and those that they
// have.
func (r *rig) tree(i int) []samehost.Process {
	of := map[int]bool{r.nodes[i].Process.Pid: true}
	parent := func(dir string) int {
		text, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, after, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(after)
		if len(fields) < 2 {
			return 0
		}
		pid, _ := strconv.Atoi(fields[1])
		return pid
	}
	for {
		list := r.processes(func(dir string) bool {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return of[pid] || of[parent(dir)]
		})
		if len(list) == len(of) {
			return list
		}
		for _, p := range list {
			of[p.PID] = true
		}
	}
}

// gone looks again whether a process is there.
func gone(p samehost.Process) bool {
	now, err := samehost.Find(p.PID)
	return err != nil || now.Gone() || now.StartTime != p.StartTime
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("not within 60 s: " + what)
		}
	}
}

// says waits for a line of the app's.
func (r *rig) says(epoch, more string) {
	r.t.Helper()
	r.eventually("epoch "+epoch+" says "+more, func() bool { return strings.Contains(r.out.String(), "epoch "+epoch+": "+more) })
}

// run runs regent and returns what it prints.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	cmd := exec.Command(r.file("regent"), args...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "HOME="+r.dir, "XDG_RUNTIME_DIR="+r.file("run"), "REGENT_COOKIE_FILE="+r.file("cookie"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("regent %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// history is the whole ledger as another client sees it.
func (r *rig) history(at int) []stored {
	r.t.Helper()
	r.run("cookie", "creds", "--dir", "creds", "--server", "tls://"+r.addr[at-1])
	nc, err := nats.Connect("tls://"+r.addr[at-1], nats.UserCredentials(r.file("creds/creds")), nats.RootCAs(r.file("creds/ca")),
		nats.ClientCert(r.file("creds/cert"), r.file("creds/key")))
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	return readHistory(r.t, js, "regent_default_app_ledger")
}

// freeze stops every process of node 1: agent, warden and app, as the pause of
// its machine would.
func (r *rig) freeze(least int) []samehost.Process {
	r.t.Helper()
	tree := r.tree(1)
	if len(tree) < least {
		r.t.Fatalf("node1 has the processes %v, at least %d are expected", tree, least)
	}
	for _, p := range tree {
		if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
			r.t.Fatal(err)
		}
	}
	return tree
}

// escaping runs the example in a process session of its own, where neither the
// death of its parent nor a signal to the group reaches it; without wardens there
// are no cgroups either. It is the writer of a machine that stood still: nobody
// has stopped it when others take over.
const escaping = `apps:
  ledger: {command: [sh, -c, "setsid ./fencing >writer-$REGENT_EPOCH 2>&1 & wait $!"]}
`

// TestWriterThatStoodStillIsRefused: a writer is paused with its node, loses its
// right, and runs on. Everything that should have ended it has failed; the fence
// has not.
func TestWriterThatStoodStillIsRefused(t *testing.T) {
	r := newRig(t, escaping)
	r.flags = []string{"--warden", "off"}
	for i := range 3 {
		r.start(i + 1)
	}
	log := func(epoch int) string {
		text, _ := os.ReadFile(r.file(fmt.Sprintf("writer-%d", epoch)))
		return string(text)
	}
	r.eventually("the first instance writes", func() bool { return strings.Contains(log(1), ": entry 5\n") })
	tree := r.freeze(3) // agent, shell, writer
	var writer samehost.Process
	for _, p := range tree {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID)); exe == r.file("fencing") {
			writer = p
		}
	}
	if writer.PID == 0 {
		t.Fatalf("the writer is not among %v", tree)
	}
	epoch := 1
	r.eventually("another instance writes", func() bool {
		for epoch = 2; epoch < 10; epoch++ {
			if strings.Count(log(epoch), ": entry ") >= 5 {
				return true
			}
		}
		return false
	})
	if gone(writer) {
		t.Fatal("the writer has not survived: nothing is tested")
	}
	before := log(1)
	if err := syscall.Kill(writer.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.eventually("the old writer has ended", func() bool { return gone(writer) })
	if after := strings.TrimPrefix(log(1), before); !strings.Contains(after, errFenced.Error()) {
		t.Errorf("the old writer ran on and said:\n%s", after)
	}
	written := strings.Count(log(epoch), ": entry ")
	r.eventually("the new one goes on", func() bool { return strings.Count(log(epoch), ": entry ") > written+3 })
	h := r.history(2)
	checkHistory(t, h)
	if last := h[len(h)-1]; last.Epoch != uint64(epoch) || h[0].Epoch != 1 {
		t.Errorf("the history goes from %+v to %+v", h[0], last)
	}
	t.Logf("%d messages, epochs 1 to %d; the old writer said: %s", len(h), epoch, strings.TrimSpace(strings.TrimPrefix(log(1), before)))
}

// TestPausedNode: the same pause, with nothing that has escaped. The kernel ends
// the node and its app; it comes back and takes the ledger over.
func TestPausedNode(t *testing.T) {
	r := newRig(t, "")
	for i := range 3 {
		r.start(i + 1)
	}
	r.says("1", "entry 5\n")
	tree := r.freeze(3) // agent, warden, app
	r.says("2", "entry ")
	r.eventually("everything of the paused node is gone", func() bool {
		for _, p := range tree {
			if !gone(p) {
				return false
			}
		}
		return true
	})
	<-r.ended[1]
	r.start(1)
	r.says("3", "entry ")
	for i := range 3 {
		if err := r.nodes[i+1].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			h := r.history(2)
			checkHistory(t, h)
			if h[len(h)-1].Epoch < 3 {
				t.Errorf("the history ends with %+v", h[len(h)-1])
			}
		}
	}
	for i := range 3 {
		<-r.ended[i+1]
		if code := r.nodes[i+1].ProcessState.ExitCode(); code != 0 {
			t.Errorf("node%d ended with %d", i+1, code)
		}
		if left, err := os.ReadDir(r.file(fmt.Sprintf("data/%d/starts", i+1))); err != nil || len(left) > 0 {
			t.Errorf("credentials are left: %v, %v", left, err)
		}
	}
}

// TestOverlappingTakeover: the new instance keeps its epoch to itself as long as
// the old one is the owner, and then the old one's next write is refused.
func TestOverlappingTakeover(t *testing.T) {
	r := newRig(t, "apps: {ledger: {takeover: overlap}}")
	for i := range 3 {
		r.start(i + 1)
	}
	r.says("1", "entry 5\n")
	r.run("takeover", "ledger", "--to", "node2@lxw", "--server", "tls://"+r.addr[1])
	r.says("2", "entry ")
	h := r.history(2)
	checkHistory(t, h)
	if last := h[len(h)-1]; last.Epoch != 2 || last.Node != "node2@lxw" {
		t.Errorf("the history ends with %+v", last)
	}
	if text := r.out.String(); strings.Contains(text, "epoch 3: ") {
		t.Errorf("the takeover took more than one start")
	}
}
