package sim

import (
	"time"

	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// Time is real time since the world began. Only the world knows it.
type Time = time.Duration

// event is one thing that will happen. what it carries depends on its kind.
type event struct {
	at   Time
	seq  uint64 // events of one instant happen in the order they were scheduled
	kind kind
	node int           // whom it happens to; nobody: to the world
	life checkers.Life // it is void when that agent process is gone
	a, b uint64
	what any
}

const nobody = -1

type kind uint8

// Kinds of events.
const (
	kindCall   kind = iota // what is a func()
	kindEvent              // what is a machine.Event
	kindTick               // a: generation
	kindWrite              // what is a *request that reaches the store
	kindRead               // the same
	kindAnswer             // what is a *request whose answer arrives
	kindGiveUp             // what is a *request that was not answered in time
	kindView               // a: revision, b: generation of the stream
	kindSnap               // b: generation of the stream
	kindAudit              // the picture is compared with the store
	kindRun                // a: run, b: generation of its plan
	kindDisk               // what is a *diskWrite
	kindBeat               // what is a *machine.Heard, boxed; a: sender
)

// queue is a heap of events by time, four children wide: shallower than a
// binary one and kinder to the cache.
type queue struct{ items []event }

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (q *queue) push(e event) {
	q.items = append(q.items, e)
	i := len(q.items) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(&q.items[p]) {
			break
		}
		q.items[i] = q.items[p]
		i = p
	}
	q.items[i] = e
}

func (q *queue) pop() event {
	top, n := q.items[0], len(q.items)-1
	last := q.items[n]
	q.items[n] = event{}
	q.items = q.items[:n]
	if n > 0 {
		q.sink(last)
	}
	return top
}

// sink puts e at the root and lets it fall to its place.
func (q *queue) sink(e event) {
	n, i := len(q.items), 0
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, n); c++ {
			if q.items[c].before(&q.items[least]) {
				least = c
			}
		}
		if !q.items[least].before(&e) {
			break
		}
		q.items[i] = q.items[least]
		i = least
	}
	q.items[i] = e
}
