package manager

import (
	"context"
	"errors"

	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// Errors of the calls, after those of OTP's application module. Test with
// errors.Is.
var (
	ErrUnknownApp            = errors.New("unknown app") // not in the configuration
	ErrUndefined             = errors.New("app is neither registered nor has a command")
	ErrAlreadyStarted        = errors.New("already started")         // {already_started, App}
	ErrNotStarted            = errors.New("not started")             // {not_started, App}
	ErrNotRunningDistributed = errors.New("not running distributed") // {not_running_distributed, App}
	ErrAlreadyRunningLocally = errors.New("already running locally") // {already_running_locally, App}
	ErrStartFailed           = errors.New("start failed")            // {Node, Reason}
	ErrStopped               = errors.New("stopped meanwhile")       // by a stop that overtook it
	ErrOvertaken             = errors.New("overtaken")               // by another takeover
	ErrBadType               = errors.New("bad restart type")
	ErrClosing               = errors.New("the node stops")
)

var refusals = map[machine.RefusalKind]error{
	machine.RefuseUnknownApp:     ErrUnknownApp,
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
// Errors: ErrUnknownApp, ErrUndefined, ErrAlreadyStarted, ErrStartFailed with
// node and reason, ErrStopped, ErrClosing, ErrNotRunning, the cause of ctx.
func (n *Node) StartApp(ctx context.Context, a policy.App, t RestartType) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbStart, App: a, Type: t})
}

// StopApp stops an app on this node (OTP: application:stop/1): where it runs,
// it is stopped and stays so in the whole cluster; elsewhere this node no
// longer takes part. It returns when the app is gone from here.
//
// Errors: ErrUnknownApp, ErrNotStarted, ErrOvertaken by a start, ErrClosing,
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
// Errors: ErrUnknownApp, ErrNotRunningDistributed, ErrAlreadyRunningLocally,
// ErrStartFailed, ErrStopped, ErrOvertaken, ErrClosing, ErrNotRunning, the cause
// of ctx.
func (n *Node) Takeover(ctx context.Context, a policy.App, t RestartType) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbTakeover, App: a, Type: t})
}

// Permit says whether this node may run an app (OTP: application:permit/2).
// Withdrawing it moves the app to the next node; giving it may take it over.
// It is forgotten when the node restarts.
//
// Errors: ErrUnknownApp, ErrClosing, ErrNotRunning, the cause of ctx.
func (n *Node) Permit(ctx context.Context, a policy.App, permitted bool) error {
	return n.Call(ctx, machine.Command{Verb: machine.VerbPermit, App: a, Permitted: permitted})
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
// same for people and other programs. It must not be changed.
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
