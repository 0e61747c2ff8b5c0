//go:build !windows

package port

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// askedEnv makes this program one that takes ports and keeps them until the end
// of its input.
const askedEnv = "REGENT_TEST_TAKES_PORTS"

func TestMain(m *testing.M) {
	if os.Getenv(askedEnv) == "" {
		os.Exit(m.Run())
	}
	got, err := Take(3)
	fmt.Println(got, err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestFree(t *testing.T) {
	ports := Free(t, 50)
	if distinct := slices.Compact(slices.Sorted(slices.Values(ports))); len(distinct) != 50 || distinct[0] < lowest || distinct[49] >= highest {
		t.Error(ports)
	}
	for _, p := range ports {
		if !free(p) {
			t.Errorf("somebody listens on %d", p)
		}
	}
}

// A port that another process was given is not given again, although nobody
// listens there, until that process has ended.
func TestHeldAgainstOthers(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), askedEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	theirs := make([]int, 3)
	if _, err := fmt.Sscanf(strings.TrimSpace(line), "[%d %d %d] <nil>", &theirs[0], &theirs[1], &theirs[2]); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	for _, p := range theirs {
		if ours, err := hold(p); ours || err != nil || !free(p) {
			t.Errorf("port %d: held here %t, %v, free %t", p, ours, err, free(p))
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range theirs {
		if ours, err := hold(p); !ours || err != nil {
			t.Errorf("port %d after the end of its process: held here %t, %v", p, ours, err)
		}
	}
}
