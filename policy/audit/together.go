package audit

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// checkTogether looks for instances of one app that were there at once.
func (h *history) checkTogether() {
	for _, a := range h.apps {
		list := slices.Clone(a.instances)
		slices.SortFunc(list, func(x, y *instance) int {
			return cmp.Or(cmp.Compare(x.start.Epoch, y.start.Epoch), cmp.Compare(x.start.Life, y.start.Life), cmp.Compare(x.start.N, y.start.N))
		})
		h.checkMeetings(a.name, list)
		h.checkSuccessions(a.name, list)
	}
}

// meeting of two instances: the one of the lower epoch showed a sign of life
// after the other had begun. Whichever began first, that must not be: if it was
// the lower one, both were there; if it was the higher one, the lower must not
// have begun.
type meeting struct {
	x, y *instance
	o    order
}

// checkMeetings finds, for each instance, those of lower epochs that outlived
// its beginning. The latest signs of life are enough to find some, on its own
// clock and by the time of day. list is sorted by epoch.
func (h *history) checkMeetings(name policy.App, list []*instance) {
	onClock := map[string][]*instance{}
	var ever []*instance
	for i := 0; i < len(list); {
		same := i // those of one epoch are looked at together
		for same < len(list) && list[same].start.Epoch == list[i].start.Epoch {
			same++
		}
		for _, y := range list[i:same] {
			h.meet(name, y, append(slices.Clone(onClock[y.start.Clock]), ever...))
		}
		for _, x := range list[i:same] {
			onClock[x.start.Clock] = latest(onClock[x.start.Clock], x, func(e *Event) int64 { return int64(e.Mono) })
			ever = latest(ever, x, func(e *Event) int64 { return e.Time.UnixNano() })
		}
		i = same
	}
}

// latestMax is how many instances are kept to compare with: two that are
// declared, with their restarts in place, and whoever should not be there.
const latestMax = 6

// latest adds x to those with the latest signs of life.
func latest(list []*instance, x *instance, at func(*Event) int64) []*instance {
	list = append(list, x)
	slices.SortStableFunc(list, func(a, b *instance) int { return cmp.Compare(at(b.sign), at(a.sign)) })
	return list[:min(len(list), latestMax)]
}

// meet judges an instance against those that may have outlived its beginning.
func (h *history) meet(name policy.App, y *instance, others []*instance) {
	var met []meeting
	var claims []policy.Nonce
	for _, x := range others {
		o := h.before(learned(y.start), learned(x.sign))
		if o == unknown || slices.ContainsFunc(met, func(m meeting) bool { return m.x == x }) {
			continue
		}
		met = append(met, meeting{x, y, o})
		if !slices.Contains(claims, x.start.Claim) {
			claims = append(claims, x.start.Claim)
		}
	}
	// One that is declared is no violation, nor because of another that is not.
	// Two that are both declared beside y are.
	undeclared := slices.DeleteFunc(slices.Clone(met), func(m meeting) bool { return declared(m.x, y) })
	if len(claims) == 1 || len(undeclared) > 0 {
		met = undeclared
	}
	for _, m := range met {
		switch {
		case y.claim == nil:
			h.gap(1, "instances that may have been declared beside another one by a claim that is missing")
		default:
			h.findMeeting(name, m, len(claims) > 1)
		}
	}
}

func (h *history) findMeeting(name policy.App, m meeting, third bool) {
	x, y := m.x, m.y
	beside := ""
	if third {
		beside = ", beside a third"
	}
	h.find(Overlap, name, m.o, []*Event{x.start, y.start, x.sign}, "%s ran on %s (epoch %d) for at least %v after it had begun on %s (epoch %d)%s",
		name, x.start.Node, x.start.Epoch, since(y.start, x.sign).Round(time.Microsecond), y.start.Node, y.start.Epoch, beside)
}

// since is how long after a b was, by their clock if they have one.
func since(a, b *Event) time.Duration {
	if oneClock(a, b) {
		return b.Mono - a.Mono
	}
	return b.Time.Sub(a.Time)
}

// checkSuccessions asks, for each instance and the next one, what shows that the
// first had ended. list is sorted by epoch.
func (h *history) checkSuccessions(name policy.App, list []*instance) {
	for i, x := range list {
		if i == len(list)-1 {
			if x.end == nil && h.ends[x.start.Session] == nil {
				h.report.Running++
			}
			break
		}
		y := list[i+1]
		switch {
		case declared(x, y):
			h.report.Exact++
		case x.end != nil && x.start.Life == y.start.Life && y.start.N < x.end.N && x.start.Epoch == y.start.Epoch:
			h.find(Overlap, name, byClock, []*Event{x.start, y.start, x.end}, "%s started %s twice (epoch %d): the first had not ended", x.start.Node, name, x.start.Epoch)
		case x.end != nil && y.claim == nil && h.before(learned(y.start), learned(x.end)) != unknown:
			h.report.Unjudged++ // it may have been declared
		case x.end != nil:
			h.count(h.before(learned(x.end), learned(y.start)), x.end, y.start)
		default:
			h.checkEnd(name, x, y)
		}
	}
}

// count says how two moments were compared. Those that are not in order have
// been found by then.
func (h *history) count(o order, a, b *Event) {
	if o == byClock || oneClock(a, b) {
		h.report.Exact++
	} else {
		h.report.TimeOfDay++
	}
}

// checkEnd: nothing records the end of x. It ended with its session, if that is
// recorded; and if its own life goes on without having ended it, it did not.
func (h *history) checkEnd(name policy.App, x, y *instance) {
	l := h.lifeOf[x.start.Life]
	if x.start.Life == y.start.Life {
		if x.start.N < y.start.N && l.missing(x.start.N, y.start.N) == 0 {
			h.find(Overlap, name, byClock, []*Event{x.start, y.start}, "%s started %s twice (epochs %d and %d) and nothing ended between", x.start.Node, name, x.start.Epoch, y.start.Epoch)
			return
		}
		h.unended()
		return
	}
	if h.checkProof(x, y) {
		return
	}
	if late := h.later(l, x, y); late != nil && y.claim != nil {
		o := h.before(learned(y.start), learned(late))
		h.find(Overlap, name, o, []*Event{x.start, y.start, late}, "%s ran on %s (epoch %d) when %s began on %s (epoch %d): its node's session went on and it had not ended",
			name, x.start.Node, x.start.Epoch, name, y.start.Node, y.start.Epoch)
		return
	}
	h.unended()
}

func (h *history) unended() {
	h.report.Unjudged++
	h.gap(1, "instances whose end is not recorded, and neither is that of their session")
}

// checkProof reports whether the end of x's session is recorded, and not after y
// began.
func (h *history) checkProof(x, y *instance) bool {
	var open *Event
	for _, end := range h.ends[x.start.Session] {
		if o := h.before(sent(end), learned(y.start)); o != unknown {
			h.count(o, end, y.start)
			return true
		}
		if h.before(learned(y.start), sent(end)) == unknown {
			open = end // as far as can be told
		}
	}
	if open != nil {
		h.count(unknown, open, y.start)
	}
	return open != nil
}

// later is an event of x's life, in x's session and after y began, if nothing of
// that life is missing up to there.
func (h *history) later(l *life, x, y *instance) *Event {
	i := l.at[x.start.N]
	for j := i + 1; j < len(l.lines); j++ {
		e := l.lines[j]
		if e.N != l.lines[j-1].N+1 {
			return nil
		}
		if e.Session == x.start.Session && e.Type != typeStarting && h.before(learned(y.start), learned(e)) != unknown {
			return e
		}
	}
	return nil
}
