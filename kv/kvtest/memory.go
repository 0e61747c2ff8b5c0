package kvtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/seed7529eb29/regent/policy"
)

// Fault is what happens to one write.
type Fault int

// The faults of a write. All but FaultNone answer OutcomeUnknown.
const (
	FaultNone      Fault = iota
	FaultNoRequest       // the request is lost: nothing is applied
	FaultNoReply         // the reply is lost: it is applied if it can be
	FaultLate            // the request is held back until Land
)

// ErrNoAnswer comes with every OutcomeUnknown and every failed Read.
var ErrNoAnswer = errors.New("no answer (injected)")

// Memory is a store of cells in memory. The zero value is not ready; use New.
// Its methods may be called from any goroutine.
type Memory struct {
	mu       sync.Mutex
	buckets  int                        // how many there have been; names the identity
	history  int                        // grows whenever revisions are taken back
	log      []entry                    // log[i] has revision i+1
	last     map[string]int             // by key: index into log
	ids      map[string]policy.Revision // by message id: where it was applied
	late     []policy.Write
	script   func(policy.Write) Fault
	lag      int  // reads answer as this many revisions ago
	deaf     bool // watches don't hear changes
	down     bool // nothing answers
	checks   int  // grows at every Check
	identity policy.Identity
	changed  chan struct{} // closed and replaced whenever a watch may have news
}

type entry struct {
	cell  policy.Cell
	heard bool
}

// New returns an empty store.
func New() *Memory {
	m := &Memory{changed: make(chan struct{})}
	m.reset()
	return m
}

func (m *Memory) reset() {
	m.buckets++
	m.history++
	m.identity = policy.Identity(fmt.Sprintf("bucket-%d", m.buckets))
	m.log, m.last, m.ids = nil, map[string]int{}, map[string]policy.Revision{}
}

// change runs f under the lock and wakes the watches.
func (m *Memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

// Script asks f about every CAS from now on; nil ends that.
func (m *Memory) Script(f func(policy.Write) Fault) { m.change(func() { m.script = f }) }

// Stale makes reads answer as lag revisions ago, as a leader does that was cut
// off.
func (m *Memory) Stale(lag int) { m.change(func() { m.lag = lag }) }

// Deaf makes watches miss all changes while it is on. They notice the hole at
// the next change they hear, or at Check.
func (m *Memory) Deaf(on bool) { m.change(func() { m.deaf = on }) }

// Check makes watches compare their picture with the store.
func (m *Memory) Check() { m.change(func() { m.checks++ }) }

// Down makes every write and read fail while it is on; nothing is applied.
func (m *Memory) Down(on bool) { m.change(func() { m.down = on }) }

// Recreate replaces the store by an empty one with another identity.
func (m *Memory) Recreate() { m.change(m.reset) }

// Rollback takes back every revision above rev: acknowledged writes are lost,
// and their revisions given again.
func (m *Memory) Rollback(rev policy.Revision) {
	m.change(func() {
		m.history++
		m.log = m.log[:min(int(rev), len(m.log))]
		clear(m.last)
		for i, e := range m.log {
			m.last[e.cell.Key.String()] = i
		}
		maps.DeleteFunc(m.ids, func(_ string, at policy.Revision) bool { return at > rev })
	})
}

// Damage writes something to key that is no record, as a person might.
func (m *Memory) Damage(key policy.Key, why string) policy.Revision {
	var rev policy.Revision
	m.change(func() { rev = m.append(policy.Cell{Key: key, Damaged: why}) })
	return rev
}

// Land applies the writes held back by FaultLate that still can be, in the
// order in which they were sent, and returns how many those were.
func (m *Memory) Land() (applied int) {
	m.change(func() {
		for _, w := range m.late {
			if _, outcome := m.apply(w); outcome == policy.OutcomeOK {
				applied++
			}
		}
		m.late = nil
	})
	return applied
}

// Seq is the last revision.
func (m *Memory) Seq() policy.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return policy.Revision(len(m.log))
}

// CAS does what kv.Store.CAS does, or what the script says.
func (m *Memory) CAS(ctx context.Context, w policy.Write) (rev policy.Revision, outcome policy.Outcome, err error) {
	if ctx.Err() != nil {
		return 0, policy.OutcomeUnknown, context.Cause(ctx)
	}
	m.change(func() { rev, outcome, err = m.send(w) })
	return rev, outcome, err
}

func (m *Memory) send(w policy.Write) (policy.Revision, policy.Outcome, error) {
	switch m.fault(w) {
	case FaultNoRequest:
		return 0, policy.OutcomeUnknown, ErrNoAnswer
	case FaultNoReply:
		m.apply(w)
		return 0, policy.OutcomeUnknown, ErrNoAnswer
	case FaultLate:
		m.late = append(m.late, w)
		return 0, policy.OutcomeUnknown, ErrNoAnswer
	}
	rev, outcome := m.apply(w)
	return rev, outcome, nil
}

func (m *Memory) fault(w policy.Write) Fault {
	switch {
	case m.down:
		return FaultNoRequest
	case m.script == nil:
		return FaultNone
	}
	return m.script(w)
}

func (m *Memory) apply(w policy.Write) (policy.Revision, policy.Outcome) {
	key := w.Cell.Key.String()
	if rev, repeated := m.ids[w.ID]; repeated && w.ID != "" {
		return rev, policy.OutcomeOK
	}
	if m.revision(key) != w.Expect {
		return 0, policy.OutcomeRefused
	}
	rev := m.append(w.Cell)
	m.ids[w.ID] = rev
	return rev, policy.OutcomeOK
}

func (m *Memory) revision(key string) policy.Revision {
	i, ok := m.last[key]
	if !ok {
		return 0
	}
	return policy.Revision(i + 1)
}

func (m *Memory) append(c policy.Cell) policy.Revision {
	m.last[c.Key.String()] = len(m.log)
	c.Rev = policy.Revision(len(m.log) + 1)
	m.log = append(m.log, entry{c, !m.deaf})
	return c.Rev
}

// Read returns the cell of key, or what it was before if reads are stale.
func (m *Memory) Read(ctx context.Context, key policy.Key) (policy.Cell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return policy.Cell{}, context.Cause(ctx)
	case m.down:
		return policy.Cell{}, ErrNoAnswer
	}
	for _, e := range slices.Backward(m.log[:max(0, len(m.log)-m.lag)]) {
		if e.cell.Key == key {
			return e.cell, nil
		}
	}
	return policy.Cell{Key: key}, nil
}

// Watch does what kv.Store.Watch does.
func (m *Memory) Watch(ctx context.Context, deliver func(policy.View)) error {
	w := &watch{m: m, stale: true}
	for {
		v, ok, changed := w.next()
		if ok {
			deliver(v)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watch is one reader of the log.
type watch struct {
	m       *Memory
	seq     int
	history int
	checks  int
	stale   bool // needs a snapshot
	lost    bool // has said so
}

// next is the View to deliver now, if there is one, and a channel that is
// closed when there may be.
func (w *watch) next() (policy.View, bool, <-chan struct{}) {
	m := w.m
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := w.view()
	w.checks = m.checks
	v.Identity, v.Seq = m.identity, policy.Revision(w.seq)
	return v, ok, m.changed
}

func (w *watch) view() (policy.View, bool) {
	m := w.m
	if why := w.doubt(); why != "" && !w.stale {
		w.stale, w.lost = true, true
		return policy.View{Lost: why}, true
	}
	switch {
	case w.stale && m.down && !w.lost:
		w.lost = true
		return policy.View{Lost: ErrNoAnswer.Error()}, true
	case w.stale && m.down:
		return policy.View{}, false
	case w.stale:
		return w.snapshot(), true
	case w.seq < len(m.log) && m.log[w.seq].heard:
		w.seq++
		return policy.View{Cells: []policy.Cell{m.log[w.seq-1].cell}}, true
	}
	return policy.View{}, false
}

// doubt is why the picture may be out of date.
func (w *watch) doubt() string {
	m := w.m
	switch {
	case m.down:
		return ErrNoAnswer.Error()
	case w.history != m.history:
		return "history of the bucket changed"
	case w.seq >= len(m.log) || m.log[w.seq].heard:
		return ""
	case w.checks != m.checks, slices.ContainsFunc(m.log[w.seq:], func(e entry) bool { return e.heard }):
		return "missed changes"
	}
	return ""
}

func (w *watch) snapshot() policy.View {
	m := w.m
	w.seq, w.history, w.stale, w.lost = len(m.log), m.history, false, false
	var cells []policy.Cell
	for _, key := range slices.Sorted(maps.Keys(m.last)) {
		cells = append(cells, m.log[m.last[key]].cell)
	}
	return policy.View{Snapshot: true, Cells: cells}
}
