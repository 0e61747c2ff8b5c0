//go:build unix

package osproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lookPath finds the program name, as seen from dir, with this PATH. Relative
// parts of PATH are passed over: what they name depends on who looks.
func lookPath(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		name, err := filepath.Abs(name)
		return name, errors.Join(err, executable(name))
	}
	notFound := fs.ErrNotExist
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			continue
		}
		file := filepath.Join(d, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			notFound = err
		}
	}
	return "", fmt.Errorf("%q is not in PATH %q: %w", name, path, notFound)
}

// executable reports why file can't be executed, as far as its mode tells.
func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return &os.PathError{Op: "execute", Path: file, Err: syscall.EISDIR}
	case info.Mode()&0o111 == 0:
		return &os.PathError{Op: "execute", Path: file, Err: syscall.EACCES}
	}
	return nil
}
