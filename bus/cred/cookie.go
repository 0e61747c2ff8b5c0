package cred

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"
)

// Errors about cookies. Each is wrapped with what was found.
var (
	ErrCookieReadable = errors.New("others can access this secret")
	ErrCookieWeak     = errors.New("weak cookie")
	ErrCookieEmpty    = errors.New("empty cookie")
)

const (
	cookieLengthMin   = 16   // characters
	cookieDistinctMin = 8    // different characters
	cookieBytesMax    = 4096 // more is a wrong file, not a cookie
)

const redacted = "[redacted]"

// Cookie is the secret that all nodes of a cluster share (Erlang: the magic
// cookie). Copies share one derived root. The zero value is no cookie.
//
// The secret is behind a function: fmt calls no method of a value in an
// unexported field, and for a verb that does not fit it prints what a pointer
// leads to.
type Cookie struct{ open func() *secret }

type secret struct {
	value string

	mu   sync.Mutex
	root []byte // nil until it was derived or loaded
}

// NewCookie checks value, without line ends at its end. A cookie of fewer than
// 16 characters, or fewer than 8 different ones, is ErrCookieWeak unless
// insecure; none at all is ErrCookieEmpty.
func NewCookie(value string, insecure bool) (Cookie, error) {
	value = strings.TrimRight(value, "\r\n")
	if value == "" {
		return Cookie{}, ErrCookieEmpty
	}
	if len(value) > cookieBytesMax {
		return Cookie{}, fmt.Errorf("cookie longer than %d bytes", cookieBytesMax)
	}
	if !insecure {
		if err := checkStrength(value); err != nil {
			return Cookie{}, err
		}
	}
	s := &secret{value: value}
	return Cookie{func() *secret { return s }}, nil
}

func checkStrength(value string) error {
	if n := utf8.RuneCountInString(value); n < cookieLengthMin {
		return fmt.Errorf("%w: %d characters, at least %d are needed", ErrCookieWeak, n, cookieLengthMin)
	}
	different := map[rune]bool{}
	for _, r := range value {
		different[r] = true
	}
	if n := len(different); n < cookieDistinctMin {
		return fmt.Errorf("%w: %d different characters, at least %d are needed", ErrCookieWeak, n, cookieDistinctMin)
	}
	return nil
}

// IsZero reports whether c is no cookie.
func (c Cookie) IsZero() bool { return c.open == nil }

// Equal reports whether both are the same secret.
func (c Cookie) Equal(o Cookie) bool {
	if c.IsZero() || o.IsZero() {
		return c.IsZero() == o.IsZero()
	}
	return c.open().value == o.open().value
}

// Fingerprint is a short public name of the cookie: the same for every cluster
// that uses it, useless for finding it (a guess costs as much as deriving the
// keys). It costs a derivation, once per process.
func (c Cookie) Fingerprint() string { return fingerprint(c.root()) }

// String is [redacted].
func (c Cookie) String() string { return redacted }

// GoString is [redacted].
func (c Cookie) GoString() string { return redacted }

// Format prints [redacted], whatever the verb.
func (c Cookie) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is [redacted].
func (c Cookie) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is [redacted], for JSON and YAML too.
func (c Cookie) MarshalText() ([]byte, error) { return []byte(redacted), nil }
