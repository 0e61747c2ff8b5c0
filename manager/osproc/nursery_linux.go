package osproc

import (
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// Nursery keeps children ready: processes that wait to be told what to become,
// so that a failover does not wait for one to begin. A nil Nursery keeps none.
// Its methods may be called by any goroutine.
type Nursery struct {
	cradle  Cradle
	ready   chan *born
	stop    chan struct{}
	keepers sync.WaitGroup
}

// NewNursery begins to keep so many children ready; each is born in a place of
// cradle, if that is not nil. It returns nil, which keeps none, where Main was
// not called.
func NewNursery(size int, cradle Cradle) *Nursery {
	if !mainCalled.Load() || size <= 0 {
		return nil
	}
	n := &Nursery{cradle: cradle, ready: make(chan *born), stop: make(chan struct{})}
	for range size {
		n.begin(0)
	}
	return n
}

func (n *Nursery) begin(pause time.Duration) {
	n.keepers.Add(1)
	go n.keep(pause)
}

// Close ends the children that are waiting. Those that have become commands are
// their instances' own.
func (n *Nursery) Close() {
	if n == nil {
		return
	}
	close(n.stop)
	n.keepers.Wait()
}

// birth gives a child: one that is ready, else a new one on the thread of the
// calling goroutine, which must be its own until the child is freed.
func (n *Nursery) birth(p plan) (*born, error) {
	for n != nil {
		select {
		case b := <-n.ready:
			if b.alive() {
				b.waited = true
				return b, nil
			}
			b.discard()
			continue
		default:
		}
		break
	}
	return n.bear(p, nothing)
}

// bear makes a child on the thread of the calling goroutine.
func (n *Nursery) bear(p plan, free func()) (*born, error) {
	if n == nil || n.cradle == nil {
		return bear(p, nil, free)
	}
	return bear(p, n.cradle, free)
}

// Refilling waits until the start that took a child is over; a keeper that
// can't make one tries again.
const (
	refillPause = 200 * time.Millisecond
	bearAgain   = 5 * time.Second
)

// keep makes one child, waits until it is taken, and holds its thread until it
// is gone: the kernel's signal on the death of the parent follows the thread.
func (n *Nursery) keep(pause time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	freed := make(chan struct{})
	for n.rest(pause) {
		b, err := n.bear(plan{}, sync.OnceFunc(func() { close(freed) }))
		if err != nil {
			pause = bearAgain // whoever starts an app without it says why
			continue
		}
		select {
		case n.ready <- b:
			n.begin(refillPause)
			n.keepers.Done() // not to be waited for: the child may live for long
			<-freed
			return
		case <-n.stop:
			b.discard()
		}
		break
	}
	n.keepers.Done()
}

// rest waits, and reports whether to go on.
func (n *Nursery) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-n.stop:
		return false
	case <-t.C:
		return true
	}
}

// discard ends a child that has become nothing.
func (b *born) discard() {
	b.kill()
	b.awaitLeader()
	b.reap()
	b.streams.close()
	b.group.Cgroup.Remove()
	b.free()
}

// spawnFor starts a child in a place of the cradle.
func spawnFor(_ plan, stdio []*os.File, cradle Cradle) (*child, error) {
	if cradle == nil {
		return spawn(stdio, nil)
	}
	place := cradle.Open()
	c, err := spawn(stdio, place)
	if place == nil {
		return c, err
	}
	_ = place.Close()
	home := samehost.Cgroup(place.Name())
	if err != nil {
		home.Remove()
		return spawn(stdio, nil) // the place may be why
	}
	c.group.Cgroup = home
	return c, nil
}
