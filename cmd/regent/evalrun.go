package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// evalNode is the node that expressions are evaluated at.
type evalNode interface {
	// Call gives a command to the node and waits for its answer.
	Call(ctx context.Context, c machine.Command) error
	// LoadDistributed makes an app distributed in the whole cluster.
	LoadDistributed(ctx context.Context, a policy.App, d manager.Distribution) error
	// Status is what the node knows.
	Status() *machine.Status
}

// connectMax is how long connect_node waits to hear of a node.
const connectMax = 5 * time.Second

// runEval evaluates calls one after the other, as erl does, until ctx ends: a
// start that blocks holds up those behind it. Each failure is told and the next
// call made.
func runEval(ctx context.Context, n evalNode, calls []EvalCall, failed func(EvalCall, error)) {
	for _, c := range calls {
		if err := c.evaluate(ctx, n); err != nil && ctx.Err() == nil {
			failed(c, err)
		}
	}
}

func (c EvalCall) evaluate(ctx context.Context, n evalNode) error {
	switch c.Func {
	case EvalLoad:
		if s := c.Spec; s != nil {
			return n.LoadDistributed(ctx, c.App, manager.Distribution{Timeout: time.Duration(s.Timeout), Nodes: s.Groups})
		}
	case EvalConnect:
		return connect(ctx, n, c.Node)
	case EvalEnsure:
		err := n.Call(ctx, c.command())
		if refusal, ok := errors.AsType[*machine.Refusal](err); ok && refusal.Kind == machine.RefuseAlreadyStarted {
			return nil
		}
		return err
	}
	return n.Call(ctx, c.command())
}

func (c EvalCall) command() machine.Command {
	verbs := map[EvalFunc]machine.Verb{
		EvalStart: machine.VerbStart, EvalEnsure: machine.VerbStart, EvalStop: machine.VerbStop,
		EvalTakeover: machine.VerbTakeover, EvalPermit: machine.VerbPermit, EvalLoad: machine.VerbLoad,
	}
	return machine.Command{Verb: verbs[c.Func], App: c.App, Type: c.Type, Permitted: c.Permitted}
}

// connect waits until a node is heard: all nodes of a cluster are connected
// through it anyway.
func connect(ctx context.Context, n evalNode, peer node.Name) error {
	deadline := time.NewTimer(connectMax)
	defer deadline.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if heard(n.Status(), peer) {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("%s was not heard within %v", peer, connectMax)
		}
	}
}

func heard(s *machine.Status, peer node.Name) bool {
	return s.Node == peer || slices.ContainsFunc(s.Nodes, func(n machine.NodeStatus) bool {
		return n.Name == peer && (n.State == machine.NodeUp || n.State == machine.NodeSyncing)
	})
}
