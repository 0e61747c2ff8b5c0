package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// Patience of client commands.
const (
	quorumMax   = 30 * time.Second       // without quorum
	askMax      = 2 * time.Second        // one node's answer to what it can answer at once
	absentMax   = time.Second            // a node that was named may be about to appear
	againPause  = 200 * time.Millisecond // between attempts
	watchPeriod = time.Second            // between looks at the quorum
)

// Why a command was given up.
var (
	errNoQuorum = errors.New("no quorum")
	errTimeout  = errors.New("not done in time")
)

// client asks the nodes of a cluster.
type client struct {
	*link
	svc *service.Client
}

func (t *target) open(ctx context.Context, warn io.Writer) (*client, error) {
	l, err := t.dial(ctx, warn)
	if err != nil {
		return nil, err
	}
	return &client{l, &service.Client{Conn: l.nc, Cluster: l.cluster}}, nil
}

// status is the picture of one node: one on this machine, else the one whose
// server answered, else any.
func (c *client) status(ctx context.Context) (*status.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	for {
		for _, n := range c.candidates(ctx) {
			if doc, err := c.statusOf(ctx, n); err == nil {
				return doc, nil
			}
		}
		if !pause(ctx, againPause) {
			return nil, &ExitError{
				Code: exitNoCluster, Err: fmt.Errorf("no cluster: no node of cluster %q answers", c.cluster),
				Hint: "NATS is there; check that nodes run, and --cluster",
			}
		}
	}
}

func (c *client) statusOf(ctx context.Context, n node.Name) (*status.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	var doc status.Document
	if err := c.svc.Call(ctx, n, service.VerbStatus, service.StatusRequest{}, &doc); err != nil {
		return nil, err
	}
	return &doc, nil
}

// candidates are the nodes to ask, the nearest first.
func (c *client) candidates(ctx context.Context) []node.Name {
	var names []node.Name
	for _, f := range c.local {
		names = append(names, f.Node)
	}
	if n, err := node.Parse(c.nc.ConnectedServerName()); err == nil {
		names = append(names, n)
	}
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	if len(names) == 0 {
		found, err := c.svc.Discover(ctx)
		if err != nil {
			return nil
		}
		for _, i := range found {
			names = append(names, i.Node)
		}
	}
	return names
}

// command sends a verb to a node and waits for the answer, as long as it takes:
// only a lasting loss of the quorum or of the node ends the wait, and the end of
// ctx. The errors say how to exit.
func (c *client) command(ctx context.Context, n node.Name, verb string, request any) error {
	return c.ask(ctx, n, verb, request, nil)
}

// ask is command with an answer that says something.
func (c *client) ask(ctx context.Context, n node.Name, verb string, request, reply any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	var healthy bool
	watch.Go(func() { healthy = c.watch(ctx, n, cancel) })
	err := c.persist(ctx, n, verb, request, reply)
	cancel(nil)
	watch.Wait()
	if errors.Is(err, errTimeout) && !healthy {
		err = fmt.Errorf("%w: %w", errNoQuorum, err)
	}
	return commandError(n, verb, err)
}

// persist repeats a request that had no answer, was refused for want of a
// quorum, or because the node is not there yet.
func (c *client) persist(ctx context.Context, n node.Name, verb string, request, reply any) error {
	begun, absent := time.Now(), time.Time{}
	unanswered := false
	for {
		err := c.svc.Call(ctx, n, verb, request, reply)
		switch missing := errors.Is(err, service.ErrNoNode); {
		case err == nil, unanswered && alreadyDone(verb, err):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case missing && absent.IsZero():
			absent = time.Now()
		case missing && time.Since(absent) > absentMax:
			return err
		case missing:
		case errors.Is(err, service.ErrUnanswered):
			unanswered, absent = true, time.Time{}
		case codeOf(err) != service.CodeUnavailable:
			return err
		case time.Since(begun) > quorumMax:
			return fmt.Errorf("%w (%w)", errNoQuorum, err)
		}
		if !pause(ctx, againPause) {
			return context.Cause(ctx)
		}
	}
}

// alreadyDone: the repeat of a request that had no answer is refused because
// the first one was carried out.
func alreadyDone(verb string, err error) bool {
	done := map[string]machine.RefusalKind{
		service.VerbStart:    machine.RefuseAlreadyStarted,
		service.VerbStop:     machine.RefuseNotStarted,
		service.VerbTakeover: machine.RefuseRunsHere,
	}
	return refusedAs(err, done[verb])
}

// refusedAs reports whether a node refused a command with that term of OTP.
func refusedAs(err error, kind machine.RefusalKind) bool {
	e, ok := errors.AsType[*service.Error](err)
	return ok && kind != "" && e.Code == service.CodeRefused && strings.HasPrefix(e.Description, string(kind))
}

func codeOf(err error) int {
	if e, ok := errors.AsType[*service.Error](err); ok {
		return e.Code
	}
	return 0
}

// watch looks at a node that has a command of ours, and gives up when it has
// been without quorum for too long. It reports whether it had one at the end.
func (c *client) watch(ctx context.Context, n node.Name, giveUp context.CancelCauseFunc) bool {
	healthy, since := true, time.Now()
	for {
		doc, err := c.statusOf(ctx, n)
		switch {
		case ctx.Err() != nil:
			return healthy
		case err != nil || doc.Quorum.OK: // its silence is for the call to judge
			healthy, since = true, time.Now()
		default:
			healthy = false
		}
		if time.Since(since) > quorumMax {
			giveUp(errNoQuorum)
		}
		if !pause(ctx, watchPeriod) {
			return healthy
		}
	}
}

// commandError gives the failure of a command its exit code.
func commandError(n node.Name, verb string, err error) error {
	if err == nil {
		return nil
	}
	e := &ExitError{Code: exitFailed, What: fmt.Sprintf("%s on %s", verb, n), Err: err}
	switch {
	case errors.Is(err, errNoQuorum):
		e.Code = exitNoCluster
		e.Hint = "a majority of the servers must run and reach one another; see regent status"
	case errors.Is(err, service.ErrNoNode):
		e.Err = errors.New("no such node is running")
		e.Hint = "see regent nodes"
	case codeOf(err) == service.CodeBadRequest:
		e.Code = exitUsage
	case refusedAs(err, machine.RefuseVoters):
		e.Code = exitSpec
	case codeOf(err) == service.CodeUnknown && strings.HasPrefix(err.Error(), string(machine.RefuseNotLoaded)):
		e.Hint = hintNotLoaded
	case errors.Is(err, errTimeout), errors.Is(err, context.Canceled):
		e.Hint = "what was asked for goes on; see regent status"
	}
	return e
}

// hintNotLoaded says what OTP says of an app that nobody described (B-26).
const hintNotLoaded = "no configuration describes it; see regent apps"

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// nodesOf lists the nodes of an app that are up: those of its list, or all for
// a local app.
func nodesOf(doc *status.Document, a *status.App) []node.Name {
	var names []node.Name
	for _, n := range doc.Nodes {
		listed := slices.ContainsFunc(a.Nodes, func(g []node.Name) bool { return slices.Contains(g, n.Name) })
		if n.State == machine.NodeUp && (listed || a.Local() && !n.Hidden) {
			names = append(names, n.Name)
		}
	}
	return names
}

// findApp is the app of that name in doc.
func findApp(doc *status.Document, name string) (*status.App, error) {
	for i := range doc.Apps {
		if string(doc.Apps[i].Name) == name {
			return &doc.Apps[i], nil
		}
	}
	return nil, &ExitError{Code: exitFailed, Err: fmt.Errorf("%s: unknown app %s", machine.RefuseNotLoaded, name), Hint: hintNotLoaded}
}
