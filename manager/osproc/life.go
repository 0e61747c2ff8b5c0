package osproc

import (
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/seed7529eb29/regent/manager/app"
)

// live is the whole life of the instance. It keeps its thread to itself: the
// child is to die with this process, and the kernel takes the end of the thread
// that started it for that.
func (i *instance) live() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(i.done)
	if err := i.tryLive(); err != nil {
		i.exit = i.notStarted(err)
	}
}

// tryLive returns an error when there was no child.
func (i *instance) tryLive() error {
	own, err := i.runner.belong(i.start)
	if err != nil {
		return err
	}
	defer i.leave(own)
	i.mu.Lock()
	i.own = own
	i.mu.Unlock()
	p, err := newPlan(i.runner.Command, i.start, own.vars)
	if err != nil {
		return err
	}
	b, err := i.runner.Nursery.birth(p)
	if err != nil {
		return err
	}
	if again := i.inhabit(b, p); !again {
		return nil
	}
	if b, err = i.runner.Nursery.bear(p, nothing); err != nil {
		return err
	}
	i.inhabit(b, p)
	return nil
}

// leave removes what the start was given: nobody is left who could use it.
func (i *instance) leave(own *belongings) {
	i.mu.Lock()
	i.own = nil
	i.mu.Unlock()
	own.remove()
}

// inhabit is the life of the instance in one child. It asks for another one when
// the child, which had waited, had died before it was told anything: then
// nothing was started.
func (i *instance) inhabit(b *born, p plan) (again bool) {
	defer b.free()
	b.streams.pass(i.runner.Output)
	var err error
	i.exit, err = i.outlive(b.child, p)
	b.streams.drain()
	return b.waited && errors.Is(err, errNoCommandYet) && !i.isKilled()
}

func (i *instance) isKilled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopping || i.killed != nil
}

// outlive is the life of a child, from its birth until its whole group is gone.
// The error is that of a start that failed.
func (i *instance) outlive(c *child, p plan) (app.Exit, error) {
	c.group.App = i.start.App
	i.adopt(c)
	err := i.runner.Ledger.Add(c.group)
	if err == nil {
		err = c.release(p)
	}
	up := i.ready(err)
	if !up {
		c.kill()
	}
	c.awaitLeader()
	end := i.ending()
	i.clear(c)
	state := i.reap(c)
	i.runner.Ledger.Remove(c.group)
	if !up {
		return i.notStarted(err), err
	}
	return end.exit(state), nil
}

// adopt puts the child in the reach of Stop and Kill.
func (i *instance) adopt(c *child) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.child = c
	if i.killed != nil {
		c.kill()
	}
}

// ready ends the start: the app is started unless something failed, or a stop
// or kill came first.
func (i *instance) ready(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil || i.killed != nil {
		return false
	}
	i.up = true
	close(i.started)
	return true
}

// notStarted is the exit of a failed start. A child that was killed fails with
// all sorts of errors, and none of them is the reason.
func (i *instance) notStarted(err error) app.Exit {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.killed != nil {
		err = i.killed
	}
	return app.Exit{Err: err, Reason: err.Error()}
}

// ending is what was known when the first process of the group had ended: what
// comes after didn't end it.
type ending struct {
	stopping bool
	killed   error
}

func (i *instance) ending() ending {
	i.mu.Lock()
	defer i.mu.Unlock()
	return ending{i.stopping, i.killed}
}

// exit tells a kill, a stop and an end by itself apart. Ended by the stop
// signal is a normal end.
func (e ending) exit(state *os.ProcessState) app.Exit {
	switch {
	case e.killed != nil:
		return app.Exit{Started: true, Reason: "killed: " + e.killed.Error()}
	case e.stopping:
		return app.Exit{Started: true, Normal: true, Reason: "stopped: " + state.String()}
	}
	return app.Exit{Started: true, Normal: state.Success(), Reason: state.String()}
}

// patient reports whether the group was asked to end and may still do so.
func (i *instance) patient() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopping && i.killed == nil
}

// Between two looks at a group that isn't gone yet: short at first, since most
// end at once, and never long enough to be felt in a hand-over.
const (
	lookFirst = time.Millisecond
	lookMax   = 20 * time.Millisecond
)

// clear returns when nothing but the dead leader is left of the group. The
// last look must follow a kill: see samehost.Members.
func (i *instance) clear(c *child) {
	pause := lookFirst
	wait := func() { time.Sleep(pause); pause = min(2*pause, lookMax) }
	for i.patient() && c.othersAlive() {
		wait()
	}
	for c.kill(); c.othersAlive(); c.kill() {
		wait()
	}
}

// reap lets go of the leader, and so of the number of the group.
func (i *instance) reap(c *child) *os.ProcessState {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.child = nil
	if i.limit != nil {
		i.limit.Stop()
	}
	return c.reap()
}
