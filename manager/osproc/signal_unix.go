//go:build unix

package osproc

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signal is the signal of this name without SIG, for Command.StopSignal.
func Signal(name string) (syscall.Signal, error) {
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}
