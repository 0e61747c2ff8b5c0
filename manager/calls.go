package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

// Errors of the calls, after those of OTP's application module. Test with
// errors.Is.
var (
	ErrNotLoaded             = errors.New("not loaded") // {not_loaded, App}: nobody described it
	ErrUndefined             = errors.New("app is neither registered nor has a command")
	ErrAlreadyStarted        = errors.New("already started")         // {already_started, App}
	ErrNotStarted            = errors.New("not started")             // {not_started, App}
	ErrNotRunningDistributed = errors.New("not running distributed") // {not_running_distributed, App}
	ErrAlreadyRunningLocally = errors.New("already running locally") // {already_running_locally, App}
	ErrStartFailed           = errors.New("start failed")            // {Node, Reason}
	ErrStopped               = errors.New("stopped meanwhile")       // by a stop that overtook it
	ErrOvertaken             = errors.New("overtaken")               // by another takeover
	ErrBadType               = errors.New("bad restart type")        // {invalid_restart_type, Type}
	ErrBadDistribution       = errors.New("bad distribution spec")   // {bad_distribution_spec, Spec}
	ErrMismatch              = errors.New("distribution mismatch")   // {distribution_mismatch, App, Node}
	ErrInUse                 = errors.New("running")                 // {running, App}: it must be stopped first
	ErrVoters                = errors.New("specification differs")   // in what can't be changed while nodes run
	ErrClosing               = errors.New("the node stops")
)

var refusals = map[machine.RefusalKind]error{
	machine.RefuseNotLoaded:      ErrNotLoaded,
	machine.RefuseUndefined:      ErrUndefined,
	machine.RefuseAlreadyStarted: ErrAlreadyStarted,
	machine.RefuseNotStarted:     ErrNotStarted,
	machine.RefuseNotRunning:     ErrNotRunningDistributed,
	machine.RefuseRunsHere:       ErrAlreadyRunningLocally,
	machine.RefuseFailed:         ErrStartFailed,
	machine.RefuseStopped:        ErrStopped,
	machine.RefuseOvertaken:      ErrOvertaken,
	machine.RefuseBadType:        ErrBadType,
	machine.RefuseClosing:        ErrClosing,
	machine.RefuseInUse:          ErrInUse,
	machine.RefuseMismatch:       ErrMismatch,
	machine.RefuseVoters:         ErrVoters,
	machine.RefuseNoVerb:         ErrOptions,
}

// refused is a refusal in the words of this package: the sentinel of its kind,
// with the reason.
type refused struct{ *machine.Refusal }

func (r refused) Error() string {
	if r.Reason == "" {
		return refusals[r.Kind].Error()
	}
	return refusals[r.Kind].Error() + ": " + r.Reason
}

func (r refused) Unwrap() []error { return []error{refusals[r.Kind], r.Refusal} }

// StartApp starts an app on this node (OTP: application:start/2): the node
// takes part in running it. It returns when the app runs, wherever the decision
// rule has it run, and blocks without limit while a better node is there on
// which it was not started; ctx bounds the waiting, not the start. t empty: the
// app's configured type.
//
// Errors: ErrNotLoaded, ErrUndefined, ErrAlreadyStarted, ErrStartFailed with
// node and reason, ErrStopped, ErrClosing, ErrNotRunning, the cause of ctx.
func (n *Node) StartApp(ctx context.Context, a policy.App, t RestartType) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbStart, App: a, Type: t})
}

// StopApp stops an app on this node (OTP: application:stop/1): where it runs,
// it is stopped and stays so in the whole cluster; elsewhere this node no
// longer takes part. It returns when the app is gone from here.
//
// Errors: ErrNotLoaded, ErrNotStarted, ErrOvertaken by a start, ErrClosing,
// ErrNotRunning, the cause of ctx.
func (n *Node) StopApp(ctx context.Context, a policy.App) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbStop, App: a})
}

// StopEverywhere is StopApp with effect on the cluster from any node: the app
// is stopped wherever it runs. Other nodes keep taking part; a later start on
// one of them runs it again. The errors are those of StopApp without
// ErrNotStarted.
func (n *Node) StopEverywhere(ctx context.Context, a policy.App) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbStop, App: a, All: true})
}

// Takeover moves an app here, whatever the priority (OTP:
// application:takeover/2). It must be started here and run elsewhere. It
// returns when the app runs here.
//
// Errors: ErrNotLoaded, ErrNotRunningDistributed, ErrAlreadyRunningLocally,
// ErrStartFailed, ErrStopped, ErrOvertaken, ErrClosing, ErrNotRunning, the cause
// of ctx.
func (n *Node) Takeover(ctx context.Context, a policy.App, t RestartType) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbTakeover, App: a, Type: t})
}

// Permit says whether this node may run an app (OTP: application:permit/2).
// Withdrawing it moves the app to the next node; giving it may take it over.
// It is forgotten when the node restarts, as in OTP; PermitPersist keeps it.
//
// Errors: ErrNotLoaded, ErrClosing, ErrNotRunning, the cause of ctx.
func (n *Node) Permit(ctx context.Context, a policy.App, permitted bool) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbPermit, App: a, Permitted: permitted})
}

// PermitPersist is Permit over restarts of this node: it is kept in the bucket
// (permit.APP) and in the data directory, and stands over the configuration's
// permissions from then on. It returns when it is kept, which takes a quorum, and
// done. Errors as those of Permit.
func (n *Node) PermitPersist(ctx context.Context, a policy.App, permitted bool) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbPermit, App: a, Permitted: permitted, Persist: true})
}

// EnsureStarted is StartApp for an app that may be started already (OTP:
// application:ensure_started/2): that is no error.
func (n *Node) EnsureStarted(ctx context.Context, a policy.App, t RestartType) error {
	if err := n.StartApp(ctx, a, t); !errors.Is(err, ErrAlreadyStarted) {
		return err
	}
	return nil
}

// EnsureAllStarted starts an app unless it is started (OTP:
// application:ensure_all_started/2), and returns what it started: the app, or
// nothing. Apps have no dependencies here that it could start first. Errors as
// those of StartApp, without ErrAlreadyStarted.
func (n *Node) EnsureAllStarted(ctx context.Context, a policy.App, t RestartType) ([]policy.App, error) {
	switch err := n.StartApp(ctx, a, t); {
	case err == nil:
		return []policy.App{a}, nil
	case errors.Is(err, ErrAlreadyStarted):
		return nil, nil
	default:
		return nil, err
	}
}

// Load checks that an app is described (OTP: application:load/1): configured,
// registered or loaded counts (B-26). Nothing has to be done for it. The error is
// ErrNotLoaded, or one of those of Call.
func (n *Node) Load(ctx context.Context, a policy.App) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbLoad, App: a})
}

// Distribution says where an app may run (OTP: {App, Timeout, [Node | {Node,
// ...}]} of kernel's distributed).
type Distribution struct {
	Timeout time.Duration // of its failover; there is no infinity here, as in OTP
	Nodes   [][]node.Name // in order of priority; those of one group are equals (a tuple)
}

// LoadDistributed makes an app distributed at run time (OTP:
// application:load/2), over what the configuration says. Unlike in OTP it holds
// for the whole cluster, until another one replaces it, and it returns when all
// nodes that are there go by it; nodes that come later take it over. It moves
// nothing by itself.
//
// Errors: ErrBadDistribution, ErrMismatch when the app is started with another
// distribution, ErrInUse when it runs as a local app, and those of Call.
func (n *Node) LoadDistributed(ctx context.Context, a policy.App, d Distribution) error {
	if d.Timeout < 0 {
		return fmt.Errorf("%w: %s: negative timeout", ErrBadDistribution, a)
	}
	s := n.opts.Config.Distribute(a, policy.Timeout(d.Timeout), d.Nodes)
	if err := specjson.Check(s); err != nil {
		return fmt.Errorf("%w: %w", ErrBadDistribution, err)
	}
	return n.Call(ctx, machine.Command{Verb: machine.VerbLoad, App: a, Spec: &s, Detail: "loaded: " + s.Term()})
}

// Call gives any command to the node and waits for its answer; the other calls
// are made of it. It is for programs that carry commands from elsewhere, as
// cmd/regent does. The errors are those of the others.
func (n *Node) Call(ctx context.Context, c machine.Command) error {
	a := n.running()
	if a == nil {
		return ErrNotRunning
	}
	err := a.Call(ctx, c)
	if refusal, ok := errors.AsType[*machine.Refusal](err); ok {
		return refused{refusal}
	}
	if errors.Is(err, agent.ErrEnded) {
		return ErrNotRunning
	}
	return err
}

func (n *Node) running() *agent.Agent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent
}

// View is what the core knows, without a question to anybody: Status is the
// same for people and other programs. It is at most some 20 ms old, and never
// older than the answer to a call. It must not be changed.
func (n *Node) View() *machine.Status {
	if a := n.running(); a != nil {
		return a.Status()
	}
	return &machine.Status{Node: n.plan.self}
}

// Note adds a line to the history of the cluster.
func (n *Node) Note(h machine.History) {
	if a := n.running(); a != nil {
		a.Note(h)
	}
}
