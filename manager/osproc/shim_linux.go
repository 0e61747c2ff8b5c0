package osproc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// mainCalled is set by Main in a program that is not a shim.
var mainCalled atomic.Bool

// A shim is this program with the variable shimParent (the pid of its parent)
// and the arguments shimName, directory, path of the program, and what the
// program gets as its arguments.
const (
	shimName   = "regent-exec"
	shimParent = "REGENT_EXEC_PARENT"
	shimArgs   = 3
)

// The descriptors of a shim beside the standard ones.
const (
	fdGate   = 3
	fdReport = 4
)

// What a shim reports: the step it is about to take, followed by the number of
// the error if that failed.
const (
	stepDir  = 'd'
	stepExec = 'x'
)

// Main must be called first thing in main, or in TestMain, by every program
// that uses a Runner. In a child that is to become an app's command it does
// that and never returns; else it does nothing but remember the call.
func Main() {
	parent, ok := os.LookupEnv(shimParent)
	if !ok {
		mainCalled.Store(true)
		return
	}
	becomeCommand(parent)
	os.Exit(1)
}

// becomeCommand returns if it can't become the command.
func becomeCommand(parent string) {
	// The death signal is a property of the thread, and other threads end with
	// the exec: the one that executes must be the one that asks for the signal.
	runtime.LockOSThread()
	unix.CloseOnExec(fdGate)
	unix.CloseOnExec(fdReport)
	if len(os.Args) <= shimArgs || !awaitGate() || !bindToParent(parent) {
		return
	}
	dir, path, args := os.Args[1], os.Args[2], os.Args[shimArgs:]
	if dir != "" {
		if err := os.Chdir(dir); err != nil {
			report(stepDir, err)
			return
		}
	}
	_ = os.Unsetenv(shimParent)
	report(stepExec, nil)
	report(0, syscall.Exec(path, args, os.Environ()))
}

// awaitGate waits for the one byte that says that the ledger has this group.
// The end of the pipe is the end of the parent.
func awaitGate() bool {
	b := make([]byte, 1)
	for {
		n, err := unix.Read(fdGate, b)
		if !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}

// bindToParent makes the kernel kill this process when the thread that started
// it ends. A parent that has ended before that has been replaced.
func bindToParent(parent string) bool {
	err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	return err == nil && strconv.Itoa(os.Getppid()) == parent
}

// report writes a step (0: none) and the error of a system call.
func report(step byte, err error) {
	var text []byte
	if step != 0 {
		text = append(text, step)
	}
	if err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		text = strconv.AppendInt(text, int64(errno), 10)
	}
	_, _ = unix.Write(fdReport, text)
}

// errNoCommandYet is the start of a child that ended as a shim: killed by
// somebody, or out of memory.
var errNoCommandYet = errors.New("the process ended before it could execute the command")

// parseReport reads what a shim has reported when its end of the pipe is closed.
// A successful exec ends the pipe as well as death does, so that the step must
// have been announced.
func parseReport(text string, p plan) error {
	if text == string(stepExec) {
		return nil
	}
	if text == "" {
		return errNoCommandYet
	}
	n, err := strconv.Atoi(text[1:])
	if err != nil {
		return fmt.Errorf("%w: it reported %q", errNoCommandYet, text)
	}
	return stepError(text[0], syscall.Errno(n), p)
}

func stepError(step byte, errno syscall.Errno, p plan) error {
	switch {
	case step == stepDir:
		return fmt.Errorf("change to directory %q: %w", p.dir, errno)
	case errno == syscall.ENOENT: // newPlan has seen the file itself
		return fmt.Errorf("execute %q: its interpreter is missing: %w", p.path, errno)
	}
	return fmt.Errorf("execute %q: %w", p.path, errno)
}
