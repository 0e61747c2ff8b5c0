//go:build unix && !linux

package demo

import (
	"os/exec"
	"syscall"
)

// bind gives cmd a process group of its own, so that Ctrl-C at the terminal
// reaches the demo alone.
func bind(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends one process at once, as kill -9 does.
func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// killGroup ends a process and all of its group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may be gone

func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// gone reports whether a process has ended.
func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }
