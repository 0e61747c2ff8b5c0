//go:build !unix

package osproc

import "syscall"

// Signal is SIGKILL whatever the name, since every stop is a kill here.
func Signal(string) (syscall.Signal, error) { return syscall.SIGKILL, nil }
