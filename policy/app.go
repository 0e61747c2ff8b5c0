package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// App is the name of an application: an Erlang atom or YAML key,
// [A-Za-z][A-Za-z0-9_@-]*, at most 128 bytes.
type App string

// ErrApp is wrapped by every error of ParseApp.
var ErrApp = errors.New("invalid app name")

// ParseApp checks s against the grammar of App.
func ParseApp(s string) (App, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("%w: empty", ErrApp)
	case len(s) > 128:
		return "", fmt.Errorf("%w %q: longer than 128 bytes", ErrApp, s[:20]+"…")
	case !letter(s[0]):
		return "", fmt.Errorf("%w %q: must begin with a letter", ErrApp, s)
	}
	for _, c := range s {
		if c > 'z' || !letter(byte(c)) && (c < '0' || c > '9') && c != '_' && c != '@' && c != '-' {
			return "", fmt.Errorf("%w %q: %q is not allowed (letters, digits, _, @ and - are)", ErrApp, s, c)
		}
	}
	return App(s), nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// Timeout is how long a failover waits after the owner is suspected (the
// second element of an entry of OTP's kernel parameter distributed).
type Timeout time.Duration

// Infinite means that there is never a failover (OTP: infinity).
const Infinite Timeout = -1

func (t Timeout) String() string {
	if t == Infinite {
		return "infinity"
	}
	return time.Duration(t).String()
}

// TakeoverMode says how an app moves between two live nodes.
type TakeoverMode string

// The takeover modes of an app.
const (
	Exclusive TakeoverMode = "exclusive" // the old instance stops, then the new one starts (default)
	Overlap   TakeoverMode = "overlap"   // the new one starts, then the old one stops (as OTP)
	Never     TakeoverMode = "never"     // no automatic takeover; a command moves it exclusively
)

// RestartType says what the end of an app means for its node (OTP:
// application:start/2).
type RestartType string

// The restart types of OTP.
const (
	Temporary RestartType = "temporary" // reported only
	Transient RestartType = "transient" // an abnormal end ends the node
	Permanent RestartType = "permanent" // any end ends the node
)

// ParseRestartType accepts the three names of OTP.
func ParseRestartType(s string) (RestartType, error) {
	switch t := RestartType(s); t {
	case Temporary, Transient, Permanent:
		return t, nil
	}
	return "", fmt.Errorf("invalid restart type %q: expected permanent, transient or temporary", s)
}

// StartKind is the first argument of an app's start function (OTP:
// Module:start/2): normal, {failover, Node} or {takeover, Node}.
type StartKind string

// The start kinds of OTP.
const (
	StartNormal   StartKind = "normal"
	StartFailover StartKind = "failover"
	StartTakeover StartKind = "takeover"
)

// Phase is one start phase of an app (OTP: the key start_phases).
type Phase struct {
	Name string
	Args string // JSON, as the app receives it; may be empty
	Of   App    // an included app that has it (OTP: included_applications); empty: the app itself
}

// String is the name, of a part's with the part before it.
func (p Phase) String() string {
	if p.Of == "" {
		return p.Name
	}
	return string(p.Of) + ":" + p.Name
}

// Spec is what all nodes agree on about one distributed app. It is OTP's
// {App, Timeout, [Node | {Node, ...}]} with the parts of the app's definition
// that change decisions.
type Spec struct {
	App         App
	Timeout     Timeout
	Groups      [][]node.Name // priority order; nodes of one group are equals (a tuple)
	Takeover    TakeoverMode
	FullStart   bool // announce a failover as such even without start phases
	StartPhases []Phase
}

// Nodes lists the nodes of the spec in priority order, equals in the order
// they were written.
func (s *Spec) Nodes() []node.Name { return slices.Concat(s.Groups...) }

// Priority is the index of n's group: 0 is the best. ok is false for a node
// outside the list, which never runs the app (OTP rule: a start there only
// waits).
func (s *Spec) Priority(n node.Name) (group int, ok bool) {
	for i, g := range s.Groups {
		if slices.Contains(g, n) {
			return i, true
		}
	}
	return len(s.Groups), false
}

// Better reports whether a stands strictly before b in the list. A listed
// node is better than one that is not; equals of a tuple are not better than
// one another (OTP: an app is not moved within its tuple).
func (s *Spec) Better(a, b node.Name) bool {
	pa, _ := s.Priority(a)
	pb, _ := s.Priority(b)
	return pa < pb
}

// Canonical is a text that is equal for two specs exactly when nodes agree:
// the order of the list counts, the order inside a tuple does not.
func (s *Spec) Canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{%s,%s,[", s.App, s.Timeout)
	for i, g := range s.Groups {
		if i > 0 {
			b.WriteByte(',')
		}
		names := slices.Sorted(slices.Values(g))
		if len(names) == 1 {
			b.WriteString(string(names[0]))
			continue
		}
		b.WriteByte('{')
		for j, n := range names {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(string(n))
		}
		b.WriteByte('}')
	}
	fmt.Fprintf(&b, "],%s,full=%t,phases=[", s.Takeover, s.FullStart)
	for i, p := range s.StartPhases {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "{%s,%s", p.Name, p.Args)
		if p.Of != "" {
			fmt.Fprintf(&b, ",of %s", p.Of)
		}
		b.WriteByte('}')
	}
	b.WriteString("]}")
	return b.String()
}

// Term is the entry of distributed that s has in Erlang (OTP: kernel_app(6)).
func (s *Spec) Term() string {
	groups := make([]string, 0, len(s.Groups))
	for _, g := range s.Groups {
		names := make([]string, 0, len(g))
		for _, n := range slices.Sorted(slices.Values(g)) {
			names = append(names, string(n))
		}
		text := strings.Join(names, ",")
		if len(g) > 1 {
			text = "{" + text + "}"
		}
		groups = append(groups, text)
	}
	timeout := "infinity"
	if s.Timeout != Infinite {
		timeout = strconv.FormatInt(time.Duration(s.Timeout).Milliseconds(), 10)
	}
	return fmt.Sprintf("{%s,%s,[%s]}", s.App, timeout, strings.Join(groups, ","))
}

// Version is a short name for exactly this specification of the app: equal when
// Canonical is.
func (s *Spec) Version() string {
	sum := sha256.Sum256([]byte(s.Canonical()))
	return hex.EncodeToString(sum[:8])
}

// Digest is a text that is equal for two nodes exactly when they agree on what
// they must: the cluster's name, its voters, and every spec, sorted by app.
func Digest(cluster string, voters []node.Name, specs []Spec) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s\nvoters %v\n", cluster, slices.Compact(slices.Sorted(slices.Values(voters))))
	for i := range specs {
		b.WriteString(specs[i].Canonical() + "\n")
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}
