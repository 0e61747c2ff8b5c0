// Package node names nodes, and turns names into tokens that are safe in NATS
// subjects and KV keys.
//
// A name is name@host. It is short when the host part has no dot, long when it
// has one (or is an IP address), as with erl's -sname and -name. A cluster is
// all short or all long.
package node

import (
	"errors"
	"fmt"
	"strings"
)

// Name is a node's full name, "name@host". The zero value names no node.
type Name string

// ErrName is wrapped by every error of Parse.
var ErrName = errors.New("invalid node name")

// Parse checks s against the grammar name@host, where name is [A-Za-z0-9_-]+
// and host is a non-empty host name or IP address.
func Parse(s string) (Name, error) {
	base, host, found := strings.Cut(s, "@")
	switch {
	case !found:
		return "", fmt.Errorf("%w %q: no host part, expected name@host", ErrName, s)
	case base == "":
		return "", fmt.Errorf("%w %q: nothing before the @", ErrName, s)
	case host == "":
		return "", fmt.Errorf("%w %q: nothing after the @", ErrName, s)
	}
	if bad := first(base, notBase); bad != "" {
		return "", fmt.Errorf("%w %q: %q is not allowed before the @ (letters, digits, _ and - are)", ErrName, s, bad)
	}
	if bad := first(host, notHost); bad != "" {
		return "", fmt.Errorf("%w %q: %q is not allowed in a host", ErrName, s, bad)
	}
	if len(s) > MaxLen {
		return "", fmt.Errorf("%w %q: longer than %d bytes", ErrName, s, MaxLen)
	}
	return Name(s), nil
}

// first is the first character of s that is in a set, or "".
func first(s string, in func(rune) bool) string {
	for _, r := range s {
		if in(r) {
			return string(r)
		}
	}
	return ""
}

// MaxLen is the longest accepted name in bytes: the atom limit of Erlang.
const MaxLen = 255

func alnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func notBase(r rune) bool { return !alnum(r) && r != '_' && r != '-' }
func notHost(r rune) bool {
	return !alnum(r) && r != '_' && r != '-' && r != '.' && r != ':' && r != '[' && r != ']'
}

// Base is the part before the @.
func (n Name) Base() string { base, _, _ := strings.Cut(string(n), "@"); return base }

// Host is the part after the @.
func (n Name) Host() string { _, host, _ := strings.Cut(string(n), "@"); return host }

// Long reports whether n is a long name: its host has a dot or is an IPv6
// address. (OTP: erl -name; short names come from -sname.)
func (n Name) Long() bool { return strings.ContainsAny(n.Host(), ".:") }

const hexUpper = "0123456789ABCDEF"

// Token encodes s as one NATS subject token: A-Za-z0-9_- stay, every other
// byte becomes =XX. It is the inverse of Untoken.
func Token(s string) string {
	if strings.IndexFunc(s, notBase) < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; notBase(rune(c)) {
			b.WriteByte('=')
			b.WriteByte(hexUpper[c>>4])
			b.WriteByte(hexUpper[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ErrToken is wrapped by every error of Untoken.
var ErrToken = errors.New("invalid token")

// Untoken decodes what Token encoded. Anything Token could not have produced
// is refused, so that one name has exactly one token.
func Untoken(t string) (string, error) {
	b := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c != '=' {
			if notBase(rune(c)) {
				return "", fmt.Errorf("%w %q: byte %q", ErrToken, t, c)
			}
			b = append(b, c)
			continue
		}
		if i+2 >= len(t) {
			return "", fmt.Errorf("%w %q: cut escape", ErrToken, t)
		}
		hi, lo := strings.IndexByte(hexUpper, t[i+1]), strings.IndexByte(hexUpper, t[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%w %q: bad escape", ErrToken, t)
		}
		d := byte(hi<<4 | lo)
		if !notBase(rune(d)) {
			return "", fmt.Errorf("%w %q: %q needs no escape", ErrToken, t, d)
		}
		b = append(b, d)
		i += 2
	}
	return string(b), nil
}
