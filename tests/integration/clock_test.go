//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shiftedClock is a file of package time: the wall clock of the process is off
// by so many seconds. The clocks that count on are left alone, as they are on a
// machine whose date is wrong.
const shiftedClock = `package time

import "syscall"

var clockShift = func() (sec int64) {
	text, _ := syscall.Getenv("REGENT_TEST_CLOCK")
	sign := int64(1)
	for i := 0; i < len(text); i++ {
		if text[i] == '-' {
			sign = -1
			continue
		}
		sec = sec*10 + int64(text[i]-'0')
	}
	return sign * sec
}()
`

// programWithClock builds regent with a clock that a variable sets off.
func programWithClock(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), now) != 1 {
		t.Fatal("time.Now of this Go is another one: the test does not know how to set it off")
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(text), now, now+"\tsec += clockShift\n", 1), "regent_shift.go": shiftedClock,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(source, name)] = filepath.Join(dir, name)
	}
	table, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), table, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "regent")
	out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, "github.com/seed7529eb29/regent/cmd/regent").CombinedOutput()
	if err != nil {
		t.Fatalf("build regent with another clock: %v\n%s", err, out)
	}
	return path
}

// TestWrongDates: the date of a machine may be off by decades, and outside the
// certificates' years. The cluster forms, fails over and takes over all the
// same: nothing is decided by a wall clock.
func TestWrongDates(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds the whole program once more")
	}
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", threeOnes+sleeper, three...)
	shifted, env := programWithClock(t), m.env
	const year = 365 * 24 * time.Hour
	boot := func(n string) *process {
		off := map[string]time.Duration{"node1@lxw": -50 * year, "node2@lxw": 0, "node3@lxw": 90 * year}[n]
		set := append(env[:len(env):len(env)], fmt.Sprintf("REGENT_TEST_CLOCK=%d", int64(off.Seconds())))
		return start(t, m.dir, set, shifted, "node", "--sname", n, "--config", "three.yaml", "--start", "myapp")
	}
	nodes := map[string]*process{}
	for _, n := range three {
		nodes[n] = boot(n)
	}
	at := clients["node2@lxw"]
	m.until("the first node runs it", at, runsWhere("node1@lxw", "normal"))
	begun := time.Now() // kill waits for the warden, too
	nodes["node1@lxw"].kill()
	m.until("another runs it", at, runsWhere("", "failover"))
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("the failover took %v, less than its Timeout", took)
	}
	nodes["node1@lxw"] = boot("node1@lxw")
	m.until("the first node has it back", at, runsWhere("node1@lxw", "takeover"))
	for n, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%s ended with %d", n, code)
		}
	}
	for n, year := range map[string]string{"node1@lxw": "time=1976-", "node3@lxw": "time=2116-"} {
		if log := nodes[n].errOut.String(); !strings.Contains(log, year) {
			t.Errorf("the date of %s is not off: no %q in its log:\n%s", n, year, log)
		}
	}
}
