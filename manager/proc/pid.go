package proc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed7529eb29/regent/policy/node"
)

// Life tells one life of a node from every other: the nonce of its process. It
// has 1 to 64 of the characters A-Za-z0-9_-.
type Life string

// ErrLife is wrapped by every error of ParseLife.
var ErrLife = errors.New("invalid life of a node")

const lifeMax = 64 // bytes, the limit of an agent in heartbeats

// ParseLife checks s against the grammar of Life.
func ParseLife(s string) (Life, error) {
	if s == "" || len(s) > lifeMax || node.Token(s) != s {
		return "", fmt.Errorf("%w %q: expected 1 to %d letters, digits, _ and -", ErrLife, clip(s), lifeMax)
	}
	return Life(s), nil
}

// PID names a process, and never another one: it holds the node, the life of
// the node and a number that counts the processes of that life. PIDs can be
// compared and be keys of maps. The zero PID names no process.
type PID struct {
	Node   node.Name
	Life   Life
	Serial uint64
}

// IsZero reports whether p names no process.
func (p PID) IsZero() bool { return p == PID{} }

// String is <NODE/LIFE/SERIAL>; the zero PID is <>.
func (p PID) String() string {
	if p.IsZero() {
		return "<>"
	}
	return "<" + string(p.Node) + "/" + string(p.Life) + "/" + strconv.FormatUint(p.Serial, 10) + ">"
}

// ErrPID is wrapped by every error of ParsePID.
var ErrPID = errors.New("invalid PID")

// ParsePID reads what PID.String wrote, and nothing else.
func ParsePID(s string) (PID, error) {
	if s == "<>" {
		return PID{}, nil
	}
	inner, opened := strings.CutPrefix(s, "<")
	inner, closed := strings.CutSuffix(inner, ">")
	parts := strings.Split(inner, "/")
	if !opened || !closed || len(parts) != 3 {
		return PID{}, fmt.Errorf("%w %q: expected <NODE/LIFE/SERIAL>", ErrPID, clip(s))
	}
	n, err := node.Parse(parts[0])
	if err != nil {
		return PID{}, fmt.Errorf("%w: %w", ErrPID, err)
	}
	life, err := ParseLife(parts[1])
	if err != nil {
		return PID{}, fmt.Errorf("%w: %w", ErrPID, err)
	}
	serial, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || serial == 0 || strconv.FormatUint(serial, 10) != parts[2] {
		return PID{}, fmt.Errorf("%w %q: the serial is a number above 0", ErrPID, clip(s))
	}
	return PID{n, life, serial}, nil
}

// MarshalText lets PIDs travel in JSON.
func (p PID) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (p *PID) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePID(string(b))
	return err
}

// clip keeps foreign text in an error short.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Dest is whom a message is for: a PID, a Name or a Global.
type Dest interface {
	fmt.Stringer
	isDest()
}

// Name is a process that has registered under a local name of a node. An empty
// Node is the own one.
type Name struct {
	Name string
	Node node.Name
}

// Global is a process that has registered under a name of the whole cluster.
type Global string

func (PID) isDest()    {}
func (Name) isDest()   {}
func (Global) isDest() {}

// String is NAME@NODE, where the node has an @ of its own.
func (n Name) String() string {
	if n.Node == "" {
		return n.Name
	}
	return n.Name + "@" + string(n.Node)
}

func (g Global) String() string { return "global " + string(g) }

// ErrName is wrapped by errors about the names of processes, functions and
// groups.
var ErrName = errors.New("invalid name")

// CheckName reports what is wrong with the name of a process, a function or a
// group: it has 1 to 128 of the characters A-Za-z0-9_-. and begins with none of
// the last two.
func CheckName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(s) > nameMax:
		return fmt.Errorf("%w %q: longer than %d bytes", ErrName, clip(s), nameMax)
	case node.Token(strings.ReplaceAll(s, ".", "")) != strings.ReplaceAll(s, ".", "") || strings.ContainsRune("-.", rune(s[0])):
		return fmt.Errorf("%w %q: only letters, digits, _, - and . are allowed, and a letter, digit or _ begins it", ErrName, clip(s))
	}
	return nil
}

const nameMax = 128 // bytes, as of an app
