//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
)

// built is where the program is, below a directory of this run.
var built struct {
	dir  string
	once sync.Once
	err  error
}

// spawn starts processes from one OS thread that lives as long as the tests:
// the kernel's signal on the death of the parent follows the thread.
var spawn = make(chan func())

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "regent-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.dir = dir
	go func() {
		runtime.LockOSThread()
		for start := range spawn {
			start()
		}
	}()
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// program is the path of regent, built by the first test that needs it.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(built.dir, "regent")
	built.once.Do(func() {
		out, err := exec.Command("go", "build", "-o", path, "github.com/seed7529eb29/regent/cmd/regent").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build regent: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return path
}

// host is a machine of its own as far as a program can see: home, cookie,
// state, and nothing of the caller's environment.
type host struct {
	t    *testing.T
	dir  string
	path string
	env  []string
	user int // whose programs run; 0: the test's
}

func newHost(t *testing.T) *host {
	t.Helper()
	if raceDetector {
		t.Skip("SKIPPED: the nodes are processes, which have no race detector")
	}
	m := &host{t: t, dir: t.TempDir(), path: program(t)}
	m.env = append(withoutOurs(os.Environ()), "HOME="+m.dir, "XDG_STATE_HOME="+m.file("state"),
		"XDG_RUNTIME_DIR="+m.file("run"), "XDG_CONFIG_HOME="+m.file("config"), "REGENT_COOKIE_FILE="+m.file("cookie"))
	m.write("cookie", "a cookie of 37 characters, for a test")
	if err := os.Mkdir(m.file("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

// withoutOurs leaves out what would lead out of the test.
func withoutOurs(env []string) (kept []string) {
	for _, kv := range env {
		ours := false
		for _, prefix := range []string{"REGENT_", "NATS_", "XDG_", "HOME="} {
			ours = ours || strings.HasPrefix(kv, prefix)
		}
		if !ours {
			kept = append(kept, kv)
		}
	}
	return kept
}

// file is a path on the machine. Absolute ones are left as they are.
func (m *host) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(m.dir, name)
}

func (m *host) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(m.file(name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *host) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.file(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// configure writes a YAML configuration for nodes on this machine, with free
// ports, and returns their client addresses.
func (m *host) configure(name, text string, nodes ...string) (clients map[string]string) {
	m.t.Helper()
	clients = map[string]string{}
	var b strings.Builder
	b.WriteString(text)
	b.WriteString("\nhosts: {lxw: 127.0.0.1}\naddresses:\n")
	ports := port.Free(m.t, 2*len(nodes))
	for i, n := range nodes {
		clients[n] = fmt.Sprintf("127.0.0.1:%d", ports[2*i])
		fmt.Fprintf(&b, "  %s: {client: %q, cluster: \"127.0.0.1:%d\"}\n", n, clients[n], ports[2*i+1])
	}
	m.write(name, b.String())
	return clients
}

// result is how a program ended.
type result struct {
	code        int
	out, errOut string
}

// runMax is far more than any command that is expected to end may take.
const runMax = 60 * time.Second

// run runs regent to its end.
func (m *host) run(args ...string) result {
	m.t.Helper()
	p := m.begin(args...)
	giveUp := time.AfterFunc(runMax, p.kill)
	defer giveUp.Stop()
	<-p.done
	return p.result()
}

// fails runs regent, which must end with code and say each of words on
// standard error.
func (m *host) fails(code int, words []string, args ...string) {
	m.t.Helper()
	r := m.run(args...)
	if r.code != code {
		m.t.Errorf("regent %s: exit code %d, want %d\n%s", strings.Join(args, " "), r.code, code, r.errOut)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.errOut, w) {
			m.t.Errorf("regent %s: %q is not in what it says:\n%s", strings.Join(args, " "), w, r.errOut)
		}
	}
}

// process is one process of the program.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	out, errOut buffer
	done        chan struct{} // closed when it has ended
}

// buffer is what a process has printed so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// begin starts regent in the background. It ends with the test at the latest.
func (m *host) begin(args ...string) *process {
	m.t.Helper()
	return startAs(m.t, m.user, m.dir, m.env, m.path, args...)
}

func start(t *testing.T, dir string, env []string, path string, args ...string) *process {
	t.Helper()
	return startAs(t, 0, dir, env, path, args...)
}

// startAs starts a program as another user; 0 is the test's own.
func startAs(t *testing.T, user int, dir string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errOut
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}
	}
	// Apps of a killed node keep its output open until they have died, too.
	p.cmd.WaitDelay = 5 * time.Second
	started := make(chan error)
	spawn <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its state
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && args[0] == "node" {
			t.Logf("%s %s:\n%s%s", filepath.Base(path), strings.Join(args, " "), &p.out, &p.errOut)
		}
	})
	return p
}

// kill is kill -9; it returns when the process has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// terminate asks it to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return p.end()
}

// end waits for the end and returns the exit code.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(runMax):
		p.t.Fatalf("%v runs on", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

// says waits for a line of the log with all words.
func (p *process) says(words ...string) {
	p.t.Helper()
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for line := range strings.SplitSeq(p.errOut.String(), "\n") {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return
			}
		}
	}
	p.t.Fatalf("%v does not say %q within %v:\n%s", p.cmd.Args, words, runMax, &p.errOut)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) result() result {
	return result{p.cmd.ProcessState.ExitCode(), p.out.String(), p.errOut.String()}
}

// status asks one node through its own server's port.
func (m *host) status(client string) (manager.ClusterStatus, error) {
	m.t.Helper()
	var doc manager.ClusterStatus
	r := m.run("status", "--json", "--server", "tls://"+client)
	if r.code != 0 {
		return doc, errors.New(r.errOut)
	}
	return doc, json.Unmarshal([]byte(r.out), &doc)
}

// until polls a node's status until it is as expected.
func (m *host) until(what, client string, ok func(manager.ClusterStatus) bool) manager.ClusterStatus {
	m.t.Helper()
	var doc manager.ClusterStatus
	var err error
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if doc, err = m.status(client); err == nil && ok(doc) {
			return doc
		}
	}
	m.t.Fatalf("not within %v: %s: %+v, %v", runMax, what, doc, err)
	return doc
}
