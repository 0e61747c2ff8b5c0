package osproc

import (
	"cmp"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/manager/app"
)

// instance is one process group and the goroutine that owns it.
type instance struct {
	runner *Runner
	start  app.Start

	started chan struct{}
	done    chan struct{}
	exit    app.Exit // written by live before done is closed

	mu       sync.Mutex
	child    *child      // under mu: from its birth until it is reaped
	own      *belongings // under mu: from before its birth until it is reaped
	up       bool        // under mu: started is closed
	stopping bool        // under mu
	killed   error       // under mu: the cause of the first kill
	limit    *time.Timer // under mu: the stop timeout
}

func newInstance(r *Runner, s app.Start) *instance {
	return &instance{runner: r, start: s, started: make(chan struct{}), done: make(chan struct{})}
}

func (i *instance) Started() <-chan struct{} { return i.started }
func (i *instance) Done() <-chan struct{}    { return i.done }
func (i *instance) Exit() app.Exit           { <-i.done; return i.exit }

// Confirm implements app.Instance. A command that can't be told is killed: it is
// the owner, and would wait for ever.
func (i *instance) Confirm() {
	i.mu.Lock()
	own := i.own
	i.mu.Unlock()
	if own == nil {
		return
	}
	go func() { // a disk may be slow
		if err := own.confirmed(); err != nil {
			i.Kill(fmt.Errorf("it can't be told that it is confirmed: %w", err))
		}
	}()
}

// Stop implements app.Instance. A start that isn't complete is killed: what it
// is by then is still this program.
func (i *instance) Stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.stopping || i.killed != nil:
		return
	case !i.up:
		i.killLocked(app.ErrStopped)
		return
	}
	i.stopping = true
	if i.child == nil {
		return
	}
	i.child.signal(cmp.Or(i.runner.Command.StopSignal, syscall.SIGTERM))
	timeout := i.runner.Command.StopTimeout
	i.limit = time.AfterFunc(timeout, func() { i.Kill(fmt.Errorf("%w (%v)", app.ErrStopTimeout, timeout)) })
}

// Kill implements app.Instance.
func (i *instance) Kill(cause error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if cause == nil {
		cause = app.ErrFenced
	}
	i.killLocked(cause)
}

func (i *instance) killLocked(cause error) {
	if i.killed == nil {
		i.killed = cause
	}
	if i.child != nil {
		i.child.kill()
	}
}
