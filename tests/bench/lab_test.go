//go:build linux

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lab is a directory with the programs.
type lab struct {
	t   *testing.T
	dir string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	b := &lab{t, t.TempDir()}
	for _, program := range []string{"tests/bench/stamp", "tests/bench/gonode", "cmd/regent"} {
		out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.dir, "github.com/seed7529eb29/regent/"+program).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	return b
}

func (b *lab) path(name string) string { return filepath.Join(b.dir, name) }

// spawns is how long it takes from the wish for a process to its first
// instruction.
func (b *lab) spawns(n int) (times []time.Duration) {
	b.t.Helper()
	for range n {
		file := stampFile{b.t, b.path("spawns")}
		_ = os.Remove(file.path)
		begin := time.Now()
		if err := exec.Command(b.path("stamp"), file.path, "spawn", "once").Run(); err != nil {
			b.t.Fatal(err)
		}
		times = append(times, file.last().at.Sub(begin))
	}
	return times
}

// stampFile is where apps write down when they began.
type stampFile struct {
	t    *testing.T
	path string
}

type stamp struct {
	at   time.Time
	node string
}

func (f stampFile) all() (out []stamp) {
	text, _ := os.ReadFile(f.path)
	for line := range strings.Lines(string(text)) {
		at, who, ok := strings.Cut(strings.TrimSpace(line), " ")
		ns, err := strconv.ParseInt(at, 10, 64)
		if ok && err == nil && strings.HasSuffix(line, "\n") {
			out = append(out, stamp{time.Unix(0, ns), who})
		}
	}
	return out
}

func (f stampFile) last() stamp {
	f.t.Helper()
	all := f.all()
	if len(all) == 0 {
		f.t.Fatal("nothing began")
	}
	return all[len(all)-1]
}

// after waits for the n-th stamp.
func (f stampFile) after(n int) stamp {
	f.t.Helper()
	until(f.t, fmt.Sprintf("start %d", n+1), func() bool { return len(f.all()) > n })
	return f.all()[n]
}

// patience is for what has to come.
const patience = 60 * time.Second

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// node is a process that can be killed.
type node struct {
	name string
	cmd  *exec.Cmd
	args []string
	dir  string
}
