package osproc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// mainCalled is set by Main in a program that is not a shim.
var mainCalled atomic.Bool

// A shim is this program with its name as the only argument and the pid of its
// parent as its only variable. What it is to become comes through its gate.
const (
	shimName   = "regent-exec"
	shimParent = "REGENT_EXEC_PARENT"
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
	p, ok := awaitGate()
	if !ok || !bindToParent(parent) {
		return
	}
	if p.dir != "" {
		if err := os.Chdir(p.dir); err != nil {
			report(stepDir, err)
			return
		}
	}
	report(stepExec, nil)
	report(0, syscall.Exec(p.path, p.args, p.env))
}

// awaitGate waits for the plan, which says that the ledger has this group. The
// end of the pipe before its end is the end of the parent.
func awaitGate() (plan, bool) {
	gate := os.NewFile(fdGate, "gate")
	size := make([]byte, sizeBytes)
	if _, err := io.ReadFull(gate, size); err != nil {
		return plan{}, false
	}
	text := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(gate, text); err != nil {
		return plan{}, false
	}
	return unpack(string(text))
}

// A plan in the gate: its size, then its strings with a zero byte between
// them, which none of them can contain.
const (
	sizeBytes = 4
	zero      = "\x00"
)

func (p plan) pack() []byte {
	fields := append([]string{p.dir, p.path, strconv.Itoa(len(p.args))}, p.args...)
	text := strings.Join(append(fields, p.env...), zero)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func unpack(text string) (plan, bool) {
	f := strings.Split(text, zero)
	if len(f) < 3 {
		return plan{}, false
	}
	n, err := strconv.Atoi(f[2])
	if rest := f[3:]; err == nil && n >= 0 && n <= len(rest) {
		return plan{dir: f[0], path: f[1], args: rest[:n], env: rest[n:]}, true
	}
	return plan{}, false
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
