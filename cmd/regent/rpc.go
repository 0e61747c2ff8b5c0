package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
)

func newRPC() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "rpc NODE NAME [ARG...]",
		Short: "Run a function on a node and print what it returns, as erpc:call does",
		Long: `Runs a function of a node in a process there and prints its result as JSON.
An ARG that is JSON is sent as it is, any other as text; several are a list.
Every node has the functions echo, node, apps, functions, inbox, which shows
what was sent to the process inbox, and exec, which runs a command of the
operating system if the node's configuration says allow_exec.`,
		Example: `  regent rpc node2@lxw apps
  regent rpc node2@lxw echo '{"a": 1}'
  regent rpc node2@lxw inbox
  regent rpc node2@lxw exec -- df -h /`,
		Args: arguments(true, "NODE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.with(cmd, args[0], func(ctx context.Context, s *talker, n node.Name) error {
				result, err := proc.ApplyPayload(ctx, s, n, args[1], argumentOf(args[2:]))
				if err != nil {
					return err
				}
				return printPayload(cmd.OutOrStdout(), result)
			})
		},
	}
	t.bind(cmd)
	return cmd
}
