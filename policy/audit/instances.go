package audit

import (
	"cmp"
	"slices"

	"github.com/seed7529eb29/regent/policy"
)

// checkInstances: each has a claim that is its own, made before it and in a
// session that had not ended; and those of later claims have higher epochs.
func (h *history) checkInstances() {
	for _, a := range h.apps {
		var first []*Event
		claims, begun := a.index()
		for _, in := range a.instances {
			s := in.start
			in.again = begun[startOf{s.Life, s.Claim}] < s.N
			h.checkClaim(a, in, claims[s.Epoch])
			h.checkAlive(in.start, "started "+string(a.name))
			if c := in.claim; c != nil && c.Life == in.start.Life && !in.again && h.lifeOf[c.Life].missing(c.N, in.start.N) == 0 {
				first = append(first, in.start) // certainly no restart in place
			}
		}
		slices.SortStableFunc(first, func(x, y *Event) int { return cmp.Compare(x.Epoch, y.Epoch) })
		h.checkGrowth(a.name, "started", first)
	}
}

// startOf is a claim by which a life starts instances.
type startOf struct{ life, claim policy.Nonce }

// index finds the claims of each epoch, and the number of the first start by
// each claim.
func (a *app) index() (claims map[policy.Epoch][]*Event, begun map[startOf]uint64) {
	claims, begun = map[policy.Epoch][]*Event{}, map[startOf]uint64{}
	for _, c := range a.claims {
		claims[c.Epoch] = append(claims[c.Epoch], c)
	}
	for _, in := range a.instances {
		by := startOf{in.start.Life, in.start.Claim}
		if n, known := begun[by]; !known || in.start.N < n {
			begun[by] = in.start.N
		}
	}
	return claims, begun
}

// checkClaim finds the claim of an instance. That none is recorded means
// something only if nothing of its life is missing before it.
func (h *history) checkClaim(a *app, in *instance, claims []*Event) {
	s := in.start
	var other *Event
	for _, c := range claims {
		switch {
		case c.Session != s.Session || c.Claim != s.Claim:
			other = c
		case c.Life != s.Life || c.N < s.N:
			in.claim = c
		}
	}
	switch missing := h.lifeOf[s.Life].missing(0, s.N); {
	case in.claim != nil:
	case other != nil:
		h.find(DoubleOwner, a.name, byClock, []*Event{other, s}, "%s started %s by epoch %d, which is %s's", s.Node, a.name, s.Epoch, other.Node)
	case missing > 0:
		h.gap(1, "instances whose claim would be among events that are missing")
	default:
		h.find(WithoutClaim, a.name, byClock, []*Event{s}, "%s started %s by epoch %d and had not claimed it", s.Node, a.name, s.Epoch)
	}
}

// declared reports whether two instances may be there at once: one has a
// reservation from the node of the other (takeover: overlap). The claim of the
// higher epoch says so.
func declared(x, y *instance) bool {
	if x.start.Epoch > y.start.Epoch {
		x, y = y, x
	}
	c := y.claim
	return c != nil && c.Op == opReserve && c.From == x.start.Node && x.start.Node != y.start.Node
}
