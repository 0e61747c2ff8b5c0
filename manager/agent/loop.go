package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

const (
	// statusEvery bounds how often a snapshot is made under load.
	statusEvery = 20 * time.Millisecond
	// lookEvery is how often the clocks are looked at when nothing happens, or
	// more often where the lease allows timers less lateness: Go's timers stand
	// still while the host is suspended, and a deadline that passes then must be
	// seen as soon as the host is back.
	lookEvery = 100 * time.Millisecond
)

// loop is the only place that touches the machine. It waits; what is decided
// is decided in Step.
func (n *Agent) loop(ctx context.Context) {
	n.machine = machine.New(n.opts.Machine, n.opts.Clock.Now())
	sleep := newSleepDetector(n.opts.Clock, n.opts.Machine.Lease.Late)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var published machine.Instant
	stale := true
	for n.exit == nil {
		select {
		case <-n.inbox.wake:
		case <-timer.C:
		}
		now := n.opts.Clock.Now()
		n.turned.Store(int64(now))
		stale = n.turn(ctx, now, sleep.slept()) || stale
		next := n.untilWake()
		if d := now.Sub(published); stale && d >= statusEvery {
			published, stale = now, false
			n.publish()
		} else if stale {
			next = min(next, statusEvery-d)
		}
		timer.Reset(next)
	}
	n.publish()
}

// turn tells the machine what has come, time included, and reports whether
// anything can have changed.
func (n *Agent) turn(ctx context.Context, now machine.Instant, slept bool) (changed bool) {
	changed = slept || n.machine.Wake() <= now
	if slept {
		n.step(ctx, machine.Slept{})
	}
	n.step(ctx, machine.Tick{})
	for _, ev := range n.inbox.take() {
		if n.exit == nil {
			changed = true
			n.forget(ev)
			n.step(ctx, ev)
		}
	}
	return changed
}

func (n *Agent) step(ctx context.Context, ev machine.Event) {
	actions := n.machine.Step(n.opts.Clock.Now(), ev)
	mustHold(n.machine.Check(), ev, n.machine.Status)
	n.arm(n.machine.Doom()) // first: this process may be stopped as soon as an app runs
	for _, a := range actions {
		n.perform(ctx, a)
	}
}

func (n *Agent) arm(at machine.Instant) {
	if n.opts.Last != nil {
		n.opts.Last.Arm(at)
	}
}

// mustHold panics where an invariant does not hold, with all that is known: it
// is a bug, and going on could start a second instance.
func mustHold(err error, ev machine.Event, status func() machine.Status) {
	if err != nil {
		panic(&violation{err, ev, status()})
	}
}

// violation is what a violated invariant panics with.
type violation struct {
	err    error
	event  machine.Event
	status machine.Status
}

func (v *violation) Error() string {
	return fmt.Sprintf("%v\nafter %T %+v\nstatus %+v", v.err, v.event, v.event, v.status)
}

func (v *violation) Unwrap() error { return v.err }

// untilWake is how long the loop may wait.
func (n *Agent) untilWake() time.Duration {
	return min(max(n.machine.Wake().Sub(n.opts.Clock.Now()), 0), n.checkpoint)
}

// publish replaces the snapshot and wakes those who wait for a change.
func (n *Agent) publish() {
	s := n.machine.Status()
	n.status.Store(&s)
	next := make(chan struct{})
	close(*n.changed.Swap(&next))
}
