package checkers

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// What the checkers excuse ends where a real violation begins: each test has
// both, side by side.

const (
	n1, n2 = node.Name("n1@h"), node.Name("n2@h")
	red    = policy.App("red")
)

// world tells a Checker what happens to two nodes and one app. All clocks are
// one.
type world struct {
	t     *testing.T
	c     *Checker
	now   machine.Instant
	rev   policy.Revision
	ids   int
	runs  map[Life]machine.RunID
	cells map[policy.Key]policy.Cell
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: machine.Instant(time.Hour), runs: map[Life]machine.RunID{}, cells: map[policy.Key]policy.Cell{}}
	spec := &policy.Spec{App: red, Takeover: policy.Exclusive, Groups: [][]node.Name{{n1}, {n2}}}
	w.c = New([]*policy.Spec{spec}, func(Life) machine.Instant { return w.now })
	return w
}

func lease(ttl time.Duration) policy.Lease { return policy.NewLease(ttl, 0) }

var short = lease(3 * time.Second)

func (w *world) boot(n node.Name, l policy.Lease) Life {
	w.ids++
	life := Life(len(w.c.lives))
	w.c.Booted(life, n, policy.Nonce(fmt.Sprint("agent", w.ids)), l, machine.Sync{}, 0)
	return life
}

func (w *world) agent(l Life) policy.Nonce {
	for n, life := range w.c.byNonce {
		if life == l {
			return n
		}
	}
	return ""
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// write is one that its sender bases on what the key holds now, if it was told of
// that, else on another value at that revision.
func (w *world) write(cell policy.Cell) *policy.Write {
	w.ids++
	return &policy.Write{ID: fmt.Sprint("id", w.ids), Cell: cell, Expect: w.cells[cell.Key].Rev}
}

func (w *world) sent(l Life, op machine.Op, cell policy.Cell) *policy.Write {
	wr := w.write(cell)
	w.c.Sent(l, op, machine.RequestID(w.ids), wr)
	return wr
}

func (w *world) lands(l Life, wr *policy.Write) {
	w.rev++
	wr.Cell.Rev = w.rev
	w.cells[wr.Cell.Key] = wr.Cell
	w.c.Applied(l, wr, w.rev)
}

func (w *world) ok(l Life, op machine.Op, cell policy.Cell) *policy.Write {
	wr := w.sent(l, op, cell)
	req := machine.RequestID(w.ids)
	w.lands(l, wr)
	w.c.Acknowledged(l, op, req, wr, false)
	return wr
}

// told tells a life of all that the store holds.
func (w *world) told(l Life) {
	for _, c := range w.cells {
		w.c.Saw(l, c)
	}
}

func (w *world) node(l Life, s policy.Session, state policy.SessionState) policy.Cell {
	n := w.c.lives[l].node
	w.ids++
	return policy.Cell{Key: policy.NodeKey(n), Node: &policy.SessionRecord{Node: n, Session: s, Agent: w.agent(l), State: state, Seq: uint64(w.ids)}}
}

func (w *world) register(l Life, s policy.Session) {
	w.told(l)
	w.ok(l, machine.OpRegister, w.node(l, s, policy.SessionLive))
}

func (w *world) renew(l Life, s policy.Session) {
	w.told(l)
	w.ok(l, machine.OpRenew, w.node(l, s, policy.SessionLive))
}

func (w *world) slot(l Life, s policy.Session, e policy.Epoch) policy.Slot {
	return policy.Slot{Node: w.c.lives[l].node, Session: s, Epoch: e, Nonce: policy.Nonce(fmt.Sprint("claim of ", s, " ", e))}
}

func (w *world) record(l Life, s policy.Session, e policy.Epoch) policy.Cell {
	return policy.Cell{Key: policy.AppKey(red), App: &policy.AppRecord{App: red, Owner: w.slot(l, s, e), High: e, Want: policy.WantRun, Phase: policy.PhaseRunning}}
}

func (w *world) claim(l Life, s policy.Session, e policy.Epoch) {
	w.told(l)
	w.ok(l, machine.OpClaim, w.record(l, s, e))
}

func (w *world) start(l Life, s policy.Session, e policy.Epoch) machine.RunID {
	w.runs[l]++
	w.c.Starting(l, w.runs[l], red, s, e)
	w.c.Up(l, w.runs[l])
	return w.runs[l]
}

// runs makes a life run the app.
func (w *world) run(l Life, s policy.Session, e policy.Epoch) machine.RunID {
	w.register(l, s)
	w.claim(l, s, e)
	return w.start(l, s, e)
}

// checkpoint is what a set back goes back to.
type checkpoint struct {
	rev   policy.Revision
	cells map[policy.Key]policy.Cell
}

func (w *world) checkpoint() checkpoint {
	cp := checkpoint{w.rev, map[policy.Key]policy.Cell{}}
	maps.Copy(cp.cells, w.cells)
	return cp
}

func (w *world) setBack(cp checkpoint) {
	w.rev, w.cells = cp.rev, map[policy.Key]policy.Cell{}
	var cells []policy.Cell
	for k, c := range cp.cells {
		w.cells[k] = c
		cells = append(cells, c)
	}
	w.c.SetBack(cells)
}

func (w *world) loseBucket() {
	w.rev, w.cells = 0, map[policy.Key]policy.Cell{}
	w.c.Recreated()
}

// excused demands that nothing was wrong; caught, that this was.
func (w *world) excused() {
	w.t.Helper()
	if err := w.c.Err(); err != nil {
		w.t.Fatalf("not excused: %v", err)
	}
}

func (w *world) caught(rule string) {
	w.t.Helper()
	if err := w.c.Err(); err == nil {
		w.t.Fatalf("not noticed: %s", rule)
	} else if err.Rule != rule {
		w.t.Fatalf("%v, want %s", err, rule)
	}
}

// both runs a life of two nodes twice: with what is excused, and with what is not.
func both(t *testing.T, name, rule string, live func(w *world, violate bool)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		w := newWorld(t)
		live(w, false)
		w.excused()
		w = newWorld(t)
		live(w, true)
		w.caught(rule)
	})
}

func TestStray(t *testing.T) {
	both(t, "a renewal at a revision that was given to another life", "S1", func(w *world, told bool) {
		a := w.boot(n1, short)
		w.register(a, "s0")
		w.told(a)
		w.ok(a, machine.OpClose, w.node(a, "s0", policy.SessionClosed))
		cp := w.checkpoint()
		w.register(a, "s1")
		w.c.Died(a)
		w.setBack(cp)
		b := w.boot(n1, short)
		w.register(b, "s2") // at the revision of s1
		if told {
			w.told(a)
		}
		w.lands(a, w.sent(a, machine.OpRenew, w.node(a, "s1", policy.SessionLive)))
	})
	both(t, "a claim at a revision that was given to another claim", "A1/A3", func(w *world, told bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.register(b, "s2")
		cp := w.checkpoint()
		w.claim(a, "s1", 1)
		w.setBack(cp)
		w.claim(b, "s2", 2) // at the revision of the first
		w.start(b, "s2", 2)
		if told {
			w.told(a)
		}
		w.lands(a, w.sent(a, machine.OpReassert, w.record(a, "s1", 3)))
	})
	both(t, "no store was set back", "A1/A3", func(w *world, violate bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.run(b, "s2", 1)
		if violate {
			w.lands(a, w.sent(a, machine.OpClaim, w.record(a, "s1", 2)))
		}
	})
	t.Run("by the value that the key had before, and has again", func(t *testing.T) {
		w := newWorld(t)
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(b, "s2")
		w.run(a, "s1", 1)
		w.told(b)
		cp := w.checkpoint()
		w.ok(a, machine.OpRunning, w.record(a, "s1", 1))
		w.setBack(cp)
		w.lands(b, w.sent(b, machine.OpClaim, w.record(b, "s2", 2)))
		w.caught("A1/A3")
	})
}

func TestSetBack(t *testing.T) {
	// forgotten runs the app on n1 by a claim that the store forgets.
	forgotten := func(w *world) (a, b Life, cp checkpoint) {
		a, b = w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.register(b, "s2")
		cp = w.checkpoint()
		w.claim(a, "s1", 1)
		w.start(a, "s1", 1)
		w.setBack(cp)
		return a, b, cp
	}
	limit := 2*short.Fence() + short.Late + short.Kill
	both(t, "what ran by a forgotten claim, beside another", "rule 9", func(w *world, late bool) {
		a, b, _ := forgotten(w)
		w.pass(limit)
		if late {
			w.pass(time.Millisecond)
		}
		w.renew(a, "s1")
		w.renew(b, "s2")
		w.claim(b, "s2", 2)
		w.start(b, "s2", 2)
	})
	both(t, "a second set back is no second excuse", "rule 9", func(w *world, violate bool) {
		a, b, cp := forgotten(w)
		w.pass(limit)
		w.renew(a, "s1")
		if violate {
			w.setBack(cp)
			w.pass(time.Millisecond)
			w.renew(a, "s1")
		}
		w.renew(b, "s2")
		w.claim(b, "s2", 2)
		w.start(b, "s2", 2)
	})
	both(t, "what the store still has is not excused", "I1", func(w *world, kept bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(b, "s2")
		w.register(a, "s1")
		cp := w.checkpoint()
		w.claim(a, "s1", 1)
		if kept {
			cp = w.checkpoint()
		}
		w.start(a, "s1", 1)
		w.setBack(cp)
		w.c.apps[red].record.Owner = policy.Slot{}
		w.claim(b, "s2", 2)
		w.start(b, "s2", 2)
	})
	both(t, "a lease that was renewed again is as good as before", "I1", func(w *world, again bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(b, "s2")
		w.run(a, "s1", 1)
		cp := w.checkpoint()
		w.renew(a, "s1")
		w.setBack(cp)
		if again {
			w.renew(a, "s1")
		}
		w.c.apps[red].record.Owner = policy.Slot{}
		w.claim(b, "s2", 2)
		w.start(b, "s2", 2)
	})
	both(t, "an expiry by a renewal that was forgotten", "I8", func(w *world, again bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		cp := w.checkpoint()
		w.pass(time.Second)
		w.renew(a, "s1")
		w.setBack(cp)
		w.pass(short.Fence() - time.Second + time.Millisecond)
		if again {
			w.renew(a, "s1")
		}
		w.told(b)
		w.ok(b, machine.OpExpire, w.node(a, "s1", policy.SessionExpired))
	})
	both(t, "exclusive: having asked for it is no right", "I1", func(w *world, owned bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.register(b, "s2")
		w.told(b)
		asked := w.record(b, "s2", 1)
		asked.App.Next = policy.Slot{Node: n1, Session: "s1"}
		w.ok(b, machine.OpAsk, asked)
		cp := w.checkpoint()
		w.claim(a, "s1", 2)
		if owned {
			cp = w.checkpoint()
		}
		w.start(a, "s1", 2)
		w.setBack(cp)
		w.c.apps[red].record.Owner = policy.Slot{}
		w.claim(b, "s2", 3)
		w.start(b, "s2", 3)
	})
	both(t, "an epoch that was forgotten is given again", "I3", func(w *world, read bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.register(b, "s2")
		cp := w.checkpoint()
		w.claim(a, "s1", 2)
		run := w.start(a, "s1", 2)
		if read {
			w.told(b)
		}
		w.c.Gone(a, run, w.now)
		w.setBack(cp)
		w.ok(b, machine.OpClaim, w.record(b, "s2", 1))
		w.start(b, "s2", 1)
	})
	both(t, "one that the store still has is not", "I3", func(w *world, kept bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.register(b, "s2")
		cp := w.checkpoint()
		w.claim(a, "s1", 2)
		if kept {
			cp = w.checkpoint()
		}
		w.setBack(cp)
		w.ok(b, machine.OpClaim, w.record(b, "s2", 1))
	})
}

func TestLostBucket(t *testing.T) {
	long := lease(20 * time.Second)
	beside := func(w *world, a Life, by func() Life) {
		w.run(a, "s1", 1)
		w.loseBucket()
		b := by()
		w.pass(short.TTL + short.Fence())
		w.register(b, "s2")
		w.claim(b, "s2", 1)
		w.start(b, "s2", 1)
	}
	both(t, "a longer lease than a new life can know of", "I1", func(w *world, known bool) {
		a, b := w.boot(n1, long), w.boot(n2, short)
		beside(w, a, func() Life {
			if known {
				return b
			}
			w.c.Died(b)
			return w.boot(n2, short)
		})
	})
	t.Run("one that its disk knows of", func(t *testing.T) {
		w := newWorld(t)
		beside(w, w.boot(n1, long), func() Life {
			b := w.boot(n2, short)
			w.c.lives[b].longest = long.TTL
			return b
		})
		w.caught("I1")
	})
	both(t, "until its fence", "I4", func(w *world, late bool) {
		a := w.boot(n1, long)
		beside(w, a, func() Life { return w.boot(n2, short) })
		w.pass(long.Fence() + long.Kill + long.Late - short.TTL - short.Fence())
		if late {
			w.pass(time.Millisecond)
		}
		w.c.checkFence(&w.c.instances[0], w.now)
	})
	t.Run("a lease that is no longer", func(t *testing.T) {
		w := newWorld(t)
		beside(w, w.boot(n1, lease(short.TTL)), func() Life { return w.boot(n2, short) })
		w.caught("I1")
	})
	t.Run("a right of the bucket that there is", func(t *testing.T) {
		w := newWorld(t)
		a := w.boot(n1, long)
		w.loseBucket()
		b := w.boot(n2, short)
		w.run(a, "s1", 1)
		w.c.apps[red].record.Owner = policy.Slot{}
		w.run(b, "s2", 2)
		w.caught("I1")
	})
	both(t, "epochs begin again, but not on a node that has them on disk", "I3", func(w *world, same bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.c.Gone(a, w.run(a, "s1", 2), w.now)
		w.loseBucket()
		if same {
			w.register(a, "s2")
			w.claim(a, "s2", 1)
			w.start(a, "s2", 1)
			return
		}
		w.run(b, "s2", 1)
	})
}

func TestPause(t *testing.T) {
	both(t, "a host that was paused, until its lease is renewed", "I8", func(w *world, renewed bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(a, "s1")
		w.c.Slept(func(l Life) bool { return l == a })
		if renewed {
			w.renew(a, "s1")
		}
		w.told(b)
		w.ok(b, machine.OpExpire, w.node(a, "s1", policy.SessionExpired))
	})
	both(t, "another host was", "I1", func(w *world, other bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		w.register(b, "s2")
		w.run(a, "s1", 1)
		w.c.Slept(func(l Life) bool { return (l == b) == other })
		w.c.apps[red].record.Owner = policy.Slot{}
		w.claim(b, "s2", 2)
		w.start(b, "s2", 2)
	})
	both(t, "nobody is left who would end it: an expiry, not a certificate", "I4", func(w *world, dead bool) {
		a, b := w.boot(n1, short), w.boot(n2, short)
		run := w.run(a, "s1", 1)
		w.c.Died(a)
		w.c.Excuse(a, run)
		w.pass(short.TTL)
		w.told(b)
		state := policy.SessionExpired
		if dead {
			state = policy.SessionDead
		}
		w.ok(b, machine.OpExpire, w.node(a, "s1", state))
	})
}

func TestAlarm(t *testing.T) {
	both(t, "after a set back behind an instance", "alarm", func(w *world, before bool) {
		a := w.boot(n1, short)
		w.register(a, "s1")
		cp := w.checkpoint()
		w.claim(a, "s1", 1)
		w.start(a, "s1", 1)
		if before {
			cp = w.checkpoint()
		}
		w.setBack(cp)
		w.c.Alarmed(n1, red, "two")
	})
}

// an owner that was chosen by another specification stays, unless a node was
// told to start the app since.
func TestConvergedRespecified(t *testing.T) {
	w := newWorld(t)
	b := w.boot(n2, short)
	w.register(b, "s2")
	rec := w.record(b, "s2", 1)
	rec.App.Spec = "old"
	w.ok(b, machine.OpClaim, rec)
	w.start(b, "s2", 1)
	st := Standing{Candidates: []node.Name{n1, n2}}
	for spec, stays := range map[string]bool{"": false, "old": false, "new": true} {
		st.Spec = spec
		if why := w.c.Converged(red, st); (why == "") != stays || !stays && !strings.Contains(why, "are candidates") {
			t.Errorf("specification %q: %q", spec, why)
		}
	}
}
