package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
)

// talk is what the commands that exchange messages share: the program is a
// hidden node of the cluster for as long as it runs.
type talk struct {
	target
	timeout time.Duration
}

func (t *talk) bind(cmd *cobra.Command) {
	t.target.bind(cmd)
	cmd.Flags().DurationVar(&t.timeout, "timeout", 0, "give up after `DUR` (default: when the node is gone)")
}

// talker is this program as a node.
type talker struct {
	*proc.System
	close func()
}

// open makes the program a node of the cluster that n is in.
func (t *talk) open(ctx context.Context, warn io.Writer, n node.Name) (*talker, error) {
	l, err := t.dial(ctx, warn)
	if err != nil {
		return nil, err
	}
	life := uuid.NewString()
	self := node.Name("cli-" + life[:8] + "@" + n.Host())
	m := bus.NewMessenger(l.nc, l.cluster, self)
	s, err := proc.New(proc.Options{Node: self, Life: proc.Life(life), Hidden: true, Transport: m})
	if err != nil {
		l.close()
		return nil, failed("messages", err)
	}
	stop, err := m.Listen(s.Receive)
	if err != nil {
		l.close()
		return nil, failed("messages", err)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(running) })
	return &talker{s, func() { end(); wg.Wait(); stop(); l.close() }}, nil
}

// with parses the name of a node, and does something as a node that talks to
// it. Errors get their exit code.
func (t *talk) with(cmd *cobra.Command, name string, do func(ctx context.Context, s *talker, n node.Name) error) error {
	n, err := node.Parse(name)
	if err != nil {
		return withHelp(cmd, usage(cmd.Name(), "%w", err))
	}
	ctx := cmd.Context()
	if t.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.timeout, errTimeout)
		defer cancel()
	}
	s, err := t.open(ctx, cmd.ErrOrStderr(), n)
	if err != nil {
		return err
	}
	defer s.close()
	return talkError(cmd.Name()+" "+name, do(ctx, s, n))
}

// talkError gives the failure of a message its exit code and a hint.
func talkError(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ExitError](err); ok {
		return err
	}
	e := &ExitError{Code: exitFailed, What: what, Err: err}
	switch {
	case errors.Is(err, proc.ErrName):
		e.Code = exitUsage
	case errors.Is(err, proc.ErrNotAllowed):
		e.Hint = "that node talks to the nodes of its list only (net_kernel:allow)"
	case errors.Is(err, proc.ErrNoConnection):
		e.Hint = "see regent nodes"
	case errors.Is(err, proc.ErrNoFunction):
		e.Hint = "its functions are shown by: regent rpc NODE functions"
	case errors.Is(err, errTimeout):
		e.Hint = "it may have been done or not"
	}
	return e
}

// argumentOf makes one value of the words of a command line: JSON where a word is
// JSON, else text; none is null, several are a list.
func argumentOf(words []string) any {
	values := make([]json.RawMessage, 0, len(words))
	for _, w := range words {
		v := json.RawMessage(w)
		if !json.Valid(v) {
			v, _ = json.Marshal(strings.ToValidUTF8(w, "\uFFFD")) // text can always be encoded
		}
		values = append(values, v)
	}
	switch len(values) {
	case 0:
		return nil
	case 1:
		return values[0]
	}
	return values
}

// printPayload prints a result: JSON as one line, bytes as they are.
func printPayload(w io.Writer, p proc.Payload) error {
	if p.Codec != proc.CodecJSON {
		_, err := w.Write(p.Data)
		return failed("print", err)
	}
	return printJSON(w, json.RawMessage(p.Data))
}

func printLine(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return failed("print", err)
}
