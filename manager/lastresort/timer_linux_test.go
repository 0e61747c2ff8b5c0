package lastresort

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const childEnv = "LASTRESORT_TEST_CHILD"

func TestMain(m *testing.M) {
	if d := os.Getenv(childEnv); d != "" {
		child(d)
	}
	os.Exit(m.Run())
}

func bootNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// child arms for d, says so, and waits for its parent to close its input.
func child(text string) {
	d, err := time.ParseDuration(text)
	t, errNew := New()
	if err = errors.Join(err, errNew); err == nil {
		err = t.Arm(bootNow() + time.Hour)
	}
	if err == nil && d > 0 {
		err = t.Arm(bootNow() + d)
	} else if err == nil {
		err = t.Arm(0)
	}
	fmt.Println("armed", err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	t.Close()
	os.Exit(0)
}

func start(t *testing.T, d string) (*exec.Cmd, func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+d)
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
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "armed <nil>\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	return cmd, func() { _ = in.Close() }
}

// A process under SIGSTOP is ended at the deadline.
func TestEndsAStoppedProcess(t *testing.T) {
	cmd, _ := start(t, "300ms")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %v, want SIGKILL", err)
	}
}

// A timer that was disarmed harms nobody.
func TestDisarm(t *testing.T) {
	cmd, end := start(t, "0s")
	end()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
