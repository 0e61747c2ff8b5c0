package specjson

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// App is one policy.Spec.
type App struct {
	App       policy.App          `json:"app"`
	TimeoutMS *int64              `json:"timeout_ms"`         // null: infinity
	Nodes     [][]node.Name       `json:"nodes"`              // in order of priority, equals together
	Takeover  policy.TakeoverMode `json:"takeover,omitempty"` // left out: exclusive
	FullStart bool                `json:"full_start,omitempty"`
	Phases    []Phase             `json:"start_phases,omitempty"`
}

// Phase is one policy.Phase.
type Phase struct {
	Name string     `json:"name"`
	Args string     `json:"args,omitempty"`
	Of   policy.App `json:"of,omitempty"` // an included app
}

// ErrSpec is wrapped by every error of this package (OTP:
// bad_distribution_spec).
var ErrSpec = errors.New("bad distribution spec")

// From is the JSON form of s.
func From(s policy.Spec) App {
	a := App{App: s.App, Nodes: s.Groups, FullStart: s.FullStart}
	if s.Takeover != policy.Exclusive {
		a.Takeover = s.Takeover
	}
	if s.Timeout != policy.Infinite {
		a.TimeoutMS = new(time.Duration(s.Timeout).Milliseconds())
	}
	for _, p := range s.StartPhases {
		a.Phases = append(a.Phases, Phase(p))
	}
	return a
}

// FromAll is From for each.
func FromAll(specs []policy.Spec) []App {
	out := make([]App, 0, len(specs))
	for _, s := range specs {
		out = append(out, From(s))
	}
	return out
}

// Spec is the specification that a describes.
func (a App) Spec() (policy.Spec, error) {
	s := policy.Spec{App: a.App, Timeout: policy.Infinite, Groups: a.Nodes, Takeover: a.Takeover, FullStart: a.FullStart}
	if s.Takeover == "" {
		s.Takeover = policy.Exclusive
	}
	for _, p := range a.Phases {
		s.StartPhases = append(s.StartPhases, policy.Phase(p))
	}
	if a.TimeoutMS != nil {
		if *a.TimeoutMS < 0 || *a.TimeoutMS > math.MaxInt64/int64(time.Millisecond) {
			return policy.Spec{}, fmt.Errorf("%w: %s: timeout of %d ms", ErrSpec, a.App, *a.TimeoutMS)
		}
		s.Timeout = policy.Timeout(time.Duration(*a.TimeoutMS) * time.Millisecond)
	}
	return s, Check(s)
}

// Specs is Spec for each, sorted by app. An app that is there twice is an error.
func Specs(apps []App) ([]policy.Spec, error) {
	var out []policy.Spec
	for _, a := range apps {
		s, err := a.Spec()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b policy.Spec) int { return strings.Compare(string(a.App), string(b.App)) })
	for i := 1; i < len(out); i++ {
		if out[i].App == out[i-1].App {
			return nil, fmt.Errorf("%w: %s is there twice", ErrSpec, out[i].App)
		}
	}
	return out, nil
}

// Check says whether s can be acted on.
func Check(s policy.Spec) error {
	if _, err := policy.ParseApp(string(s.App)); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if !slices.Contains([]policy.TakeoverMode{policy.Exclusive, policy.Overlap, policy.Never}, s.Takeover) {
		return fmt.Errorf("%w: %s: takeover %q", ErrSpec, s.App, s.Takeover)
	}
	if s.Timeout < 0 && s.Timeout != policy.Infinite {
		return fmt.Errorf("%w: %s: negative timeout", ErrSpec, s.App)
	}
	for _, p := range s.StartPhases {
		if _, err := policy.ParseApp(string(p.Of)); p.Of != "" && err != nil {
			return fmt.Errorf("%w: %s: start phase %s: %w", ErrSpec, s.App, p.Name, err)
		}
	}
	return checkNodes(s)
}

func checkNodes(s policy.Spec) error {
	names := s.Nodes()
	if len(names) == 0 || slices.ContainsFunc(s.Groups, func(g []node.Name) bool { return len(g) == 0 }) {
		return fmt.Errorf("%w: %s: an empty list of nodes", ErrSpec, s.App)
	}
	for i, n := range names {
		if _, err := node.Parse(string(n)); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSpec, s.App, err)
		}
		switch {
		case slices.Contains(names[:i], n):
			return fmt.Errorf("%w: %s: %s is repeated", ErrSpec, s.App, n)
		case n.Long() != names[0].Long():
			return fmt.Errorf("%w: %s: short and long node names", ErrSpec, s.App)
		}
	}
	return nil
}
