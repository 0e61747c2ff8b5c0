//go:build unix

package manager

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// signal finds a signal by its name without SIG. 0: there is none, and TERM is
// taken.
func signal(name string) syscall.Signal { return unix.SignalNum("SIG" + name) }
