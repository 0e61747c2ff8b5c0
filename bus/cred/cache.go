package cred

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// ErrStale is wrapped when saved keys were derived from another cookie, or are
// damaged.
var ErrStale = errors.New("saved keys do not belong to this cookie")

// The saved file: magic, salt, root, and an HMAC with the cookie as key, which
// binds the file to the cookie and shows damage.
const (
	cacheMagic = "regent derived 1\n"
	saltBytes  = 16
)

// DeriveCached is Derive with the slow part kept in the file at path. A file
// that is missing, stale or damaged is written anew, if that is possible; one
// that others can access is ErrCookieReadable.
func DeriveCached(c Cookie, cluster, path string) (*Authority, error) {
	if c.IsZero() {
		return nil, ErrCookieEmpty
	}
	err := c.LoadDerived(path)
	if errors.Is(err, ErrCookieReadable) {
		return nil, err
	}
	a, deriveErr := Derive(c, cluster)
	if deriveErr != nil {
		return nil, deriveErr
	}
	if err != nil {
		_ = c.SaveDerived(path) // a read-only home costs time only
	}
	return a, nil
}

// LoadDerived reads what SaveDerived wrote for the same cookie, after which
// Derive and Fingerprint are fast. Otherwise: ErrStale, ErrCookieReadable, or
// the error of the file system.
func (c Cookie) LoadDerived(path string) error {
	data, err := readSecret(path)
	if err != nil {
		return fmt.Errorf("saved keys %s: %w", path, err)
	}
	root, ok := openRoot(data, c.open().value)
	if !ok {
		return fmt.Errorf("saved keys %s: %w", path, ErrStale)
	}
	s := c.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root = root
	return nil
}

// SaveDerived writes the derived root into the file at path, mode 0600. Who
// reads it can do what the cookie's holder can.
func (c Cookie) SaveDerived(path string) error {
	if err := writeSecret(path, sealRoot(c.root(), c.open().value)); err != nil {
		return fmt.Errorf("save keys %s: %w", path, err)
	}
	return nil
}

func sealRoot(root []byte, cookie string) []byte {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // crypto/rand.Read never fails
	out := append([]byte(cacheMagic), salt...)
	out = append(out, root...)
	return append(out, binding(out, cookie)...)
}

func openRoot(data []byte, cookie string) (root []byte, ok bool) {
	body := len(cacheMagic) + saltBytes + keyBytes
	if len(data) != body+sha256.Size || string(data[:len(cacheMagic)]) != cacheMagic {
		return nil, false
	}
	if !hmac.Equal(data[body:], binding(data[:body], cookie)) {
		return nil, false
	}
	return data[body-keyBytes : body], true
}

func binding(body []byte, cookie string) []byte {
	m := hmac.New(sha256.New, []byte(cookie))
	m.Write(body)
	return m.Sum(nil)
}

// Derived is what all keys are derived from, for another process of the same
// user: who has it can do what the cookie's holder can.
func (c Cookie) Derived() string { return base64.RawStdEncoding.EncodeToString(c.root()) }

// FromDerived is Derive with what Derived gave, without the slow part.
func FromDerived(derived, cluster string) (*Authority, error) {
	root, err := base64.RawStdEncoding.DecodeString(derived)
	if err != nil || len(root) != keyBytes {
		return nil, errors.New("derive credentials: not what a cookie was derived to")
	}
	return newAuthority(root, cluster)
}
