package checkers

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// Fences is I4.
func (h *History) Fences() (all []Violation) {
	renewed := map[string]trace.Instant{}
	for _, r := range h.Records {
		if r.Node != nil && r.Node.State == trace.Live {
			renewed[r.Node.Session] = max(renewed[r.Node.Session], r.At)
		}
	}
	for _, in := range h.Instances {
		at, ok := renewed[in.Session]
		l := h.Leases[in.Node]
		if !ok {
			all = append(all, broken("I4", "%s: session %s was never stored", in, in.Session))
			continue
		}
		late := h.end(in).Sub(at) - l.Fence - l.Kill - l.Late
		if h.Lag != nil && late > 0 {
			late -= h.Lag(at, h.end(in))
		}
		if late > 0 {
			all = append(all, broken("I4", "%s was there %v after its session's last right to be", in, late))
		}
	}
	return all
}

// Endings is I8, for sessions and for ownerships.
func (h *History) Endings() (all []Violation) {
	renewed := map[string]trace.Instant{}
	nodes := map[string][]trace.Record{} // of this bucket, by name
	apps := map[string]trace.Record{}
	bucket := 0
	for _, r := range h.sorted() {
		if r.Bucket != bucket { // nothing is known of what it was made of
			bucket = r.Bucket
			clear(nodes)
			clear(apps)
		}
		switch {
		case r.Node != nil:
			all = append(all, h.ending(r, renewed)...)
			nodes[r.Node.Name] = append(nodes[r.Node.Name], r)
		case r.App != nil:
			if before, ok := apps[r.Key]; ok {
				all = append(all, handOver(before, r, nodes)...)
			}
			apps[r.Key] = r
		}
	}
	return all
}

// ending checks one revision of a node's record.
func (h *History) ending(r trace.Record, renewed map[string]trace.Instant) (all []Violation) {
	s := r.Node.Session
	switch r.Node.State {
	case trace.Live:
		renewed[s] = max(renewed[s], r.At)
	case "expired":
		if at, ok := renewed[s]; ok && r.At.Sub(at) < h.Leases[r.Node.Name].Fence {
			all = append(all, broken("I8", "%s was expired %v after a renewal", r.Node.Name, r.At.Sub(at)))
		}
	case "dead", "closed":
		for _, in := range h.Instances {
			if in.Session == s && h.end(in) > r.At {
				all = append(all, broken("I8", "session %s is %s and %s was there for %v more", s, r.Node.State, in, h.end(in).Sub(r.At)))
			}
		}
	}
	return all
}

// handOver checks that an owner is replaced only when its session has ended,
// unless a successor was declared.
func handOver(before, after trace.Record, nodes map[string][]trace.Record) []Violation {
	was, is := before.App, after.App
	if was.Owner == "" || is.Owner == "" || was.Session == is.Session {
		return nil
	}
	if n := was.Next; n != nil && n.Session == is.Session && n.Epoch != 0 {
		return nil // an overlapping takeover: the old owner stands in prev
	}
	for _, r := range nodes[was.Owner] {
		same := r.Node.Session == was.Session
		if same && r.Node.State != trace.Live || !same && r.Rev > was.SRev {
			return nil
		}
	}
	return []Violation{broken("I8", "%s was taken from %s, whose session had not ended, at revision %d", is.App, was.Owner, after.Rev)}
}

// Barrier is I7: nothing begins before an instant.
func (h *History) Barrier(from, until trace.Instant) (all []Violation) {
	for _, in := range h.Instances {
		if begin := in.Begin(); from < begin && begin < until {
			all = append(all, broken("I7", "%s began %v before the barrier was over", in, until.Sub(begin)))
		}
	}
	return all
}

// Settle is I5 and I6 for one app: from some instant, no later than healed and
// bound, until the end of the history, one instance runs, on one of the best
// nodes (any, if there are none named). It tells how long that took.
func (h *History) Settle(app string, healed trace.Instant, bound time.Duration, best ...string) (took time.Duration, all []Violation) {
	settled := healed
	var on *trace.Instance
	running := 0
	for _, in := range h.Instances {
		if in.App != app {
			continue
		}
		settled = max(settled, in.Begin(), in.End())
		if in.End() == 0 {
			running, on = running+1, in
		}
	}
	took = settled.Sub(healed)
	switch {
	case running != 1:
		return took, []Violation{broken("I5", "%d instances of %s run %v after everything was healed", running, app, h.Now.Sub(healed))}
	case took > bound:
		all = append(all, broken("I5", "%s came to rest after %v, later than %v", app, took, bound))
	}
	if slices.Contains(best, on.Node) {
		return took, all
	}
	if len(best) > 0 {
		all = append(all, broken("I6", "%s is at rest, and should be on %v", on, best))
	}
	return took, all
}
