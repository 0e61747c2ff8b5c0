package policy

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy/node"
)

func TestParseApp(t *testing.T) {
	for _, ok := range []string{"myapp", "A", "a1_b@c-d", strings.Repeat("x", 128)} {
		if a, err := ParseApp(ok); err != nil || string(a) != ok {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "1a", "_a", "a.b", "a b", "aé", "a\x00", "a*", strings.Repeat("x", 129)} {
		if _, err := ParseApp(bad); !errors.Is(err, ErrApp) {
			t.Errorf("%q: %v, want ErrApp", bad, err)
		}
	}
}

var spec = Spec{App: "myapp", Groups: [][]node.Name{{"n1@h"}, {"n2@h", "n3@h"}, {"n4@h"}}, Takeover: Exclusive}

func TestPriority(t *testing.T) {
	for n, want := range map[node.Name]int{"n1@h": 0, "n2@h": 1, "n3@h": 1, "n4@h": 2, "x@h": 3} {
		if got, listed := spec.Priority(n); got != want || listed != (n != "x@h") {
			t.Errorf("%s: %d, listed %t", n, got, listed)
		}
	}
	if !spec.Better("n1@h", "n2@h") || spec.Better("n2@h", "n3@h") || spec.Better("n3@h", "n2@h") || !spec.Better("n4@h", "x@h") {
		t.Error("Better is not the order of the list with equals in a tuple (A-38)")
	}
}

// the first group with a candidate, in it the least weight, then the
// least name; A-38: who runs it stays among its equals.
func TestPlace(t *testing.T) {
	c := func(n node.Name, w int) Candidate { return Candidate{n, w} }
	for _, tt := range []struct {
		name    string
		in      []Candidate
		current node.Name
		want    node.Name
	}{
		{"nobody", nil, "", ""},
		{"nobody of the list", []Candidate{c("x@h", 0)}, "x@h", ""},
		{"the first of the list, whatever its weight", []Candidate{c("n4@h", 0), c("n1@h", 9), c("n2@h", 0)}, "", "n1@h"},
		{"least weight among equals", []Candidate{c("n2@h", 2), c("n3@h", 1)}, "", "n3@h"},
		{"least name at equal weight", []Candidate{c("n3@h", 1), c("n2@h", 1)}, "", "n2@h"},
		{"stays among equals", []Candidate{c("n2@h", 0), c("n3@h", 5)}, "n3@h", "n3@h"},
		{"does not stay below a better group", []Candidate{c("n1@h", 5), c("n3@h", 0)}, "n3@h", "n1@h"},
		{"the last resort", []Candidate{c("n4@h", 7)}, "", "n4@h"},
	} {
		if got := Place(&spec, tt.in, tt.current); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The order in which a tuple is written, or candidates are heard, changes
// nothing.
func TestPlaceIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cs []Candidate
		for _, n := range spec.Nodes() {
			if rapid.Bool().Draw(t, "candidate") {
				cs = append(cs, Candidate{n, rapid.IntRange(0, 3).Draw(t, "weight")})
			}
		}
		want := Place(&spec, cs, "")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 1))
		r.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
		other := spec
		other.Groups = [][]node.Name{{"n1@h"}, {"n3@h", "n2@h"}, {"n4@h"}}
		if got := Place(&other, cs, ""); got != want {
			t.Fatalf("%v: %q and %q", cs, got, want)
		}
		if other.Canonical() != spec.Canonical() {
			t.Fatal("the order inside a tuple is no difference (A-6)")
		}
	})
}

func TestCanonicalShowsEveryDifference(t *testing.T) {
	seen := map[string]string{spec.Canonical(): "the spec itself"}
	for what, change := range map[string]func(*Spec){
		"timeout":    func(s *Spec) { s.Timeout = Timeout(time.Second) },
		"infinity":   func(s *Spec) { s.Timeout = Infinite },
		"order":      func(s *Spec) { s.Groups = [][]node.Name{{"n2@h", "n3@h"}, {"n1@h"}, {"n4@h"}} },
		"grouping":   func(s *Spec) { s.Groups = [][]node.Name{{"n1@h"}, {"n2@h"}, {"n3@h"}, {"n4@h"}} },
		"takeover":   func(s *Spec) { s.Takeover = Overlap },
		"start type": func(s *Spec) { s.FullStart = true },
		"phases":     func(s *Spec) { s.StartPhases = []Phase{{Name: "init"}} },
		"a part":     func(s *Spec) { s.StartPhases = []Phase{{Name: "init"}, {Name: "init", Of: "db"}} },
		"its name":   func(s *Spec) { s.StartPhases = []Phase{{Name: "init"}, {Name: "db:init"}} },
	} {
		other := spec
		change(&other)
		if before, twice := seen[other.Canonical()]; twice {
			t.Errorf("%s looks like %s", what, before)
		}
		seen[other.Canonical()] = what
	}
}

// The only proof of death: the session itself not live, or another session in
// its place at a higher revision. Never the name, never an absent cell.
func TestEnded(t *testing.T) {
	s := Slot{Node: "n1@h", Session: "u", SRev: 10}
	cell := func(rev Revision, session Session, state SessionState) Cell {
		return Cell{Rev: rev, Node: &SessionRecord{Node: "n1@h", Session: session, State: state}}
	}
	for _, tt := range []struct {
		name string
		slot Slot
		cell Cell
		want bool
	}{
		{"live", s, cell(12, "u", SessionLive), false},
		{"expired", s, cell(12, "u", SessionExpired), true},
		{"closed", s, cell(12, "u", SessionClosed), true},
		{"dead", s, cell(12, "u", SessionDead), true},
		{"another session, later", s, cell(11, "v", SessionLive), true},
		{"another session, at that revision", s, cell(10, "v", SessionLive), false},
		{"an older session, not live, seen late", s, cell(9, "v", SessionExpired), false},
		{"absent", s, Cell{}, false},
		{"damaged", s, Cell{Rev: 99, Damaged: "garbage"}, false},
		{"another node's cell", Slot{Node: "n2@h", Session: "u", SRev: 1}, cell(12, "u", SessionDead), false},
		{"nobody", Slot{}, cell(12, "u", SessionDead), false},
	} {
		if got := tt.slot.Ended(tt.cell); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// The figures of the protocol: 2.69 s of 3 s, and what is left for an outage.
func TestFence(t *testing.T) {
	for _, tt := range []struct {
		ttl, outage, fence, left time.Duration
	}{
		{EmbeddedTTL, EmbeddedKVOutage, 2690 * time.Millisecond, 1390 * time.Millisecond},
		{ExternalTTL, ExternalKVOutage, 19660 * time.Millisecond, 10990 * time.Millisecond},
	} {
		l := NewLease(tt.ttl, tt.outage)
		if err := l.Validate(); err != nil {
			t.Errorf("%v: %v", tt.ttl, err)
		}
		if f := l.Fence(); (f - tt.fence).Abs() > 10*time.Millisecond {
			t.Errorf("%v: fence %v, want about %v", tt.ttl, f, tt.fence)
		}
		if left := l.Fence() - l.Renew - 2*l.Request; (left - tt.left).Abs() > 10*time.Millisecond {
			t.Errorf("%v: %v left for an outage, want about %v", tt.ttl, left, tt.left)
		}
	}
	if err := NewLease(2*time.Second, EmbeddedKVOutage).Validate(); err == nil || !strings.Contains(err.Error(), "kv_outage") {
		t.Errorf("2 s: %v, want a refusal that names kv_outage", err)
	}
}

// The holder's processes are gone before any observer may expire the session,
// with both clocks as wrong as is assumed.
func TestFenceHoldsAtTheLimitOfDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(t, "ttl"))
		l := NewLease(ttl, 0)
		slow := float64(l.Fence()+l.Kill+l.Late) / (1 - 0.001) // holder's clock is slow: its fence lasts longer
		fast := float64(ttl) / (1 + 0.001)                     // observer's is fast
		if slow > fast+float64(l.Kill+l.Late)*0.003 {
			t.Fatalf("ttl %v: gone after %v, expired after %v", ttl, time.Duration(slow), time.Duration(fast))
		}
	})
}

func TestKeys(t *testing.T) {
	if k := AppKey("my@app").String(); k != "app.my=40app" {
		t.Error(k)
	}
	if k := NodeKey("node1@lxw").String(); k != "node.node1=40lxw" {
		t.Error(k)
	}
}

func TestParseRestartType(t *testing.T) {
	for _, r := range []RestartType{Permanent, Transient, Temporary} {
		if got, err := ParseRestartType(string(r)); err != nil || got != r {
			t.Errorf("%s: %v", r, err)
		}
	}
	if _, err := ParseRestartType("forever"); err == nil {
		t.Error("forever is accepted")
	}
	if !slices.IsSorted([]Outcome{OutcomeUnknown, OutcomeOK, OutcomeRefused}) || OutcomeUnknown.String() != "unknown" {
		t.Error("the zero outcome must be unknown")
	}
}

// B-15: one node's entry is changed, the others stay; a node that is not named
// has what its configuration says.
func TestPermitRecord(t *testing.T) {
	var none *PermitRecord
	if _, said := none.Of("n1@h"); said {
		t.Error("no record says something")
	}
	a := (&PermitRecord{App: "a"}).With(NodePermit{"n2@h", true})
	b := a.With(NodePermit{"n1@h", false}).With(NodePermit{"n2@h", false})
	for n, want := range map[node.Name][2]bool{"n1@h": {false, true}, "n2@h": {false, true}, "n3@h": {false, false}} {
		if permitted, said := b.Of(n); permitted != want[0] || said != want[1] {
			t.Errorf("%s: %t, %t", n, permitted, said)
		}
	}
	if permitted, said := a.Of("n2@h"); !permitted || !said || len(a.Nodes) != 1 {
		t.Errorf("With changed its receiver: %+v", a)
	}
}

// what was loaded stands over what the files say.
func TestEffectiveSpecs(t *testing.T) {
	s := func(a App, t time.Duration) Spec { return Spec{App: a, Timeout: Timeout(t)} }
	r := SpecRecord{Specs: []Spec{s("a", 1), s("c", 1)}, Loaded: []Spec{s("b", 2), s("c", 2)}}
	var got []string
	for _, e := range r.Effective() {
		got = append(got, string(e.App)+e.Timeout.String())
		if one := r.Spec(e.App); one == nil || one.Timeout != e.Timeout {
			t.Errorf("%s: %v", e.App, one)
		}
	}
	if want := []string{"a1ns", "b2ns", "c2ns"}; !slices.Equal(got, want) || r.Specs[1].Timeout != 1 || r.Spec("d") != nil {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTerm(t *testing.T) {
	if got := spec.Term(); got != "{myapp,0,[n1@h,{n2@h,n3@h},n4@h]}" {
		t.Error(got)
	}
	if got := (&Spec{App: "a", Timeout: Infinite, Groups: [][]node.Name{{"n@h"}}}).Term(); got != "{a,infinity,[n@h]}" {
		t.Error(got)
	}
}
