package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
)

func newPing() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "ping NODE",
		Short: "Ask a node whether it is there, as net_adm:ping does",
		Long: `Sends a message to a node and waits for the answer. Prints pong and how long
that took; a node that is not there, or does not answer, is exit code 1.`,
		Example: `  regent ping node2@lxw`,
		Args:    arguments(false, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.with(cmd, args[0], func(ctx context.Context, s *talker, n node.Name) error {
				if err := s.Connect(ctx, n); err != nil {
					return err
				}
				begun := time.Now()
				if _, err := proc.Apply[node.Name](ctx, s, n, proc.FunctionNode, nil); err != nil {
					return err
				}
				return printLine(cmd.OutOrStdout(), "pong %s %v", n, time.Since(begun).Round(10*time.Microsecond))
			})
		},
	}
	t.bind(cmd)
	return cmd
}
