package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// Violation is one broken invariant.
type Violation struct {
	Rule   string
	Detail string
}

func (v Violation) String() string { return v.Rule + ": " + v.Detail }

func broken(rule, format string, args ...any) Violation {
	return Violation{rule, fmt.Sprintf(format, args...)}
}

// Overlapping is the mode of apps whose successor starts first.
const Overlapping = "overlap"

// Lease is what bounds the instances of one node.
type Lease struct {
	Fence time.Duration // from a renewal to the end of the right to act
	Kill  time.Duration // from there until the processes are gone
	Late  time.Duration // lateness of a timer
}

// History is everything that was seen.
type History struct {
	Modes     map[string]string // of takeover, by app
	Instances []*trace.Instance // in the order of their begin
	Records   []trace.Record    // in any order
	Leases    map[string]Lease  // by node
	Now       trace.Instant     // end of the history

	// Lag is how long the machine itself stood still at some time between two
	// instants; nil: never. That processes end within Kill is an assumption
	// about a machine which does not.
	Lag func(from, to trace.Instant) time.Duration

	// Leaders says which instances are judged by the process alone that the
	// node executed; nil: none. Of what that one has started nothing is
	// promised where node and warden are lost together; Orphans lists it.
	Leaders func(*trace.Instance) bool
}

// sorted are the records as they were stored.
func (h *History) sorted() []trace.Record {
	return slices.SortedFunc(slices.Values(h.Records), func(a, b trace.Record) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Rev, b.Rev))
	})
}

// end is when an instance was gone; the end of the history if it is there.
func (h *History) end(in *trace.Instance) trace.Instant {
	if p, ok := in.Leading(); ok && h.Leaders != nil && h.Leaders(in) {
		return cmp.Or(p.End, h.Now)
	}
	if end := in.End(); end != 0 {
		return end
	}
	return h.Now
}

// Check checks everything that needs no more than the history.
func (h *History) Check() []Violation {
	return slices.Concat(h.together(), h.Claims(), h.Epochs(), h.Fences(), h.Endings())
}

func (h *History) together() (all []Violation) {
	for _, o := range h.Together() {
		if !o.Declared {
			all = append(all, broken("I1", "%s", o))
		}
	}
	return all
}
