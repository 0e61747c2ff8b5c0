package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
)

// asProgram in the environment makes a process of this test the program.
const asProgram = "EMBEDDED_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	manager.Main() // a warden has its own reasons to end
	go func() {    // it never outlives the test, which holds the other end
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(99)
	}()
	main()
}

// lines is what all processes have printed, each line with its process.
type lines struct {
	mu   sync.Mutex
	text []string
}

// writer adds whole lines under a name.
func (l *lines) writer(name string) io.Writer { return &lineWriter{all: l, name: name} }

type lineWriter struct {
	all  *lines
	name string
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		line, rest, whole := bytes.Cut(w.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.all.text = append(w.all.text, w.name+": "+string(line))
		w.part = rest
	}
}

// after returns the first match among the lines from number from on, and the
// number of the line after it.
func (l *lines) after(from int, re *regexp.Regexp) (match []string, next int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := from; i < len(l.text); i++ {
		if m := re.FindStringSubmatch(l.text[i]); m != nil {
			return m, i + 1
		}
	}
	return nil, from
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

// rig is three nodes as a user starts them.
type rig struct {
	t     *testing.T
	dir   string
	out   lines
	seen  int // lines that were looked at
	nodes map[int]*process
}

type process struct {
	cmd  *exec.Cmd
	hold io.Closer
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), nodes: map[int]*process{}}
	t.Cleanup(func() {
		for i := range r.nodes {
			r.kill(i)
		}
		if t.Failed() {
			t.Logf("output of all nodes:\n%s", &r.out)
		}
	})
	var text bytes.Buffer
	fmt.Fprintln(&text, "addresses:")
	ports := port.Free(t, 6)
	for i := range 3 {
		fmt.Fprintf(&text, "  node%d@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", i+1, ports[2*i], ports[2*i+1])
	}
	if err := os.WriteFile(filepath.Join(r.dir, "ports.yaml"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs node i, with the configuration that the example ships and free
// ports.
func (r *rig) start(i int) {
	r.t.Helper()
	name := fmt.Sprintf("node%d", i)
	cmd := exec.Command(os.Args[0], "-name", name+"@lxw", "-config", "cluster.yaml", "-config", filepath.Join(r.dir, "ports.yaml"),
		"-data", filepath.Join(r.dir, name), "-cookie-file", filepath.Join(r.dir, "cookie"))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = r.out.writer(name), r.out.writer(name+" log")
	hold, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.nodes[i] = &process{cmd, hold}
}

// kill is kill -9.
func (r *rig) kill(i int) {
	p := r.nodes[i]
	delete(r.nodes, i)
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.hold.Close()
}

// stop is Ctrl-C; it returns the exit code.
func (r *rig) stop(i int) int {
	r.t.Helper()
	p := r.nodes[i]
	delete(r.nodes, i)
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	giveUp := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer giveUp.Stop()
	_ = p.cmd.Wait()
	_ = p.hold.Close()
	return p.cmd.ProcessState.ExitCode()
}

// expect waits for a line after those that were looked at.
func (r *rig) expect(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m, next := r.out.after(r.seen, re); m != nil {
			r.seen = next
			return m
		}
	}
	r.t.Fatalf("nobody said %q", pattern)
	return nil
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestThreeProcesses is the table of the README: start, kill -9 of the owner,
// return, Ctrl-C.
func TestThreeProcesses(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.start(i + 1)
	}
	r.expect(`^node1: counter on node1@lxw: started as normal from "" with epoch 1 at 0$`)
	r.expect(`^node1: counter on node1@lxw: count 2$`)

	killed := time.Now()
	r.kill(1)
	m := r.expect(`^node([23]): counter on node[23]@lxw: started as failover from "node1@lxw" with epoch (\d+) at 0$`)
	if after := time.Since(killed); after < 2*time.Second {
		t.Errorf("failover %v after the kill, before the timeout of 2 s", after)
	}
	owner, epoch := number(t, m[1]), number(t, m[2])
	if epoch <= 1 {
		t.Errorf("epoch %d after epoch 1: it must grow", epoch)
	}
	r.expect(`: count 1$`)

	r.start(1)
	m = r.expect(fmt.Sprintf(`^node%d: counter on node%[1]d@lxw: stopped at (\d+): app is being stopped$`, owner))
	handedOver := m[1]
	m = r.expect(fmt.Sprintf(`^node1: counter on node1@lxw: started as takeover from "node%d@lxw" with epoch (\d+) at %s$`, owner, handedOver))
	if got := number(t, m[1]); got <= epoch {
		t.Errorf("epoch %d after epoch %d: it must grow", got, epoch)
	}
	for _, i := range []int{2, 3, 1} {
		if code := r.stop(i); code != 0 {
			t.Errorf("node%d ended with exit code %d after Ctrl-C", i, code)
		}
	}
	r.expect(`^node1: counter on node1@lxw: stopped at \d+: app is being stopped$`)
}

// TestUsage: what a user gets wrong ends with 2 and one line.
func TestUsage(t *testing.T) {
	cookie := "-cookie-file=" + filepath.Join(t.TempDir(), "cookie")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-name", "node1", "-config", "cluster.yaml", cookie}, "embedded: invalid node options: "},
		{[]string{"-name", "node1@lxw", "-config", "missing.yaml", cookie}, "embedded: missing.yaml: "},
		{[]string{"-name", "node1@host.example", "-config", "cluster.yaml", cookie}, "embedded: invalid configuration: "},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), tt.args, &out, &errOut); code != 2 || !strings.HasPrefix(errOut.String(), tt.want) {
			t.Errorf("%v: exit code %d, %q, want 2 and %q", tt.args, code, errOut.String(), tt.want)
		}
	}
}
