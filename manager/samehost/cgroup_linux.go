package samehost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Kill sends SIGKILL to everything in it.
func (c Cgroup) Kill() {
	if c == "" {
		return
	}
	// Never made: in another mount namespace the path may be anything.
	if f, err := os.OpenFile(filepath.Join(string(c), "cgroup.kill"), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("1")
		_ = f.Close()
	}
}

// Empty reports whether no living process is in it. A zombie is no longer in
// it. One that is not there, or is none, is empty.
func (c Cgroup) Empty() bool {
	if c == "" {
		return true
	}
	text, err := os.ReadFile(filepath.Join(string(c), "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && strings.Contains(string(text), "populated 0")
}

// Remove removes it if it is empty; the kernel may take a moment to see that.
func (c Cgroup) Remove() {
	if c == "" {
		return
	}
	for range removeTries {
		if err := os.Remove(string(c)); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

const removeTries = 20
