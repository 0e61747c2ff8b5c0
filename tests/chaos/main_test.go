//go:build linux

package chaos

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	suite    = flag.String("chaos", "", "which rows to run: short or all")
	only     = flag.String("row", "", "run only this row")
	times    = flag.Int("times", 0, "how often each loss of a host is measured; 0: as the suite says")
	write    = flag.Bool("write", false, "write the tables into docs/reliability.md")
	keep     = flag.Bool("keep", false, "leave the directory with logs and data")
	tell     = flag.Bool("story", false, "tell what happened although nothing is wrong")
	soakFor  = flag.Duration("soak", 0, "break things at random for so long")
	soakSeed = flag.Uint64("seed", 0, "of the soak; 0: drawn")
)

// built is where the programs are, below a directory of this run.
var built struct {
	dir  string
	once sync.Once
	err  error
}

// open are the clusters that have to be closed if the test is interrupted.
var open struct {
	mu       sync.Mutex
	clusters map[*cluster]bool
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "regent-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.dir = dir
	open.clusters = map[*cluster]bool{}
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-told
		open.mu.Lock()
		clusters := slices.Collect(maps.Keys(open.clusters))
		open.mu.Unlock() // which a cluster needs to be closed
		for _, c := range clusters {
			c.close()
		}
		_ = os.RemoveAll(dir)
		os.Exit(130)
	}()
	code := m.Run()
	if *keep {
		fmt.Println("logs and data are in", dir)
	} else {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func program() string   { return filepath.Join(built.dir, "regent") }
func stagehand() string { return filepath.Join(built.dir, "stagehand") }

// need builds the programs, and skips where hosts can't be made.
func need(t *testing.T) {
	t.Helper()
	if err := able(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	built.once.Do(func() {
		sweepCgroups()
		for path, pkg := range map[string]string{program(): "cmd/regent", stagehand(): "tests/chaos/stagehand"} {
			out, err := exec.Command("go", "build", "-o", path, "github.com/seed7529eb29/regent/"+pkg).CombinedOutput()
			if err != nil {
				built.err = fmt.Errorf("build %s: %w\n%s", pkg, err, out)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
}

// able says why hosts can't be made here.
func able() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can make network namespaces")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s on PATH (packages iproute2 and nftables)", tool)
		}
	}
	if cgroupRoot() == "" {
		return errors.New("cgroups of version 2 are not mounted")
	}
	dir := filepath.Join(cgroupRoot(), cgroupName(os.Getpid())+"try")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("no cgroups of version 2 can be made: %w", err)
	}
	return os.Remove(dir)
}

// patience is for what has to come on any machine; it is no bound of regent's.
const patience = 60 * time.Second

// until looks again and again.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
