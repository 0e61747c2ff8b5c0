package demo

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// bind gives cmd a process group of its own, so that Ctrl-C at the terminal
// reaches the demo alone, and lets the kernel kill it when the demo dies.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends one process at once, as kill -9 does.
func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// killGroup ends a process and all of its group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may be gone

func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// gone reports whether a process has ended; one that nobody waited for has.
func gone(pid int) bool {
	p, err := samehost.Find(pid)
	return errors.Is(err, fs.ErrNotExist) || err == nil && p.Gone()
}
