package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// KillGrace is how long a killed app in Go may take to return. The time
// allowed for a kill (200 ms by default) covers it and the end of the process.
const KillGrace = 50 * time.Millisecond

// Go is the Runner of an app in this process.
type Go struct {
	// New makes the Application of one start. It must be set.
	New func() Application
	// StopTimeout bounds a stop, from Stop to Done. 0 makes every stop a kill.
	StopTimeout time.Duration
	// Prepare completes what an instance is told, before New. It may take its
	// time; an error fails the start. nil: nothing is missing.
	Prepare func(*Start) error
	// Abort ends this process at once and doesn't return. It is called when a
	// killed app has not returned within KillGrace. nil means os.Exit(1)
	// without a word, since writing one could block.
	Abort func(reason string)
}

// Start implements Runner.
func (g Go) Start(s Start) Instance {
	i := &instance{
		make:    g.New,
		prepare: g.Prepare,
		start:   s,
		timeout: g.StopTimeout,
		abort:   g.Abort,
		started: make(chan struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	if i.abort == nil {
		i.abort = func(string) { os.Exit(1) }
	}
	i.life, i.kill = context.WithCancelCause(context.Background())
	i.ctx, i.cancel = context.WithCancelCause(i.life)
	context.AfterFunc(i.life, i.enforce)
	go i.live()
	return i
}

// errEnded is the cause of the context of an instance whose Run has returned.
var errEnded = errors.New("app has ended")

// instance is one Application and the goroutine that calls it.
type instance struct {
	make    func() Application
	prepare func(*Start) error
	app     Application // made by live, before started is closed
	start   Start
	timeout time.Duration
	abort   func(string)

	// life ends with a kill only; ctx, its child, is the app's context and also
	// ends with a stop or with Run.
	life   context.Context
	kill   context.CancelCauseFunc
	ctx    context.Context
	cancel context.CancelCauseFunc

	started chan struct{}
	stop    chan struct{}
	done    chan struct{}
	exit    Exit // written by live before done is closed

	mu        sync.Mutex
	up        bool // under mu: started is closed
	stopping  bool // under mu: stop is closed
	confirmed bool // under mu: Confirmed is not to be called any more
	limit     *time.Timer
	telling   sync.WaitGroup // Confirmed, while it runs
}

func (i *instance) Started() <-chan struct{} { return i.started }
func (i *instance) Done() <-chan struct{}    { return i.done }
func (i *instance) Exit() Exit               { <-i.done; return i.exit }

// Stop implements Instance. A start is stopped by its context, a started app by
// the callbacks of leave.
func (i *instance) Stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopping {
		return
	}
	i.stopping = true
	close(i.stop)
	i.limitLocked()
	if !i.up {
		i.cancel(ErrStopped)
	}
}

// limitLocked makes sure that what has begun to end ends within the stop
// timeout.
func (i *instance) limitLocked() {
	if i.limit == nil {
		i.limit = time.AfterFunc(i.timeout, func() { i.Kill(fmt.Errorf("%w (%v)", ErrStopTimeout, i.timeout)) })
	}
}

// Kill implements Instance.
func (i *instance) Kill(cause error) { i.kill(fenced(cause)) }

func fenced(cause error) error {
	switch {
	case cause == nil:
		return ErrFenced
	case errors.Is(cause, ErrFenced):
		return cause
	}
	return fmt.Errorf("%w: %w", ErrFenced, cause)
}

// Confirm implements Instance.
func (i *instance) Confirm() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.confirmed || !i.up {
		return
	}
	c, ok := i.app.(Confirmer)
	if !ok {
		return
	}
	i.confirmed = true
	i.telling.Go(func() {
		if err := call("Confirmed", func() error { c.Confirmed(i.ctx); return nil }); err != nil {
			i.cancel(err)
		}
	})
}

// enforce gives a killed instance its grace, then ends the process.
func (i *instance) enforce() {
	t := time.NewTimer(KillGrace)
	defer t.Stop()
	select {
	case <-i.done:
	case <-t.C:
		i.abort(fmt.Sprintf("app %q is still running %v after it was killed: %v", i.start.App, KillGrace, context.Cause(i.life)))
	}
}
