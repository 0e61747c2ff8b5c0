package scenario

import (
	"strings"
	"testing"
	"time"
)

// fake is an engine whose nodes do what a test says.
type fake struct {
	side   string
	events []Event
}

func (f *fake) Name() string                   { return f.side }
func (f *fake) Side() string                   { return f.side }
func (f *fake) Begin(*Scenario) (World, error) { return &fakeWorld{fake: f}, nil }

type fakeWorld struct {
	*fake
	now time.Duration
	at  int
}

func (w *fakeWorld) Do(st Statement) error {
	for _, n := range st.Nodes {
		if st.Verb == Up {
			w.events = append([]Event{{Kind: NodeUp, Node: n}}, w.events...)
		}
	}
	return nil
}
func (w *fakeWorld) Call(int, Statement, string) error { return nil }
func (w *fakeWorld) Now() time.Duration                { return w.now }
func (w *fakeWorld) Pass(d time.Duration) error        { w.now += d; return nil }
func (w *fakeWorld) Calm() time.Duration               { return 50 * time.Millisecond }
func (w *fakeWorld) Patience() time.Duration           { return time.Second }
func (w *fakeWorld) Close()                            {}
func (w *fakeWorld) Events() (out []Event) {
	out, w.at = w.events[w.at:], len(w.events)
	return out
}

func started(node, word string) []Event {
	return []Event{{At: 1, Kind: AppStart, Node: node, App: "myapp", Word: word}, {At: 2, Kind: AppStarted, Node: node, App: "myapp"}}
}

func parse(t *testing.T, lines string) *Scenario {
	t.Helper()
	s, err := Parse("x.scenario", "# t\nrules A-1\napp myapp 0s n1 n2\nup n1 n2\n"+lines)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func played(t *testing.T, s *Scenario, side string, events []Event) *Trace {
	t.Helper()
	trace, err := Play(&fake{side: side, events: events}, s)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// TestDifferencesNeedAnEntry: what differs without a line for each side is
// found, and what has them is not.
func TestDifferencesNeedAnEntry(t *testing.T) {
	s := parse(t, "")
	a, b := played(t, s, Erlang, started("n1", "normal")), played(t, s, Regent, started("n2", "normal"))
	if got := Differences(s, a, b); len(got) != 1 || !strings.Contains(got[0], "erlang: n1 start normal") || !strings.Contains(got[0], "regent: n2 start normal") {
		t.Errorf("differences: %q", got)
	}
	s = parse(t, "erlang[B-1] expect runs myapp n1\nregent[B-1] expect runs myapp n2")
	a, b = played(t, s, Erlang, started("n1", "normal")), played(t, s, Regent, started("n2", "normal"))
	if got := Differences(s, a, b); len(got) != 0 {
		t.Errorf("differences although they are expected: %q", got)
	}
	// Two engines of one side have no excuse.
	if got := Differences(s, b, played(t, parse(t, "erlang[B-1] expect runs myapp n2\nregent[B-1] expect runs myapp n1"), Regent, started("n1", "normal"))); len(got) != 1 {
		t.Errorf("differences of one side: %q", got)
	}
}

// TestEntriesAreAsserted: an entry whose difference is not there fails on the
// side that does not differ.
func TestEntriesAreAsserted(t *testing.T) {
	s := parse(t, "erlang[B-1] expect runs myapp n1\nregent[B-1] expect runs myapp n2")
	_, err := Play(&fake{side: Regent, events: started("n1", "normal")}, s)
	if err == nil || !strings.Contains(err.Error(), "x.scenario:6: \"regent[B-1] expect runs myapp n2\": it is: n1") {
		t.Errorf("error: %v", err)
	}
}

// TestMomentsAreNotEnough: what was expected still holds when all is calm.
func TestMomentsAreNotEnough(t *testing.T) {
	s := parse(t, "expect started myapp n1 normal\nexpect runs myapp n1")
	events := append(started("n1", "normal"), Event{At: 3, Kind: AppEnds, Node: "n1", App: "myapp"})
	w := &slow{fake: fake{side: Regent, events: events}}
	if _, err := Play(w, s); err == nil || !strings.Contains(err.Error(), "for a moment only: it is: nowhere") {
		t.Errorf("error: %v", err)
	}
}

// slow gives its last event only after some time.
type slow struct{ fake }

func (f *slow) Begin(*Scenario) (World, error) { return &slowWorld{fakeWorld{fake: &f.fake}}, nil }

type slowWorld struct{ fakeWorld }

func (w *slowWorld) Events() (out []Event) {
	until := len(w.events)
	if w.now < 30*time.Millisecond {
		until--
	}
	out, w.at = w.events[w.at:max(until, w.at)], max(until, w.at)
	return out
}
