package warden

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// cgroups makes a cgroup for each group, where that is allowed: what leaves its
// process group (setsid) stays in it, and it can be killed as a whole.
type cgroups struct {
	dir   string
	count atomic.Uint64 // names them
}

// errNoCgroups says why there are none.
var errNoCgroups = errors.New("no cgroups to put apps in")

// openCgroups makes a directory for a life below this process's own cgroup of
// version 2, and makes sure that it can be used.
func openCgroups(name string) (*cgroups, error) {
	own, err := ownCgroup()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCgroups, err)
	}
	c := &cgroups{dir: filepath.Join(own, name)}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCgroups, err)
	}
	if f, err := os.OpenFile(filepath.Join(c.dir, "cgroup.kill"), os.O_WRONLY, 0); err != nil {
		c.close()
		return nil, fmt.Errorf("%w: %w", errNoCgroups, err)
	} else {
		_ = f.Close()
	}
	return c, nil
}

// ownCgroup is the directory of this process's cgroup of version 2, wherever
// that hierarchy is mounted.
func ownCgroup() (string, error) {
	mount, err := cgroupMount()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(mount, path), nil
		}
	}
	return "", errors.New("this process is in no cgroup of version 2")
}

func cgroupMount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		// 36 35 98:0 /root /mount/point options - type source options
		before, after, _ := strings.Cut(s.Text(), " - ")
		if fields := strings.Fields(before); len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("cgroups of version 2 are not mounted")
}

// open makes a cgroup and opens its directory, in which a process can be born.
func (c *cgroups) open() (*os.File, error) {
	dir := filepath.Join(c.dir, strconv.FormatUint(c.count.Add(1), 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		_ = os.Remove(dir)
	}
	return f, err
}

// close removes the directory, which must be empty.
func (c *cgroups) close() { _ = os.Remove(c.dir) }

// RemoveCgroups removes what a former life has left of the directory of this
// name, as far as it is empty. Its warden has done so, unless it was killed,
// too.
func RemoveCgroups(name string) {
	if own, err := ownCgroup(); err == nil {
		removeTree(filepath.Join(own, name))
	}
}

func removeTree(dir string) {
	left, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range left {
		if e.IsDir() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(dir)
}
