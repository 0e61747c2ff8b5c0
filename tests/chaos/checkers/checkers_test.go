package checkers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// second is the instant so many seconds after the beginning of a test's trace.
func second(s float64) trace.Instant { return trace.Instant(100e9 + s*1e9) }

// instance is one of "one" with a leader alone, from and until so many seconds;
// until 0 it is alive.
func instance(n string, epoch uint64, from, until float64) *trace.Instance {
	p := trace.Process{Proc: int(from * 1000), Role: trace.Leader, Begin: second(from)}
	if until != 0 {
		p.End = second(until)
	}
	return &trace.Instance{Hello: trace.Hello{App: "one", Node: n, Session: "s" + n, Epoch: epoch, Start: "normal"}, Procs: []trace.Process{p}}
}

func session(rev uint64, at float64, n, id, state string) trace.Record {
	return trace.Record{Rev: rev, At: second(at), Key: "node." + n, Node: &trace.NodeRecord{Name: n, Session: id, State: state}}
}

func owner(rev uint64, at float64, n, session string, epoch, high, srev uint64) trace.Record {
	return trace.Record{Rev: rev, At: second(at), Key: "app.one", App: &trace.AppRecord{App: "one", Owner: n, Session: session, Epoch: epoch, High: high, SRev: srev}}
}

// sound is a history in which b takes over from a, which was cut off.
func sound() *History {
	l := Lease{Fence: 2700 * time.Millisecond, Kill: 200 * time.Millisecond, Late: 100 * time.Millisecond}
	return &History{
		Modes:     map[string]string{"one": "exclusive"},
		Leases:    map[string]Lease{"a": l, "b": l},
		Instances: []*trace.Instance{instance("a", 1, 1, 6.8), instance("b", 2, 7.1, 0)},
		Records: []trace.Record{
			session(1, 0.5, "a", "sa", "live"), session(2, 0.5, "b", "sb", "live"),
			owner(3, 0.9, "a", "sa", 1, 1, 1),
			session(4, 4, "a", "sa", "live"), session(5, 8, "b", "sb", "live"),
			session(6, 7, "a", "sa", "expired"), owner(7, 7.05, "b", "sb", 2, 2, 2),
			session(8, 9, "b", "sb", "live"),
		},
		Now: second(9.5),
	}
}

func TestSoundHistoryIsAccepted(t *testing.T) {
	h := sound()
	if all := h.Check(); len(all) > 0 {
		t.Error(all)
	}
	took, all := h.Settle("one", second(7), time.Second, "b")
	if len(all) > 0 || took != 100*time.Millisecond {
		t.Error(took, all)
	}
	if gaps := h.Gaps("one"); len(gaps) != 1 || gaps[0].Length != 300*time.Millisecond {
		t.Error(gaps)
	}
}

// TestPlantedViolations: each way in which a history can be wrong is told by the
// rule that it breaks.
func TestPlantedViolations(t *testing.T) {
	for name, c := range map[string]struct {
		rule  string
		plant func(*History)
	}{
		"the old instance ends after the new one begins": {"I1", func(h *History) { h.Instances[0].Procs[0].End = second(7.2) }},
		"a child outlives the old instance": {"I1", func(h *History) {
			h.Instances[0].Procs = append(h.Instances[0].Procs, trace.Process{Proc: 9, Role: trace.Child, Begin: second(1.1)})
		}},
		"an overlap that nobody declared": {"I1", func(h *History) {
			h.Modes["one"] = Overlapping
			h.Instances[0].Procs[0].End = second(7.2)
		}},
		"a third one beside two that are declared": {"I1", func(h *History) {
			h.Modes["one"] = Overlapping
			b, c := instance("b", 2, 5, 6.7), instance("c", 3, 6, 6.7)
			b.Start, b.From, c.Start, c.From = "takeover", "a", "takeover", "b"
			h.Instances = []*trace.Instance{h.Instances[0], b, c, h.Instances[1]}
			h.Instances[3].Epoch = 4
		}},
		"a start that no record allows": {"I2", func(h *History) { h.Instances[1].Epoch = 3 }},
		"a start in another session":    {"I2", func(h *History) { h.Instances[1].Session = "sx" }},
		"an epoch goes back": {"I3", func(h *History) {
			h.Instances[1].Epoch = 0
			h.Records = append(h.Records, owner(9, 9.1, "b", "sb", 0, 2, 2))
		}},
		"one epoch for two claims":       {"I3", func(h *History) { h.Instances[1].Epoch = 1 }},
		"the highest epoch falls":        {"I3", func(h *History) { h.Records[6].App.High, h.Records[6].App.Epoch = 0, 0 }},
		"an epoch above the highest":     {"I3", func(h *History) { h.Records[6].App.High = 1 }},
		"an instance outlives its fence": {"I4", func(h *History) { h.Instances[0].Procs[0].End = second(7.01) }},
		"a session is expired too early": {"I8", func(h *History) { h.Records[5].At = second(6.6) }},
		"a certificate before the end": {"I8", func(h *History) {
			h.Records[5].Node.State, h.Records[5].At = "dead", second(6.7)
		}},
		"an ownership is taken from the living": {"I8", func(h *History) { h.Records = slices.Delete(h.Records, 5, 6) }},
		"an old session is taken for the end of a new one": {"I8", func(h *History) {
			h.Records[5] = session(2, 0.6, "a", "sold", "live") // below srev
			h.Records[2].App.SRev = 3
		}},
	} {
		h := sound()
		c.plant(h)
		all := h.Check()
		if !slices.ContainsFunc(all, func(v Violation) bool { return v.Rule == c.rule }) {
			t.Errorf("%s: no %s in %v", name, c.rule, all)
		}
	}
}

func TestDeclaredOverlapIsAccepted(t *testing.T) {
	h := sound()
	h.Modes["one"] = Overlapping
	h.Instances[1].Start, h.Instances[1].From = "takeover", "a"
	h.Instances[0].Procs[0].End = second(7.2)
	h.Records[3].At = second(4.6) // its lease is long enough for that
	for _, v := range h.Check() {
		if v.Rule == "I1" {
			t.Error(v)
		}
	}
}

// TestLeadersAlone: where it says so, only the executed process counts, and what
// is left of the others is listed.
func TestLeadersAlone(t *testing.T) {
	h := sound()
	h.Instances[0].Procs = append(h.Instances[0].Procs, trace.Process{Proc: 9, Role: trace.Child, Begin: second(1.1), End: second(8)})
	h.Leaders = func(in *trace.Instance) bool { return in.Node == "a" }
	if all := h.Check(); len(all) > 0 {
		t.Error(all)
	}
	if all := h.Orphans(time.Second); len(all) != 1 || all[0].Length != 1200*time.Millisecond {
		t.Error(all)
	}
}

// TestLagExcusesALateEndAlone: a machine that stood still is an excuse for the
// fence, as far as it goes, and none for two at once.
func TestLagExcusesALateEndAlone(t *testing.T) {
	h := sound()
	h.Instances[0].Procs[0].End = second(7.05)
	h.Lag = func(from, to trace.Instant) time.Duration { return 100 * time.Millisecond }
	if all := h.Check(); len(all) > 0 {
		t.Error(all)
	}
	h.Instances[0].Procs[0].End = second(7.2)
	rules := map[string]bool{}
	for _, v := range h.Check() {
		rules[v.Rule] = true
	}
	if !rules["I1"] || !rules["I4"] {
		t.Error(rules)
	}
}

func TestUnsettledIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		rule  string
		bound time.Duration
		best  string
		plant func(*History)
	}{
		"nobody runs":    {"I5", time.Second, "b", func(h *History) { h.Instances[1].Procs[0].End = second(9) }},
		"two run":        {"I5", time.Second, "b", func(h *History) { h.Instances[0].Procs[0].End = 0 }},
		"too late":       {"I5", 50 * time.Millisecond, "b", func(*History) {}},
		"on another one": {"I6", time.Second, "a", func(*History) {}},
	} {
		h := sound()
		c.plant(h)
		if _, all := h.Settle("one", second(7), c.bound, c.best); len(all) != 1 || all[0].Rule != c.rule {
			t.Errorf("%s: %v", name, all)
		}
	}
}

func TestEarlyStartBreaksTheBarrier(t *testing.T) {
	h := sound()
	if all := h.Barrier(second(0), second(1)); len(all) != 0 {
		t.Error(all)
	}
	if all := h.Barrier(second(0), second(2)); len(all) != 1 || all[0].Rule != "I7" {
		t.Error(all)
	}
}

// op is a compare-and-set from and until so many seconds.
func op(expect, value string, outcome trace.Outcome, from, until float64) trace.Op {
	return trace.Op{Expect: expect, New: value, Outcome: outcome, Call: second(from), Return: second(until)}
}

func TestLinear(t *testing.T) {
	for name, c := range map[string]struct {
		ops   []trace.Op
		sound bool
	}{
		"one after the other":                    {[]trace.Op{op("", "a", trace.OK, 1, 2), op("a", "b", trace.OK, 3, 4)}, true},
		"a refusal":                              {[]trace.Op{op("", "a", trace.OK, 1, 2), op("", "b", trace.Refused, 3, 4)}, true},
		"an unknown one that was applied late":   {[]trace.Op{op("", "a", trace.Unknown, 1, 2), op("a", "b", trace.OK, 5, 6)}, true},
		"an unknown one that nobody saw":         {[]trace.Op{op("", "a", trace.Unknown, 1, 2), op("", "b", trace.OK, 5, 6)}, true},
		"two win":                                {[]trace.Op{op("", "a", trace.OK, 1, 2), op("", "b", trace.OK, 1, 2)}, false},
		"an acknowledged one is lost":            {[]trace.Op{op("", "a", trace.OK, 1, 2), op("", "b", trace.OK, 3, 4), op("b", "c", trace.OK, 5, 6)}, false},
		"refused although it was the last value": {[]trace.Op{op("", "a", trace.OK, 1, 2), op("a", "b", trace.Refused, 3, 4)}, false},
		"an unknown one was applied and is lost": {[]trace.Op{op("", "a", trace.Unknown, 1, 2), op("a", "b", trace.OK, 3, 4), op("", "c", trace.OK, 5, 6)}, false},
	} {
		all := Linear(c.ops, 10*time.Second)
		if (len(all) == 0) != c.sound {
			t.Errorf("%s: %v", name, all)
		}
		for _, v := range all {
			if !strings.Contains(v.Detail, "no order") || !strings.Contains(v.Detail, "\n  stuck client 0: ") {
				t.Errorf("%s: %v", name, v)
			}
		}
	}
}
