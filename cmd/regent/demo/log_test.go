package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/examples/classic"
)

var zero = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// at is a line of the app's log, ms milliseconds after zero.
func at(ms int, what event, pid int, epoch uint64) entry {
	return entry{Time: zero.Add(time.Duration(ms) * time.Millisecond), Event: what, Node: fmt.Sprintf("node%d@lxw", pid), Epoch: epoch, StartType: "normal", PID: pid}
}

func TestRunsOfALog(t *testing.T) {
	h := history{at(0, started, 1, 1), at(50, ticked, 1, 1), at(5000, started, 2, 2), at(5050, ticked, 2, 2), at(5060, stopped, 2, 2)}
	runs := h.runs()
	if len(runs) != 2 || runs[0].stopped || !runs[1].stopped || runs[1].last.Time != zero.Add(5060*time.Millisecond) {
		t.Fatalf("runs %v", runs)
	}
	if after := h.startsAfter(zero.Add(time.Second)); len(after) != 1 || after[0].first.PID != 2 {
		t.Errorf("starts after a second: %v", after)
	}
	if _, _, found := h.overlap(); found || !h.epochsGrow() {
		t.Errorf("an overlap, or epochs that don't grow, in a clean log")
	}
}

func TestOverlapIsFound(t *testing.T) {
	h := history{at(0, started, 1, 1), at(60, started, 2, 2), at(70, ticked, 1, 1)}
	a, b, found := h.overlap()
	if !found || a.first.PID != 1 || b.first.PID != 2 {
		t.Errorf("overlap %v, %v, %t", a, b, found)
	}
}

func TestEpochThatDoesNotGrowIsFound(t *testing.T) {
	for _, second := range []uint64{1, 2} {
		if h := (history{at(0, started, 1, 2), at(60, started, 2, second)}); h.epochsGrow() {
			t.Errorf("epoch 2, then %d", second)
		}
	}
}

func TestIncompleteLineIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(`{"event":"start","pid":1}`+"\n"+`{"event":"ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := readLog(path); err != nil || len(h) != 1 || h[0].PID != 1 {
		t.Errorf("read %v, %v", h, err)
	}
	if err := os.WriteFile(path, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := readLog(path); err == nil {
		t.Errorf("read %v from garbage", h)
	}
}

func TestAppWritesItsLife(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGENT_EPOCH", "7")
	t.Setenv("REGENT_NODE", "node1@lxw")
	t.Setenv("REGENT_START_TYPE", "takeover")
	t.Setenv("REGENT_START_FROM", "node2@lxw")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- App(ctx, log) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		h, err := readLog(log)
		if err != nil {
			t.Fatal(err)
		}
		if len(h) >= 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no tick")
		}
		pause(t.Context(), 5*time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h, err := readLog(log)
	if err != nil {
		t.Fatal(err)
	}
	runs := h.runs()
	if len(runs) != 1 || !runs[0].stopped || runs[0].first.PID != os.Getpid() {
		t.Fatalf("runs %v", runs)
	}
	if got, want := runs[0].String(), fmt.Sprintf("node1@lxw (takeover from node2@lxw, epoch 7, pid %d)", os.Getpid()); got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}

// TestAppEndsWithoutItsLog: an instance that nothing else ended is no orphan
// for ever.
func TestAppEndsWithoutItsLog(t *testing.T) {
	t.Setenv("REGENT_EPOCH", "1")
	if err := App(t.Context(), filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("the app ended without an error")
	}
}

func TestFilesOfTheCluster(t *testing.T) {
	t.Setenv("NATS_URL", "nats://elsewhere")
	t.Setenv("REGENT_COOKIE", "elsewhere")
	c, err := newCluster("/bin/regent", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node1.config", "node2.config", "node3.config"} {
		got, err := os.ReadFile(filepath.Join(c.dir, name))
		want, wantErr := classic.Files.ReadFile(name)
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Errorf("%s is not the example's (%v, %v)", name, err, wantErr)
		}
	}
	for _, kv := range c.environ() {
		if strings.Contains(kv, "elsewhere") {
			t.Errorf("the nodes see %s", kv)
		}
	}
	c.close()
	if _, err := os.Stat(c.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there (%v)", err)
	}
}

func TestFastIsShorter(t *testing.T) {
	c, err := newCluster("/bin/regent", true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	text, err := os.ReadFile(filepath.Join(c.dir, "node2.config"))
	if want := fmt.Sprintf("{myapp, %d,", c.timeout.Milliseconds()); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%q is not in %s (%v)", want, text, err)
	}
}
