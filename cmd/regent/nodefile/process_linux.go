package nodefile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// private reports whether only this user can look into or change a directory.
func private(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid() && info.Mode().Perm()&0o077 == 0
}

func startTime(pid int) uint64 {
	p, err := samehost.Find(pid)
	if err != nil {
		return 0
	}
	return p.StartTime
}

// alive reports whether the very process that wrote f still runs. What can't be
// looked up counts as running.
func alive(f File) bool {
	p, err := samehost.Find(f.PID)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return !p.Gone() && (f.StartTime == 0 || f.StartTime == p.StartTime)
}
