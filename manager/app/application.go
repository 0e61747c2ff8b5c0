package app

import (
	"context"

	"github.com/seed7529eb29/regent/policy"
)

// Application is an app written in Go (OTP: behaviour application). One value
// is one instance: it is made for a start and never started again.
//
// The order of the callbacks is OTP's: Start, the start phases, and when the
// app ends for whatever reason but a kill PrepStop, the end of Run, Stop. A
// start that fails, in Start or in a phase, or is stopped before its end, is
// not followed by PrepStop or Stop. A panic in a callback counts as an error with the stack as its text;
// one in a goroutine of the app's own ends the process, as in any Go program.
type Application interface {
	// Start brings the app up and returns when it is up. ctx lives as long as
	// the instance: it is cancelled with the cause ErrStopped when the app is
	// to stop, and with ErrFenced when it must not run any longer.
	Start(ctx context.Context, s Start) error
	// Run is the app's life, as the top supervisor's is in OTP: called once
	// whenever Start has returned nil, before the first start phase. It returns
	// nil when the app has ended normally and an error when it has ended
	// abnormally; when ctx (that of Start) is cancelled it must return soon,
	// and then its result doesn't matter. Nothing of the app may be alive when
	// it has returned.
	Run(ctx context.Context) error
}

// PhaseStarter is an Application with start phases (OTP: Module:start_phase/3).
// The phases of the app's specification are called in order; one that returns
// an error fails the start. Without this interface phases are ignored. A phase of
// an included app names it (Phase.Of), and is called on that app: see Includer.
type PhaseStarter interface {
	StartPhase(ctx context.Context, phase policy.Phase, s Start) error
}

// Includer is an Application that brings up others as parts of itself (OTP:
// included_applications). Nothing else starts them: that is its Start's business.
// Their start phases are called in turn with its own, on what Included returns
// of them; for a part that has one, nil fails the start.
type Includer interface {
	Included(part policy.App) PhaseStarter
}

// PrepStopper is told before the app's context is cancelled (OTP:
// Module:prep_stop/1), also when Run has returned by itself. ctx ends with the
// stop timeout or a kill; then KillGrace is left.
type PrepStopper interface {
	PrepStop(ctx context.Context)
}

// Stopper is called last, when Run has returned (OTP: Module:stop/1). ctx ends
// with the stop timeout or a kill; then KillGrace is left. The payload is handed to the next instance, wherever
// it starts; an error is reported and changes nothing.
type Stopper interface {
	Stop(ctx context.Context) (payload []byte, err error)
}

// Confirmer is told that a provisional instance (Start.Provisional: an
// overlapping takeover) has become the owner. Until then the epoch of its Start
// must not reach anybody who compares epochs: a takeover that fails would lock
// the running owner out. It is called beside Run, at most once; other instances
// are owners from their start and are not told.
type Confirmer interface {
	Confirmed(ctx context.Context)
}

// Func makes an Application of one function: started as soon as it is called,
// ended when it returns. The context and the result are those of Run.
func Func(run func(ctx context.Context, s Start) error) Application {
	return &function{run: run}
}

type function struct {
	run   func(ctx context.Context, s Start) error
	start Start
}

func (f *function) Start(_ context.Context, s Start) error { f.start = s; return nil }
func (f *function) Run(ctx context.Context) error          { return f.run(ctx, f.start) }
