package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
)

func newSend() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "send NODE/NAME MSG",
		Short: "Send a message to a process by its name",
		Long: `Sends a message to the process that is registered under NAME on NODE. A MSG that
is JSON is sent as it is, any other as text. Every node has the process inbox,
which keeps the last thousand messages; regent rpc NODE inbox shows them.`,
		Example: `  regent send node2@lxw/inbox hello`,
		Args:    arguments(false, "NODE/NAME", "MSG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, name, named := strings.Cut(args[0], "/")
			if !named {
				return withHelp(cmd, usage("send", "%q: expected NODE/NAME", args[0]))
			}
			if err := proc.CheckName(name); err != nil {
				return withHelp(cmd, usage("send", "%w", err))
			}
			return t.with(cmd, at, func(ctx context.Context, s *talker, n node.Name) error {
				return s.sendTo(ctx, proc.Name{Name: name, Node: n}, argumentOf(args[1:]))
			})
		},
	}
	t.bind(cmd)
	return cmd
}

// sendTo sends a message and makes sure that it has arrived at a process. What
// is asked behind it is answered behind the news that there was none.
func (s *talker) sendTo(ctx context.Context, to proc.Name, v any) error {
	done := make(chan error, 1)
	if _, err := s.Go(func(_ context.Context, self *proc.Self) error {
		done <- deliver(ctx, self, to, v)
		return nil
	}); err != nil {
		return err
	}
	return <-done
}

func deliver(ctx context.Context, self *proc.Self, to proc.Name, v any) error {
	// Connected first: an error says more than the reason of a Down.
	if err := self.System().Connect(ctx, to.Node); err != nil {
		return err
	}
	self.Monitor(ctx, to)
	if err := self.Send(ctx, to, v); err != nil {
		return err
	}
	if _, err := proc.Apply[node.Name](ctx, self, to.Node, proc.FunctionNode, nil); err != nil {
		return err
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if m, err := self.Receive(now); err == nil {
		if down, ok := m.(proc.Down); ok {
			if down.Reason == proc.NoProc {
				return fmt.Errorf("%w: %s", proc.ErrNoProc, to.Name)
			}
			return fmt.Errorf("%s: %w", to.Name, &proc.ExitError{Reason: down.Reason})
		}
	}
	return nil
}
