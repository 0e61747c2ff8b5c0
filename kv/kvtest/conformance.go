package kvtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Store is what a node needs of the store.
type Store interface {
	CAS(ctx context.Context, w policy.Write) (policy.Revision, policy.Outcome, error)
	Read(ctx context.Context, key policy.Key) (policy.Cell, error)
	Watch(ctx context.Context, deliver func(policy.View)) error
}

// Adapter is a store under test, and what the suite does to it.
type Adapter struct {
	Store

	// Deaf runs f while watches don't hear of changes, and then makes sure
	// that they notice in the end.
	Deaf func(f func())

	// Recreate replaces the bucket by an empty one.
	Recreate func()
}

// patience is how long the suite waits for what must come: an election with
// stock timers takes up to 9 s.
const patience = 30 * time.Second

// Conformance checks that what open returns keeps the contract of package kv.
// Every test gets a store of its own.
func Conformance(t *testing.T, open func(t *testing.T) Adapter) {
	tests := []struct {
		name string
		run  func(t *testing.T, a Adapter)
	}{
		{"an absent cell has revision 0", testAbsent},
		{"a record is read as it was written", testRoundTrip},
		{"a write at another revision is refused and changes nothing", testRefused},
		{"of many writes at one revision exactly one wins", testOneWinner},
		{"a repeated request is answered with the first one's revision", testRepeated},
		{"a watch sees a snapshot and then every change in order", testWatch},
		{"watches that begin while cells change agree with reads", testWatchBusy},
		{"after a hole comes Lost and a snapshot with everything", testHole},
		{"a bucket that was replaced shows another identity", testRecreated},
		{"a watch ends with its context", testWatchEnds},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

var ids struct {
	sync.Mutex
	n int
}

func newID() string {
	ids.Lock()
	defer ids.Unlock()
	ids.n++
	return fmt.Sprintf("conformance-%d-%d", time.Now().UnixNano(), ids.n)
}

func appWrite(app policy.App, owner node.Name, epoch policy.Epoch, expect policy.Revision) policy.Write {
	return policy.Write{
		Cell: policy.Cell{Key: policy.AppKey(app), App: &policy.AppRecord{
			App:   app,
			Owner: policy.Slot{Node: owner, Session: "s-" + policy.Session(owner), SRev: 7, Nonce: "n1", Epoch: epoch},
			Phase: policy.PhaseStarting, High: epoch, Want: policy.WantRun,
			Next:    policy.Slot{Node: "n3@h", Session: "s3", SRev: 8, Command: true},
			Payload: []byte("state <1>"), StartKind: policy.StartFailover, StartFrom: "n2@h", Since: 1767366245123,
			Ended: []policy.EndedNode{{Node: "n2@h", At: 1767366245000}},
		}},
		Expect: expect,
		ID:     newID(),
	}
}

func nodeWrite(n node.Name, seq uint64, expect policy.Revision) policy.Write {
	return policy.Write{
		Cell: policy.Cell{Key: policy.NodeKey(n), Node: &policy.SessionRecord{
			Node: n, Session: "s1", Agent: "a1", State: policy.SessionLive,
			Host: policy.Host{MachineID: "m", BootID: "b", PIDNamespace: 4026531836},
			PID:  42, StartTime: 99, UID: 1000, Groups: "/run/x", TTL: 3 * time.Second, Seq: seq, Since: 1767366245123,
		}},
		Expect: expect,
		ID:     newID(),
	}
}

// pace is the pause between two attempts at a store that doesn't answer.
const pace = 10 * time.Millisecond

// mustCAS repeats w until the outcome is known, and demands OK.
func mustCAS(t *testing.T, s Store, w policy.Write) policy.Revision {
	t.Helper()
	rev, outcome := settle(t, s, w)
	if outcome != policy.OutcomeOK {
		t.Errorf("CAS of %s at %d: %v, expected ok", w.Cell.Key, w.Expect, outcome)
	}
	return rev
}

// settle repeats the identical request while its outcome is unknown.
func settle(t *testing.T, s Store, w policy.Write) (policy.Revision, policy.Outcome) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		rev, outcome, err := s.CAS(t.Context(), w)
		if (outcome == policy.OutcomeUnknown) != (err != nil) {
			t.Errorf("CAS of %s: outcome %v with error %v", w.Cell.Key, outcome, err)
		}
		if outcome != policy.OutcomeUnknown {
			return rev, outcome
		}
		if time.Now().After(end) {
			t.Errorf("CAS of %s stays unknown: %v", w.Cell.Key, err)
			return 0, policy.OutcomeUnknown
		}
		<-time.After(pace)
	}
}

func mustRead(t *testing.T, s Store, key policy.Key) policy.Cell {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		c, err := s.Read(t.Context(), key)
		if err == nil {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("read of %s: %v", key, err)
		}
		<-time.After(pace)
	}
}

func expectCell(t *testing.T, got policy.Cell, want policy.Cell, rev policy.Revision) {
	t.Helper()
	want.Rev = rev
	if !reflect.DeepEqual(got, want) {
		t.Errorf("cell %s:\n got %s\nwant %s", want.Key, describe(got), describe(want))
	}
}

func describe(c policy.Cell) string {
	return fmt.Sprintf("rev %d node %+v app %+v damaged %q", c.Rev, c.Node, c.App, c.Damaged)
}

func testAbsent(t *testing.T, a Adapter) {
	key := policy.AppKey("nothere")
	expectCell(t, mustRead(t, a, key), policy.Cell{Key: key}, 0)
}

func testRoundTrip(t *testing.T, a Adapter) {
	app, session := appWrite("my@app", "n1@h", 3, 0), nodeWrite("n1@host.example", 1, 0)
	appRev, nodeRev := mustCAS(t, a, app), mustCAS(t, a, session)
	if nodeRev <= appRev {
		t.Errorf("revisions %d and then %d: they must grow", appRev, nodeRev)
	}
	expectCell(t, mustRead(t, a, app.Cell.Key), app.Cell, appRev)
	expectCell(t, mustRead(t, a, session.Cell.Key), session.Cell, nodeRev)
}

func testRefused(t *testing.T, a Adapter) {
	first := appWrite("app", "n1@h", 1, 0)
	rev := mustCAS(t, a, first)
	second := appWrite("app", "n1@h", 2, rev)
	next := mustCAS(t, a, second)
	for _, expect := range []policy.Revision{0, rev} {
		if _, outcome := settle(t, a, appWrite("app", "n2@h", 3, expect)); outcome != policy.OutcomeRefused {
			t.Errorf("CAS at %d of a cell at %d: %v, expected refused", expect, next, outcome)
		}
	}
	// Whoever expects what is not there may know more than whoever answers: it
	// need not be refused, but it is never applied.
	for _, w := range []policy.Write{appWrite("app", "n2@h", 3, next+1), appWrite("other", "n2@h", 3, next)} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, outcome, _ := a.CAS(ctx, w)
		cancel()
		if outcome == policy.OutcomeOK {
			t.Errorf("CAS of %s at %d, which it does not have: %v", w.Cell.Key, w.Expect, outcome)
		}
	}
	expectCell(t, mustRead(t, a, second.Cell.Key), second.Cell, next)
}

func testOneWinner(t *testing.T, a Adapter) {
	const writers = 40
	expect := mustCAS(t, a, appWrite("app", "n0@h", 1, 0))
	for round := range 3 {
		writes := make([]policy.Write, writers)
		outcomes := make([]policy.Outcome, writers)
		revs := make([]policy.Revision, writers)
		var wg sync.WaitGroup
		for i := range writers {
			writes[i] = appWrite("app", node.Name(fmt.Sprintf("n%d@h", i)), policy.Epoch(round+2), expect)
			wg.Go(func() { revs[i], outcomes[i] = settle(t, a, writes[i]) })
		}
		wg.Wait()
		winner := slices.Index(outcomes, policy.OutcomeOK)
		if winner < 0 || slices.Contains(outcomes[winner+1:], policy.OutcomeOK) {
			t.Fatalf("round %d: outcomes %v, expected ok once", round, outcomes)
		}
		expect = revs[winner]
		expectCell(t, mustRead(t, a, policy.AppKey("app")), writes[winner].Cell, expect)
	}
}

func testRepeated(t *testing.T, a Adapter) {
	first := appWrite("app", "n1@h", 1, 0)
	rev := mustCAS(t, a, first)
	if again := mustCAS(t, a, first); again != rev {
		t.Errorf("repeated: revision %d, the first had %d", again, rev)
	}
	next := appWrite("app", "n2@h", 2, rev)
	nextRev := mustCAS(t, a, next)
	if again := mustCAS(t, a, first); again != rev {
		t.Errorf("repeated after another write: revision %d, the first had %d", again, rev)
	}
	expectCell(t, mustRead(t, a, next.Cell.Key), next.Cell, nextRev)
}

func testWatch(t *testing.T, a Adapter) {
	before := appWrite("before", "n1@h", 1, 0)
	rev := mustCAS(t, a, before)
	w := Observe(t, a)
	w.Await(t, "a snapshot", func(o Observed) bool { return o.Snapshots == 1 })
	expectCell(t, w.Now().Cells[before.Cell.Key.String()], before.Cell, rev)
	for i := range 20 {
		rev = mustCAS(t, a, nodeWrite("n1@h", uint64(i), w.Now().Cells[policy.NodeKey("n1@h").String()].Rev))
		w.Await(t, "the change", func(o Observed) bool { return o.Seq >= rev })
	}
	last := w.Now()
	expectCell(t, last.Cells[policy.NodeKey("n1@h").String()], mustRead(t, a, policy.NodeKey("n1@h")), rev)
	if last.Identity == "" {
		t.Error("the views have no identity")
	}
}

func testWatchBusy(t *testing.T, a Adapter) {
	const nodes, renewals = 4, 25
	var wg sync.WaitGroup
	var early, late *Observer
	early = Observe(t, a)
	for n := range nodes {
		wg.Go(func() {
			var rev policy.Revision
			for i := range renewals {
				rev = mustCAS(t, a, nodeWrite(node.Name(fmt.Sprintf("n%d@h", n)), uint64(i), rev))
			}
		})
	}
	late = Observe(t, a)
	wg.Wait()
	for n := range nodes {
		c := mustRead(t, a, policy.NodeKey(node.Name(fmt.Sprintf("n%d@h", n))))
		for _, w := range []*Observer{early, late} {
			w.Await(t, "the last renewal", func(o Observed) bool { return o.Seq >= c.Rev && o.Lost == "" })
			expectCell(t, w.Now().Cells[c.Key.String()], c, c.Rev)
		}
	}
}

func testHole(t *testing.T, a Adapter) {
	rev := mustCAS(t, a, appWrite("app", "n1@h", 1, 0))
	w := Observe(t, a)
	w.Await(t, "a snapshot", func(o Observed) bool { return o.Snapshots == 1 && o.Seq >= rev })
	var missed policy.Write
	a.Deaf(func() {
		missed = appWrite("app", "n2@h", 2, rev)
		rev = mustCAS(t, a, missed)
	})
	w.Await(t, "the missed change", func(o Observed) bool { return o.Snapshots >= 2 && o.Losses >= 1 && o.Seq >= rev })
	expectCell(t, w.Now().Cells[missed.Cell.Key.String()], missed.Cell, rev)
}

func testRecreated(t *testing.T, a Adapter) {
	rev := mustCAS(t, a, appWrite("app", "n1@h", 1, 0))
	w := Observe(t, a)
	w.Await(t, "a snapshot", func(o Observed) bool { return o.Snapshots == 1 && o.Seq >= rev })
	old := w.Now()
	a.Recreate()
	w.Await(t, "another identity", func(o Observed) bool {
		return o.Lost == "" && o.Identity != "" && o.Identity != old.Identity
	})
	if o := w.Now(); len(o.Cells) != 0 || o.Losses == 0 {
		t.Errorf("after the bucket was replaced: %d cells, %d times lost", len(o.Cells), o.Losses)
	}
	expectCell(t, mustRead(t, a, policy.AppKey("app")), policy.Cell{Key: policy.AppKey("app")}, 0)
	rev = mustCAS(t, a, appWrite("app", "n1@h", 1, 0))
	w.Await(t, "a change of the new bucket", func(o Observed) bool { return o.Cells["app.app"].Rev == rev })
}

func testWatchEnds(t *testing.T, a Adapter) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Watch(ctx, func(policy.View) { cancel(cause) }) }()
	select {
	case err := <-done:
		if !errors.Is(err, cause) {
			t.Errorf("Watch returned %v, expected %v", err, cause)
		}
	case <-time.After(patience):
		t.Error("Watch does not return")
	}
}

// Observer watches a store for a test, and fails the test when the views are
// not contiguous.
type Observer struct {
	mu      sync.Mutex
	now     Observed
	changed chan struct{}
	wrong   []string
}

// Observed is what a watch has delivered so far.
type Observed struct {
	Identity  policy.Identity
	Seq       policy.Revision
	Cells     map[string]policy.Cell // by key
	Lost      string                 // not empty: out of date, and why
	Losses    int
	Snapshots int
}

// Observe watches s until the end of the test.
func Observe(t *testing.T, s Store) *Observer {
	t.Helper()
	o := &Observer{changed: make(chan struct{}), now: Observed{Lost: "begin", Cells: map[string]policy.Cell{}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Watch(ctx, o.see) // ends with ctx; what matters is what it delivered
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if len(o.wrong) > 0 {
			t.Errorf("views out of order:\n%s", strings.Join(o.wrong, "\n"))
		}
	})
	return o
}

func (o *Observer) see(v policy.View) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if why := o.misplaced(v); why != "" {
		o.wrong = append(o.wrong, why)
	}
	n := &o.now
	switch {
	case v.Lost != "":
		n.Losses++
	case v.Snapshot:
		n.Snapshots++
		n.Cells = map[string]policy.Cell{}
	default: // a view is shared with whoever called Now
		n.Cells = maps.Clone(n.Cells)
	}
	for _, c := range v.Cells {
		n.Cells[c.Key.String()] = c
	}
	n.Lost, n.Identity, n.Seq = v.Lost, v.Identity, v.Seq
	close(o.changed)
	o.changed = make(chan struct{})
}

// misplaced checks v against what came before it.
func (o *Observer) misplaced(v policy.View) string {
	switch {
	case v.Lost != "" && (v.Snapshot || len(v.Cells) > 0):
		return fmt.Sprintf("lost (%s) with cells", v.Lost)
	case v.Lost != "":
		return ""
	case v.Snapshot && o.now.Lost == "":
		return "a snapshot without Lost before it"
	case !v.Snapshot && o.now.Lost != "":
		return fmt.Sprintf("a change at %d after Lost (%s)", v.Seq, o.now.Lost)
	case !v.Snapshot && v.Seq != o.now.Seq+1:
		return fmt.Sprintf("a change at %d after %d", v.Seq, o.now.Seq)
	case !v.Snapshot && len(v.Cells) == 1 && v.Cells[0].Rev != v.Seq, len(v.Cells) > 1 && !v.Snapshot:
		return fmt.Sprintf("a change at %d with cells %v", v.Seq, v.Cells)
	}
	for _, c := range v.Cells {
		if c.Rev == 0 || c.Rev > v.Seq {
			return fmt.Sprintf("a view at %d has %s at %d", v.Seq, c.Key, c.Rev)
		}
	}
	return ""
}

// Now is what has been delivered so far.
func (o *Observer) Now() Observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// Await waits until what has been delivered fulfils cond.
func (o *Observer) Await(t *testing.T, what string, cond func(Observed) bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		o.mu.Lock()
		now, changed := o.now, o.changed
		o.mu.Unlock()
		if cond(now) {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("%s does not come: identity %q, seq %d, %d snapshots, %d times lost, lost now: %q",
				what, now.Identity, now.Seq, now.Snapshots, now.Losses, now.Lost)
		}
	}
}
