package agent

import (
	"sync"

	"github.com/seed7529eb29/regent/manager/machine"
)

// beatsMax bounds how many heartbeats wait: beyond it they are dropped and
// counted, since the next one says the same. Answers are never dropped; there
// are no more of them than open requests.
const beatsMax = 4096

// inbox is where events wait for the loop.
type inbox struct {
	mu      sync.Mutex
	events  []machine.Event
	beats   int
	dropped uint64
	closed  bool

	wake chan struct{} // holds one token while events wait
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// post adds an event. It never blocks. After close it does nothing.
func (b *inbox) post(ev machine.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if _, beat := ev.(machine.Heard); beat {
		if b.beats >= beatsMax {
			b.dropped++
			return
		}
		b.beats++
	}
	b.events = append(b.events, ev)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all waiting events.
func (b *inbox) take() []machine.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	evs := b.events
	b.events, b.beats = nil, 0
	return evs
}

// lost is how many heartbeats were dropped.
func (b *inbox) lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.events = true, nil
}
