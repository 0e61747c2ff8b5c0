//go:build !windows

package port

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// book is a file in which every port has a byte. Who has locked the byte has the
// port, until the process ends, however it ends.
var book = sync.OnceValues(func() (*os.File, error) {
	name := fmt.Sprintf("regent-test-ports-%d", os.Getuid())
	return os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o600)
})

// hold reports whether the port is this process's now.
func hold(p int) (bool, error) {
	file, err := book()
	if err != nil {
		return false, fmt.Errorf("who has which port: %w", err)
	}
	err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(p), Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock port %d in %s: %w", p, file.Name(), err)
	}
	return true, nil
}
