package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/audit"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// ledger is what all agents of a life have to say, complete, as the event stream
// would have it.
type ledger struct {
	events []audit.Event
	n      map[checkers.Life]uint64
	still  map[policy.Nonce][]stretch // when an agent stood still
}

// stretch is a piece of real time; to is 0 while it lasts.
type stretch struct{ from, to Time }

// realBegin is the time of day at which every life begins.
var realBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// write adds a line. The time of day is the true one: clocks that lie are for
// the machines.
func (w *World) write(a *agent, h machine.History) {
	l := &w.ledger
	l.n[a.life]++
	l.events = append(l.events, audit.Event{
		Seq: uint64(len(l.events) + 1), Time: realBegin.Add(w.now), Type: h.Type, App: h.App, Node: h.Node, From: h.From,
		Epoch: h.Epoch, Detail: h.Detail, Session: h.Session, Claim: h.Claim, Run: uint64(h.Run), Op: string(h.Op),
		By: a.name, Life: lifeName(a.life), N: l.n[a.life], Clock: clockName(w, a), Mono: time.Duration(h.At), Sent: time.Duration(h.Sent),
	})
}

func lifeName(l checkers.Life) policy.Nonce { return policy.Nonce(fmt.Sprint("life", l)) }

func clockName(w *World, a *agent) string {
	return fmt.Sprintf("host%d.%d", slices.Index(w.hosts, a.host), a.host.boots)
}

// stands notes that an agent stands still, or goes on.
func (w *World) stands(a *agent, still bool) {
	name := lifeName(a.life)
	s := w.ledger.still[name]
	if still {
		s = append(s, stretch{from: w.now})
	} else if len(s) > 0 {
		s[len(s)-1].to = w.now
	}
	w.ledger.still[name] = s
}

// auditSkew is more than the drift of a clock makes of one request.
const auditSkew = 10 * time.Millisecond

// verify judges the ledger of a whole life as regent verify does: what the
// checkers did not see happen must not stand there. Of what a lost bucket may do
// to epochs the checkers know; and an agent that stood still learns late that
// its apps have ended.
func (w *World) verify() {
	r := audit.Check(w.ledger.events, nil, audit.Options{Skew: auditSkew})
	for _, f := range r.Findings {
		if w.check.Broken(f.App) || f.Kind == audit.Overlap && w.stoodStill(f.Evidence) {
			continue
		}
		var b strings.Builder
		for _, e := range f.Evidence {
			fmt.Fprintf(&b, "\n  %+v", e)
		}
		w.check.Fail("ledger", "%s: %s%s", f.Kind, f.Text, &b)
		return
	}
	for _, g := range r.Gaps {
		if strings.Contains(g.Text, "missing") {
			w.check.Fail("ledger", "%d: %s", g.Count, g.Text)
		}
	}
	w.Stats.Judged += r.Exact + r.TimeOfDay
	w.Stats.Unjudged += r.Unjudged
}

// stoodStill reports whether one of those who wrote the evidence stood still in
// the time that it is about.
func (w *World) stoodStill(evidence []audit.Event) bool {
	from, to := evidence[0].Time, evidence[0].Time
	for _, e := range evidence {
		if e.Time.Before(from) {
			from = e.Time
		}
		if e.Time.After(to) {
			to = e.Time
		}
	}
	for _, e := range evidence {
		for _, s := range w.ledger.still[e.Life] {
			if realBegin.Add(s.from).Before(to) && (s.to == 0 || realBegin.Add(s.to).After(from)) {
				return true
			}
		}
	}
	return false
}
