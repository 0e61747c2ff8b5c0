//go:build linux

package chaos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// shiftVariable names the file that says by how many seconds a process's date is
// off.
const shiftVariable = "REGENT_TEST_SHIFT"

// shiftedClock is a file of package time: the wall clock of the process is off by
// what a file says, which is read again and again. The clocks that count on are
// left alone, as they are on a machine whose date is set.
const shiftedClock = `package time

import (
	"sync/atomic"
	"syscall"
)

var clockShift atomic.Int64

func init() {
	if path, ok := syscall.Getenv("` + shiftVariable + `"); ok {
		go watchShift(path)
	}
}

func watchShift(path string) {
	var buf [32]byte
	for ; ; Sleep(5 * Millisecond) {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		n, _ := syscall.Read(fd, buf[:])
		syscall.Close(fd)
		var sec int64
		for i := 0; i < n; i++ {
			sec = sec*10 + int64(buf[i]-'0')
		}
		clockShift.Store(sec)
	}
}
`

// shiftedProgram gives a node regent with a wall clock that can be set.
func shiftedProgram(c *cluster, m *member) {
	path := filepath.Join(built.dir, "regent-shifted")
	if _, err := os.Stat(path); err != nil {
		buildShifted(c, path)
	}
	m.program = path
	m.env = append(m.env, shiftVariable+"="+filepath.Join(filepath.Dir(m.data), "shift"))
}

func buildShifted(c *cluster, path string) {
	dir := c.t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		c.t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), now) != 1 {
		c.t.Fatal("time.Now of this Go is another one: the test does not know how to set it off")
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(text), now, now+"\tsec += clockShift.Load()\n", 1), "regent_shift.go": shiftedClock,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(source, name)] = filepath.Join(dir, name)
	}
	table, err := json.Marshal(overlay)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), table, 0o600); err != nil {
		c.t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, "github.com/seed7529eb29/regent/cmd/regent").CombinedOutput()
	if err != nil {
		c.t.Fatalf("build regent with another clock: %v\n%s", err, out)
	}
}
