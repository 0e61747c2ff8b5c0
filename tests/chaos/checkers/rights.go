package checkers

import (
	"slices"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// Claims is I2.
func (h *History) Claims() (all []Violation) {
	for _, in := range h.Instances {
		if !slices.ContainsFunc(h.Records, func(r trace.Record) bool { return h.licenses(r.App, in) }) {
			all = append(all, broken("I2", "no record ever gave session %s the right to start %s", in.Session, in))
		}
	}
	return all
}

func (h *History) licenses(r *trace.AppRecord, in *trace.Instance) bool {
	if r == nil || r.App != in.App {
		return false
	}
	if r.Owner == in.Node && r.Session == in.Session && r.Epoch == in.Epoch {
		return true
	}
	n := r.Next
	return h.Modes[in.App] == Overlapping && n != nil && n.Node == in.Node && n.Session == in.Session && n.Epoch == in.Epoch
}

// Epochs is I3.
func (h *History) Epochs() (all []Violation) {
	last := map[string]*trace.Instance{}
	for _, in := range h.Instances {
		before := last[in.App]
		switch {
		case before == nil || in.Epoch > before.Epoch:
			last[in.App] = in
		case in.Epoch == before.Epoch && in.Session == before.Session:
		default:
			all = append(all, broken("I3", "%s began after %s", in, before))
		}
	}
	return append(all, h.highs()...)
}

// highs: the highest epoch of a record never falls, in another bucket either
// once it is known there.
func (h *History) highs() (all []Violation) {
	last := map[string]trace.Record{}
	for _, r := range h.sorted() {
		if r.App == nil {
			continue
		}
		before, ok := last[r.Key]
		if ok && before.Bucket == r.Bucket && r.App.High < before.App.High {
			all = append(all, broken("I3", "the highest epoch of %s falls from %d to %d at revision %d", r.App.App, before.App.High, r.App.High, r.Rev))
		}
		if r.App.Epoch > r.App.High || r.App.Next != nil && r.App.Next.Epoch > r.App.High {
			all = append(all, broken("I3", "an epoch of %s is above its highest, %d, at revision %d", r.App.App, r.App.High, r.Rev))
		}
		last[r.Key] = r
	}
	return all
}
