//go:build !windows

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// LockDir takes dir, which must exist, for the open file that it returns: until
// that is closed or the process ends. Children do not inherit it. The error
// wraps ErrDataDirInUse when somebody else has dir.
func LockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrDataDirInUse, dir)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}
