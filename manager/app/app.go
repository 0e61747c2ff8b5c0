package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// ErrFenced is the cause of the context of an instance that was killed: its
// node has lost the right to run the app. What else is known is wrapped beside it.
var ErrFenced = errors.New("fenced: the right to run the app has ended")

// ErrStopped is the cause of the context of an instance that is being stopped.
var ErrStopped = errors.New("app is being stopped")

// ErrStopTimeout is the cause of the kill that follows a stop which took
// longer than the stop timeout.
var ErrStopTimeout = errors.New("not stopped within the stop timeout")

// Start is what an instance is told (OTP: the arguments of Module:start/2).
type Start struct {
	App     policy.App
	Node    node.Name // where it runs
	Cluster string
	Session policy.Session // of the node
	Epoch   policy.Epoch   // the fencing token of this ownership
	Kind    policy.StartKind
	From    node.Name // the other node of a failover or takeover; empty for a normal start
	Args    json.RawMessage
	Phases  []policy.Phase
	Payload []byte // what the old instance handed over; nil if nothing

	// Provisional is set for an overlapping takeover: the old instance still
	// owns the app, and Epoch must not reach anybody who compares epochs before
	// the instance is confirmed (see Confirmer).
	Provisional bool

	// NATS is how the instance connects to the cluster's NATS, with the rights
	// of its app; nil where the cluster runs on a NATS of somebody else's.
	NATS *NATS
}

// NATS is a way into the cluster's NATS for one app. It may publish and
// subscribe below regent.CLUSTER.app.APP, and use one stream of its own. With
// the client library for Go:
//
//	nats.Connect(s.NATS.URL, nats.UserJWT(s.NATS.Token, s.NATS.Sign),
//		nats.Secure(s.NATS.TLS()), nats.CustomInboxPrefix(s.NATS.Inbox))
type NATS struct {
	URL    string // servers, with commas between them
	Inbox  string // prefix of the subjects for replies; no other is allowed
	Stream string // the one stream that it may make
	Token  func() (string, error)
	Sign   func(nonce []byte) ([]byte, error)
	TLS    func() *tls.Config
}

// Runner starts instances of one app. Whoever starts one must wait for the end
// of the instance before.
type Runner interface {
	// Start begins an instance and returns at once. What goes wrong is in the
	// instance's Exit.
	Start(s Start) Instance
}

// Instance is one copy of an app, from the beginning of its start.
type Instance interface {
	// Started is closed when the app is started; never, if that fails.
	Started() <-chan struct{}
	// Done is closed when everything of the instance is confirmed gone.
	Done() <-chan struct{}
	// Exit waits for Done and says how it ended.
	Exit() Exit
	// Confirm says that the epoch of a provisional start (a takeover that
	// overlaps with the old instance) is the owner's now, and may be shown to
	// those who check it. It returns at once.
	Confirm()
	// Stop asks the instance to end, and kills it after the stop timeout. It
	// returns at once.
	Stop()
	// Kill ends the instance at once, because of cause. It returns at once.
	Kill(cause error)
}

// Exit is how an instance ended.
type Exit struct {
	// Started is false when the start failed; Err says why.
	Started bool
	Err     error
	// Normal: by itself without an error, or by Stop within its timeout. A
	// transient app that exits abnormally ends its node.
	Normal bool
	// Reason is for people: one line, followed by the stack of a panic.
	Reason string
	// Payload is for the next instance (see Stopper).
	Payload []byte
}

// Await waits until i is started. When it fails, or ctx ends first (i is then
// killed), Await returns the reason after everything of i is gone.
func Await(ctx context.Context, i Instance) error {
	select {
	case <-i.Started():
		return nil
	case <-i.Done():
	case <-ctx.Done():
		i.Kill(context.Cause(ctx))
	}
	e := i.Exit()
	if !e.Started {
		return e.Err
	}
	return context.Cause(ctx) // nil: it started and ended in the same moment
}
