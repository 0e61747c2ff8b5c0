package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// asProgram makes the test binary the program itself.
const asProgram = "STAGEHAND_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// TestRecorderSeesBeginAndEnd: both processes of an app are written down with
// who they are, and each when it is gone, however it went.
func TestRecorderSeesBeginAndEnd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	rec := program(t, nil, "recorder", socket)
	stdin, err := rec.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := rec.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatal(lines.Text(), lines.Err())
	}
	before := trace.Now()
	app := program(t, []string{"REGENT_APP=a", "REGENT_NODE=n@h", "REGENT_SESSION=s", "REGENT_EPOCH=7", "REGENT_START_TYPE=failover", "REGENT_START_FROM=m@h"}, "app", socket)
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	var cast trace.Cast
	next := func() trace.Line {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("no line", lines.Err())
		}
		var l trace.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		cast.Add(l)
		return l
	}
	leader, child := next(), next()
	if h := leader.Hello; h == nil || h.Role != trace.Leader || h.App != "a" || h.Node != "n@h" || h.Session != "s" || h.Epoch != 7 ||
		h.Start != "failover" || h.From != "m@h" || h.At < before || leader.PID != app.Process.Pid {
		t.Errorf("%+v %+v", leader, leader.Hello)
	}
	if h := child.Hello; h == nil || h.Role != trace.Child || h.Instance != leader.Hello.Instance {
		t.Errorf("%+v %+v", child, child.Hello)
	}
	if in := cast.All(); len(in) != 1 || !in[0].Alive(trace.Now()) || in[0].End() != 0 {
		t.Errorf("%+v", in)
	}
	time.Sleep(3 * tickEvery) // they have to say that they execute; how often does not matter
	killed := trace.Now()
	if err := syscall.Kill(-app.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if l := next(); l.Hello != nil || l.At < killed || l.Tick <= before || l.Tick > trace.Now() {
			t.Errorf("%+v", l)
		}
	}
	if in := cast.All()[0]; in.End() == 0 || in.Alive(in.End()) {
		t.Errorf("%+v", in)
	}
	_ = app.Wait()
	_ = stdin.Close()
	if err := rec.Wait(); err != nil {
		t.Error(err)
	}
}
