package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// history is everything that is judged, in an order that depends on nothing but
// its contents.
type history struct {
	opts   Options
	events []Event // by sequence
	lives  []*life // in order of their first event
	lifeOf map[policy.Nonce]*life
	ends   map[policy.Session][]*Event // that say that a session is over
	apps   []*app                      // in order of their first event
	appOf  map[policy.App]*app
	report Report
	mute   int // events that say too little to judge by
}

// life is one process that wrote events.
type life struct {
	node  node.Name
	lines []*Event // by number
	at    map[uint64]int
}

// app is what happened to one app of the cluster.
type app struct {
	name      policy.App
	claims    []*Event
	instances []*instance
}

// instance is one run, from the order to start it until all its processes were
// confirmed gone.
type instance struct {
	start *Event
	end   *Event // nil: none is recorded
	sign  *Event // the last that shows it alive, or its end
	claim *Event // nil: none is recorded
	again bool   // not the first by its claim: a restart in place
}

// runOf names an instance.
type runOf struct {
	life policy.Nonce
	run  uint64
}

func newHistory(events []Event, opts Options) *history {
	h := &history{
		opts: opts, lifeOf: map[policy.Nonce]*life{},
		ends: map[policy.Session][]*Event{}, appOf: map[policy.App]*app{},
	}
	h.events = slices.Clone(events)
	slices.SortStableFunc(h.events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	h.dropRepetitions()
	for i := range h.events {
		h.sort(&h.events[i])
	}
	for _, l := range h.lives {
		slices.SortFunc(l.lines, func(a, b *Event) int { return cmp.Compare(a.N, b.N) })
		l.at = make(map[uint64]int, len(l.lines))
		for i, e := range l.lines {
			l.at[e.N] = i
		}
	}
	h.findRuns()
	return h
}

// dropRepetitions: what was written twice, because the first answer was lost,
// has one number.
func (h *history) dropRepetitions() {
	type line struct {
		life policy.Nonce
		n    uint64
	}
	seen := map[line]bool{}
	h.events = slices.DeleteFunc(h.events, func(e Event) bool {
		if e.Life == "" || e.N == 0 {
			return false
		}
		was := seen[line{e.Life, e.N}]
		seen[line{e.Life, e.N}] = true
		return was
	})
}

// sort puts an event where it belongs.
func (h *history) sort(e *Event) {
	if e.Life == "" || e.N == 0 || e.Clock == "" {
		if e.evidence() {
			h.mute++
		}
		return
	}
	l := h.lifeOf[e.Life]
	if l == nil {
		l = &life{node: e.By}
		h.lifeOf[e.Life] = l
		h.lives = append(h.lives, l)
	}
	l.lines = append(l.lines, e)
	switch e.Type {
	case typeFenced, typeCertified, typeDown, typeLeft:
		if e.Session != "" {
			h.ends[e.Session] = append(h.ends[e.Session], e)
		}
	case typeClaimed:
		a := h.app(e.App)
		a.claims = append(a.claims, e)
	}
}

// evidence reports whether an event of this type is judged at all.
func (e *Event) evidence() bool {
	switch e.Type {
	case typeClaimed, typeStarting, typeStopped, typeExited, typeStartFailed, typeFenced, typeCertified:
		return true
	}
	return false
}

func (h *history) app(name policy.App) *app {
	a := h.appOf[name]
	if a == nil {
		a = &app{name: name}
		h.appOf[name] = a
		h.apps = append(h.apps, a)
	}
	return a
}

// findRuns puts together the events of each instance.
func (h *history) findRuns() {
	runs := map[runOf]*instance{}
	for _, l := range h.lives {
		for _, e := range l.lines {
			if e.Session == "" || e.Run == 0 {
				continue // of an app that is not the cluster's, or of no instance
			}
			id := runOf{e.Life, e.Run}
			in := runs[id]
			switch e.Type {
			case typeStarting:
				if in == nil {
					in = &instance{start: e, sign: e}
					runs[id] = in
					a := h.app(e.App)
					a.instances = append(a.instances, in)
				}
			case typeStarted, typeStopping:
				if in != nil {
					in.sign = e
				}
			case typeStopped, typeExited, typeStartFailed:
				if in != nil {
					in.end, in.sign = e, e
				}
			}
		}
	}
}

// missing is how many events of a life between two numbers, both excluded, are
// not there.
func (l *life) missing(after, before uint64) uint64 {
	if before <= after+1 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(l.lines, after+1, func(e *Event, n uint64) int { return cmp.Compare(e.N, n) })
	j, _ := slices.BinarySearchFunc(l.lines, before, func(e *Event, n uint64) int { return cmp.Compare(e.N, n) })
	return before - after - 1 - uint64(j-i)
}

// last is the latest number of a life.
func (l *life) last() uint64 { return l.lines[len(l.lines)-1].N }

// order is what is known of two moments.
type order int

const (
	unknown order = iota
	byClock       // the first was earlier: by one clock, or by one life's numbers
	byDay         // the first was earlier by the time of day, by more than Skew
)

// moment is when something happened, as somebody saw it.
type moment struct {
	e    *Event
	mono time.Duration
}

// learned is when an event was learned; sent is when what it reports was sent,
// which is the earliest that it can have been true.
func learned(e *Event) moment { return moment{e, e.Mono} }

func sent(e *Event) moment {
	if e.Sent == 0 {
		return moment{e, e.Mono}
	}
	return moment{e, e.Sent}
}

// day is a moment by the time of day.
func (m moment) day() time.Time { return m.e.Time.Add(m.mono - m.e.Mono) }

// before reports whether a was certainly earlier than b.
func (h *history) before(a, b moment) order {
	switch {
	case a.e.Life == b.e.Life && a.e.N != b.e.N:
		if a.e.N < b.e.N {
			return byClock
		}
	case a.e.Clock == b.e.Clock:
		if a.mono < b.mono {
			return byClock
		}
	case a.day().Add(h.opts.Skew).Before(b.day()):
		return byDay
	}
	return unknown
}

// oneClock reports whether two events have one clock.
func oneClock(a, b *Event) bool { return a.Life == b.Life || a.Clock == b.Clock }

func (h *history) find(kind Kind, app policy.App, o order, evidence []*Event, format string, args ...any) {
	f := Finding{Kind: kind, App: app, Exact: o != byDay, Text: fmt.Sprintf(format, args...)}
	for _, e := range evidence {
		f.Evidence = append(f.Evidence, *e)
	}
	h.report.Findings = append(h.report.Findings, f)
}

// gap counts something that can't be judged.
func (h *history) gap(n int, text string) {
	if n == 0 {
		return
	}
	i := slices.IndexFunc(h.report.Gaps, func(g Gap) bool { return g.Text == text })
	if i < 0 {
		h.report.Gaps = append(h.report.Gaps, Gap{Text: text, Count: n})
		return
	}
	h.report.Gaps[i].Count += n
}
