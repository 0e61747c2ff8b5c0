package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed7529eb29/regent/policy"
)

// live is the whole life of the instance.
func (i *instance) live() {
	defer i.end()
	if err := call("Start", i.begin); err != nil {
		i.failed(err)
		return
	}
	ran := begin("Run", i.run)
	err := i.phases()
	if i.ready(err) {
		i.untilGone(ran)
		return
	}
	i.cancel(err)
	if ended := <-ran; ended != nil && errors.Is(err, errEnded) {
		err = fmt.Errorf("%w: %w", err, ended)
	}
	i.failed(err)
}

// begin makes the app and starts it: whoever started the instance must not
// wait for either, nor fall with them.
func (i *instance) begin() error {
	if i.prepare != nil {
		if err := i.prepare(&i.start); err != nil {
			return err
		}
	}
	i.app = i.make()
	return i.app.Start(i.ctx, i.start)
}

// end says that the instance is gone and releases its contexts; in this order
// enforce sees done first.
func (i *instance) end() {
	i.mu.Lock()
	i.confirmed = true
	i.mu.Unlock()
	i.telling.Wait()
	close(i.done)
	i.kill(nil)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.limit != nil {
		i.limit.Stop()
	}
}

// run is Run, and the end of the app's context: whoever waits for something of
// an app that has ended waits in vain.
func (i *instance) run() error {
	defer i.cancel(errEnded)
	return i.app.Run(i.ctx)
}

// phases calls the start phases in order. The end of Run fails them.
func (i *instance) phases() error {
	for _, phase := range i.start.Phases {
		p, err := i.phaseStarter(phase.Of)
		if p != nil && err == nil {
			err = i.phase(p, phase)
		}
		if err != nil {
			return fmt.Errorf("start phase %q: %w", phase, err)
		}
	}
	return nil
}

// phaseStarter is the app itself, if it takes part in start phases, or the part
// that is meant.
func (i *instance) phaseStarter(part policy.App) (p PhaseStarter, err error) {
	if part == "" {
		p, _ = i.app.(PhaseStarter)
		return p, nil
	}
	if in, ok := i.app.(Includer); ok {
		err = call("Included", func() error { p = in.Included(part); return nil })
	}
	if p == nil && err == nil {
		err = fmt.Errorf("%s has no part %s: Included must return it", i.start.App, part)
	}
	return p, err
}

func (i *instance) phase(p PhaseStarter, phase policy.Phase) error {
	if i.ctx.Err() != nil {
		return context.Cause(i.ctx)
	}
	if err := call("StartPhase", func() error { return p.StartPhase(i.ctx, phase, i.start) }); err != nil {
		return err
	}
	return context.Cause(i.ctx)
}

// ready ends the start: the app is started unless something failed, or a stop
// or kill came first.
func (i *instance) ready(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil || i.stopping || i.life.Err() != nil {
		return false
	}
	i.up = true
	close(i.started)
	return true
}

// failed is the exit of an instance that didn't start. One that was killed or
// stopped fails with all sorts of errors, and none of them is the reason.
func (i *instance) failed(err error) {
	switch {
	case i.life.Err() != nil:
		err = context.Cause(i.life)
	case errors.Is(context.Cause(i.ctx), ErrStopped):
		err = fmt.Errorf("start abandoned: %w", ErrStopped)
	}
	i.exit = Exit{Err: err, Reason: err.Error()}
}

// untilGone is the part of a life after the start: until it ends by itself, is
// stopped or killed.
func (i *instance) untilGone(ran <-chan error) {
	var e Exit
	select {
	case err := <-ran:
		if cause := context.Cause(i.ctx); !errors.Is(cause, errEnded) {
			err = cause // Run had to end: a callback beside it has panicked
		}
		e.Normal, e.Reason = err == nil, "normal"
		if err != nil {
			e.Reason = err.Error()
		}
		i.leave(nil, &e)
	case <-i.stop:
		e.Normal, e.Reason = true, "stopped"
		i.leave(ran, &e)
	case <-i.life.Done():
		<-ran
	}
	if i.life.Err() != nil {
		e = Exit{Reason: "killed: " + context.Cause(i.life).Error()}
	}
	e.Started = true
	i.exit = e
}

// leave is the way out of a started app: PrepStop, the end of Run (ran; nil if
// it has ended), Stop. It adds the payload and the trouble on the way to e.
func (i *instance) leave(ran <-chan error, e *Exit) {
	i.mu.Lock()
	i.limitLocked()
	i.mu.Unlock()
	if p, ok := i.app.(PrepStopper); ok {
		i.farewell(e, "PrepStop", func() error { p.PrepStop(i.life); return nil })
	}
	i.cancel(ErrStopped)
	if ran != nil {
		<-ran
	}
	if s, ok := i.app.(Stopper); ok {
		i.farewell(e, "Stop", func() (err error) { e.Payload, err = s.Stop(i.life); return err })
	}
}

// farewell calls one of the last callbacks, unless the app was killed.
func (i *instance) farewell(e *Exit, name string, f func() error) {
	if i.life.Err() != nil {
		return
	}
	if err := call(name, f); err != nil {
		e.Reason += "; " + name + ": " + err.Error()
	}
}
