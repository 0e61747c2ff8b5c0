package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const errSharingViolation = syscall.Errno(32)

// LockDir takes dir, which must exist, for the open file that it returns, which
// is not shared: until that is closed or the process ends. The error wraps
// ErrDataDirInUse when somebody else has dir.
func LockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharingViolation) {
		return nil, fmt.Errorf("%w: %s", ErrDataDirInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return os.NewFile(uintptr(h), path), nil
}
