package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
)

// asProgram in the environment makes a process of this test the program.
const asProgram = "COUNTER_TEST_PROGRAM"

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

// output is what all processes have printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	read int // bytes that were looked at
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// find looks at all of it.
func (o *output) find(re *regexp.Regexp) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return re.FindStringSubmatch(o.text.String())
}

// next looks behind what next has found before.
func (o *output) next(re *regexp.Regexp) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := o.text.String()[o.read:]
	m := re.FindStringSubmatchIndex(rest)
	if m == nil {
		return nil
	}
	o.read += m[1]
	var groups []string
	for i := 0; i < len(m); i += 2 {
		groups = append(groups, rest[m[i]:m[i+1]])
	}
	return groups
}

// rig is three nodes as a user starts them.
type rig struct {
	t     *testing.T
	dir   string
	out   output
	nodes map[int]*exec.Cmd
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), nodes: map[int]*exec.Cmd{}}
	t.Cleanup(func() {
		for i := range r.nodes {
			r.kill(i)
		}
		if t.Failed() {
			t.Logf("output of all nodes:\n%s", r.out.text.String())
		}
	})
	var text strings.Builder
	text.WriteString("addresses:\n")
	free := port.Addrs(t, 6)
	for i := range 3 {
		text.WriteString(fmt.Sprintf("  node%d@lxw: {client: %q, cluster: %q}\n", i+1, free[2*i], free[2*i+1]))
	}
	if err := os.WriteFile(filepath.Join(r.dir, "ports.yaml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs node i, with the configuration that the example ships.
func (r *rig) start(i int) {
	r.t.Helper()
	name := fmt.Sprintf("node%d", i)
	cmd := exec.Command(os.Args[0], "-name", name+"@lxw", "-config", "cluster.yaml", "-config", filepath.Join(r.dir, "ports.yaml"),
		"-data", filepath.Join(r.dir, name), "-cookie-file", filepath.Join(r.dir, "cookie"))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	if _, err := cmd.StdinPipe(); err != nil { // closed with this process
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.nodes[i] = cmd
}

func (r *rig) kill(i int) {
	_ = r.nodes[i].Process.Kill()
	_ = r.nodes[i].Wait()
	delete(r.nodes, i)
}

// expect waits for a text after what was looked at.
func (r *rig) expect(pattern string) []string {
	r.t.Helper()
	return r.until(pattern, r.out.next)
}

// ever waits for a text, wherever it stands.
func (r *rig) ever(pattern string) []string {
	r.t.Helper()
	return r.until(pattern, r.out.find)
}

func (r *rig) until(pattern string, look func(*regexp.Regexp) []string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m := look(re); m != nil {
			return m
		}
	}
	r.t.Fatalf("nobody said %q", pattern)
	return nil
}

// TestStateIsCarriedOver is the table of the README.
func TestStateIsCarriedOver(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.start(i + 1)
	}
	r.expect(`counter on node1@lxw: started as normal from "" at 0\n`)
	r.expect(`counter on node1@lxw: count 2\n`)
	r.kill(1)
	owner := r.expect(`counter on (node[23]@lxw): started as failover from "node1@lxw" at 0\n`)[1]
	r.expect(`counter on ` + owner + `: count 3\n`)
	r.start(1)
	// The two are processes, and their lines come in either order.
	at := r.ever(`counter on ` + owner + `: asked by <> at (\d+)\n`)[1]
	r.ever(`counter on node1@lxw: started as takeover from "` + owner + `" at ` + at + `\n`)
	r.expect(`counter on ` + owner + `: stopped at ` + at + `\n`)
	r.expect(`counter on node1@lxw: count \d+\n`)
}

func TestUsage(t *testing.T) {
	var out, errOut bytes.Buffer
	args := []string{"-name", "node1", "-config", "cluster.yaml", "-cookie-file=" + filepath.Join(t.TempDir(), "cookie")}
	if code := run(t.Context(), args, &out, &errOut); code != 2 || !strings.HasPrefix(errOut.String(), "counter: invalid node options: ") {
		t.Errorf("exit code %d, %q", code, errOut.String())
	}
}
