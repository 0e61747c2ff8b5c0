package audit

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// checkClaims: an epoch is given once, later ones are higher, and nobody claims
// whose session has ended.
func (h *history) checkClaims() {
	for _, a := range h.apps {
		byEpoch := slices.Clone(a.claims)
		slices.SortStableFunc(byEpoch, func(x, y *Event) int { return cmp.Compare(x.Epoch, y.Epoch) })
		for i := 1; i < len(byEpoch); i++ {
			x, y := byEpoch[i-1], byEpoch[i]
			if x.Epoch == y.Epoch && (x.Session != y.Session || x.Claim != y.Claim) {
				h.find(DoubleOwner, a.name, byClock, []*Event{x, y}, "epoch %d of %s was claimed by %s and by %s", x.Epoch, a.name, x.Node, y.Node)
			}
		}
		h.checkGrowth(a.name, "claimed", byEpoch)
		for _, c := range a.claims {
			h.checkAlive(c, "claimed "+string(a.name))
		}
	}
}

// checkGrowth looks for a lower epoch after a higher one. list is sorted by
// epoch. For each the earliest of all higher ones is enough, on its own clock
// and by the time of day.
func (h *history) checkGrowth(name policy.App, what string, list []*Event) {
	onClock := map[string]*Event{}
	var ever *Event
	for end := len(list); end > 0; {
		begin := end - 1
		for begin > 0 && list[begin-1].Epoch == list[end-1].Epoch {
			begin--
		}
		for _, low := range list[begin:end] {
			for _, high := range [...]*Event{onClock[low.Clock], ever} {
				if high == nil {
					continue
				}
				if o := h.before(learned(high), sent(low)); o != unknown {
					h.find(WentBack, name, o, []*Event{high, low}, "epoch %d of %s was %s by %s after epoch %d by %s", low.Epoch, name, what, low.Node, high.Epoch, high.Node)
					break
				}
			}
		}
		for _, e := range list[begin:end] {
			if was := onClock[e.Clock]; was == nil || e.Mono < was.Mono {
				onClock[e.Clock] = e
			}
			if ever == nil || learned(e).day().Before(learned(ever).day()) {
				ever = e
			}
		}
		end = begin
	}
}

// checkAlive: what was done in a session was done before its end.
func (h *history) checkAlive(e *Event, what string) {
	for _, end := range h.ends[e.Session] {
		if o := h.before(sent(end), learned(e)); o != unknown {
			h.find(AfterEnd, e.App, o, []*Event{end, e}, "%s %s by epoch %d %v after the end of its session (%s)", e.Node, what, e.Epoch, learned(e).day().Sub(sent(end).day()).Round(time.Microsecond), end.Type)
			return
		}
	}
}
