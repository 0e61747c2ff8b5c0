package nodefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// File is what is known of a node on this machine.
type File struct {
	Node    node.Name `json:"node"`
	Cluster string    `json:"cluster"`
	URL     string    `json:"url"` // where clients connect: its own server's port, or the one it uses
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`

	// StartTime of the process in clock ticks after boot: process ids are
	// reused. 0 where that can't be known.
	StartTime uint64 `json:"start_time,omitempty"`
}

// ErrUnsafe is wrapped when the directory is not this user's alone.
var ErrUnsafe = errors.New("the directory is not this user's alone")

const suffix = ".json"

// dirs are the directories that node files may be in, the preferred one first.
func dirs() []string {
	temp := filepath.Join(os.TempDir(), "regent-"+strconv.Itoa(os.Getuid()))
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return []string{filepath.Join(run, "regent"), temp}
	}
	return []string{temp}
}

// Write keeps f as the file of this process until remove is called. It fills
// in PID, StartTime and Started. A reader sees the whole file or none.
func Write(f File) (remove func(), err error) {
	f.PID, f.StartTime = os.Getpid(), startTime(os.Getpid())
	f.Started = time.Now().UTC().Truncate(time.Millisecond)
	path, err := write(f)
	if err != nil {
		return nil, fmt.Errorf("write node file: %w", err)
	}
	return func() {
		if now, err := read(path); err == nil && now.PID == f.PID && now.StartTime == f.StartTime {
			_ = os.Remove(path) // what stays is stale, and removed by whoever lists it
		}
	}, nil
}

func write(f File) (path string, err error) {
	dir := dirs()[0]
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := check(dir); err != nil {
		return "", err
	}
	body, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, node.Token(f.Cluster)+"."+node.Token(string(f.Node))+suffix)
	_, err = temp.Write(append(body, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return path, nil
}

// check refuses a directory that somebody else could have filled.
func check(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: %s is no directory", ErrUnsafe, dir)
	case !private(info):
		return fmt.Errorf("%w: %s (mode %04o)", ErrUnsafe, dir, info.Mode().Perm())
	}
	return nil
}

// List returns the nodes that run here as this user, sorted by cluster and
// name. Stale files are removed. A directory that is not this user's alone is
// ErrUnsafe, returned beside what others hold.
func List() ([]File, error) {
	var files []File
	var errs []error
	for _, dir := range dirs() {
		found, err := list(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("list nodes on this machine: %w", err))
		}
		files = append(files, found...)
	}
	slices.SortFunc(files, func(a, b File) int {
		return strings.Compare(a.Cluster+"."+string(a.Node), b.Cluster+"."+string(b.Node))
	})
	same := func(a, b File) bool { return a.Cluster == b.Cluster && a.Node == b.Node }
	return slices.CompactFunc(files, same), errors.Join(errs...)
}

func list(dir string) ([]File, error) {
	if err := check(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := read(path)
		switch {
		case err != nil: // removed meanwhile, or not written by us
		case !alive(f):
			_ = os.Remove(path) // another command may have done so
		default:
			files = append(files, f)
		}
	}
	return files, nil
}

func read(path string) (File, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return File{}, err
	}
	var f File
	if err := json.Unmarshal(body, &f); err != nil {
		return File{}, fmt.Errorf("read %s: %w", path, err)
	}
	if f.Node == "" || f.URL == "" || f.PID <= 0 {
		return File{}, fmt.Errorf("read %s: no node file", path)
	}
	return f, nil
}
