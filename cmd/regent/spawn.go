package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/policy/node"
)

func newSpawn() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "spawn NODE NAME [ARG...]",
		Short: "Start a function on a node as a process and print its PID",
		Long: `Starts a function of a node as a process there, prints its PID and does not wait
for its end. The arguments are those of rpc.`,
		Example: `  regent spawn node2@lxw echo hello`,
		Args:    arguments(true, "NODE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.with(cmd, args[0], func(ctx context.Context, s *talker, n node.Name) error {
				pid, err := s.Spawn(ctx, n, args[1], argumentOf(args[2:]))
				if err != nil {
					return err
				}
				return printLine(cmd.OutOrStdout(), "%s", pid)
			})
		},
	}
	t.bind(cmd)
	return cmd
}
