//go:build !linux

package nodefile

import (
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// private reports whether only this user can look into or change a directory,
// as far as the mode tells: on Windows both directories are the user's own.
func private(info fs.FileInfo) bool {
	return runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0
}

func startTime(int) uint64 { return 0 }

// alive reports whether a process with the number in f runs. On Windows finding
// it is proof; elsewhere it takes a signal.
func alive(f File) bool {
	p, err := os.FindProcess(f.PID)
	if err != nil {
		return false
	}
	return runtime.GOOS == "windows" || p.Signal(syscall.Signal(0)) == nil
}
