package checkers

import (
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// Overlap is two instances of one app of which processes were alive at once.
type Overlap struct {
	First, Second *trace.Instance
	Length        time.Duration
	Declared      bool // an overlapping takeover
}

func (o Overlap) String() string {
	return fmt.Sprintf("%s ran for %v beside %s", o.Second, o.Length, o.First)
}

// Together lists all overlaps.
func (h *History) Together() (all []Overlap) {
	for i, a := range h.Instances {
		beside := 0
		for _, b := range h.Instances[i+1:] {
			if b.App != a.App {
				continue
			}
			length := min(h.end(a), h.end(b)).Sub(b.Begin())
			if length <= 0 {
				continue
			}
			beside++
			o := Overlap{First: a, Second: b, Length: length}
			o.Declared = h.Modes[a.App] == Overlapping && b.Start == "takeover" && b.From == a.Node && b.Node != a.Node && beside == 1
			all = append(all, o)
		}
	}
	return h.undeclare(all)
}

// undeclare: three at once are not declared, whatever each pair may be.
func (h *History) undeclare(all []Overlap) []Overlap {
	for i := range all {
		at, n := all[i].Second.Begin(), 0
		for _, in := range h.Instances {
			if in.App == all[i].First.App && in.Begin() <= at && at < h.end(in) {
				n++
			}
		}
		if n > 2 {
			all[i].Declared = false
		}
	}
	return all
}

// Orphan is a process that was alive after its leader.
type Orphan struct {
	Of     *trace.Instance
	Length time.Duration
}

// Orphans lists the processes that were alive for longer than grace after the
// one that the node executed.
func (h *History) Orphans(grace time.Duration) (all []Orphan) {
	for _, in := range h.Instances {
		lead, ok := in.Leading()
		if !ok || lead.End == 0 {
			continue
		}
		for _, p := range in.Procs {
			end := p.End
			if end == 0 {
				end = h.Now
			}
			if length := end.Sub(lead.End); length > grace {
				all = append(all, Orphan{in, length})
			}
		}
	}
	return all
}

// Gap is a time in which nobody ran an app, between two instances.
type Gap struct {
	Before, After *trace.Instance
	Length        time.Duration
}

// Gaps lists the times in which nobody ran an app.
func (h *History) Gaps(app string) (all []Gap) {
	var last *trace.Instance
	for _, in := range h.Instances {
		if in.App != app {
			continue
		}
		if last != nil && h.end(last) < in.Begin() {
			all = append(all, Gap{last, in, in.Begin().Sub(h.end(last))})
		}
		if last == nil || h.end(in) > h.end(last) {
			last = in
		}
	}
	return all
}
