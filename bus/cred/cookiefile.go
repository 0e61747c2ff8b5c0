package cred

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// LoadCookie reads the cookie of the file at path. A missing file is made, with
// 256 random bits and mode 0400, in a directory that must exist; of several
// processes that do so at once, all get the same cookie.
//
// A file that group or others can access is ErrCookieReadable. insecure and
// the errors of the value are those of NewCookie.
func LoadCookie(path string, insecure bool) (Cookie, error) {
	value, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createCookie(path); err == nil {
			value, err = readSecret(path)
		}
	}
	return cookieIn(path, value, err, insecure)
}

// ReadCookie reads the cookie of another cluster: a missing file is an error
// that wraps fs.ErrNotExist. How good it is is that cluster's business.
func ReadCookie(path string) (Cookie, error) {
	value, err := readSecret(path)
	return cookieIn(path, value, err, true)
}

func cookieIn(path string, value []byte, err error, insecure bool) (Cookie, error) {
	if err != nil {
		return Cookie{}, fmt.Errorf("cookie file %s: %w", path, err)
	}
	c, err := NewCookie(string(value), insecure)
	if err != nil {
		return Cookie{}, fmt.Errorf("cookie file %s: %w", path, err)
	}
	return c, nil
}

// readSecret judges the open file, not the path: what is read is what was
// looked at.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, bare(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case othersMayAccess(info.Mode()):
		return nil, fmt.Errorf("%w: mode is %04o, expected 0400 or 0600", ErrCookieReadable, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, cookieBytesMax+2))
	return b, bare(err)
}

// othersMayAccess looks at the mode bits of group and others, which Windows
// does not have.
func othersMayAccess(m fs.FileMode) bool {
	return runtime.GOOS != "windows" && m.Perm()&0o077 != 0
}

// createCookie links a complete file into place: a process that starts at the
// same moment sees no file or a whole one, and the first link wins.
func createCookie(path string) error {
	var random [32]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails
	text := base64.RawURLEncoding.EncodeToString(random[:]) + "\n"
	whole, err := writeTemp(path, []byte(text), 0o400)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() { _ = os.Remove(whole) }()
	if err := os.Link(whole, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create: %w", bare(err))
	}
	return nil
}

// writeSecret replaces the file at path by one with mode 0600 at once.
func writeSecret(path string, data []byte) error {
	whole, err := writeTemp(path, data, 0o600)
	if err != nil {
		return err
	}
	if err := os.Rename(whole, path); err != nil {
		return errors.Join(bare(err), os.Remove(whole))
	}
	return nil
}

// writeTemp writes data into a new file beside path and syncs it.
func writeTemp(path string, data []byte, mode fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // O_EXCL, mode 0600
	if err != nil {
		return "", bare(err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// bare strips operation and path, which the caller states better.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
