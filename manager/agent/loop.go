package agent

import (
	"context"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

const (
	// statusEvery bounds how often a snapshot is made under load.
	statusEvery = 20 * time.Millisecond
	// lookEvery is how often the clocks are compared when nothing happens.
	lookEvery = time.Second
)

// loop is the only place that touches the machine. It waits; what is decided
// is decided in Step.
func (n *Agent) loop(ctx context.Context) {
	n.machine = machine.New(n.opts.Machine, n.opts.Clock.Now())
	sleep := newSleepDetector(n.opts.Clock, n.opts.Machine.Lease.Late)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var published machine.Instant
	for n.exit == nil {
		select {
		case <-n.inbox.wake:
		case <-timer.C:
		}
		now := n.opts.Clock.Now()
		if sleep.slept() {
			n.step(ctx, machine.Slept{})
		}
		n.step(ctx, machine.Tick{})
		for _, ev := range n.inbox.take() {
			if n.exit == nil {
				n.step(ctx, ev)
			}
		}
		next := n.untilWake()
		if d := now.Sub(published); d >= statusEvery {
			published = now
			n.publish()
		} else {
			next = min(next, statusEvery-d)
		}
		timer.Reset(next)
	}
	n.publish()
}

func (n *Agent) step(ctx context.Context, ev machine.Event) {
	for _, a := range n.machine.Step(n.opts.Clock.Now(), ev) {
		n.perform(ctx, a)
	}
	if err := n.machine.Check(); err != nil {
		panic(err)
	}
}

// untilWake is how long the loop may wait.
func (n *Agent) untilWake() time.Duration {
	return min(max(n.machine.Wake().Sub(n.opts.Clock.Now()), 0), lookEvery)
}

// publish replaces the snapshot and wakes those who wait for a change.
func (n *Agent) publish() {
	s := n.machine.Status()
	n.status.Store(&s)
	next := make(chan struct{})
	close(*n.changed.Swap(&next))
}

// sleepDetector notices that the wall clock has jumped ahead of the clock
// since boot: the machine stood still (a paused VM advances neither clock, and
// is then set right).
type sleepDetector struct {
	clock  Clock
	margin int64 // milliseconds
	offset int64
}

func newSleepDetector(c Clock, late time.Duration) *sleepDetector {
	d := &sleepDetector{clock: c, margin: late.Milliseconds()}
	d.offset = d.now()
	return d
}

// now is the wall clock's lead over the clock since boot.
func (d *sleepDetector) now() int64 {
	return d.clock.Wall() - time.Duration(d.clock.Now()).Milliseconds()
}

func (d *sleepDetector) slept() bool {
	lead := d.now()
	jump := lead - d.offset
	d.offset = lead
	return jump > d.margin
}
