package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/policy/node"
)

func newNet() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "net",
		Short: "Which nodes a node exchanges messages with, as net_kernel does",
		Long: `Connects a node with another one for messages, disconnects it, or limits whom it
talks to. Heartbeats, leases and apps are not concerned.`,
		Example: `  regent net connect node3@lxw --on node1@lxw
  regent net disconnect node3@lxw --on node1@lxw
  regent net allow node2@lxw --on node1@lxw`,
	})
	cmd.AddCommand(
		netVerb(service.VerbAllow, "allowed on", "Let a node talk to NODE, and from then on only to those allowed",
			`Adds NODE to those that a node exchanges messages with; once one is listed it
talks to no others. It can't be taken back while the node runs, and connections
that are there stay.`),
		netVerb(service.VerbConnect, "connected with", "Connect a node with NODE",
			`Makes a connection for messages to NODE. Every message does so too.`),
		netVerb(service.VerbDisconnect, "disconnected from", "Disconnect a node from NODE",
			`Ends the connection for messages with NODE: links, monitors and calls over it are
told noconnection. The next message makes another.`),
	)
	return cmd
}

func netVerb(verb, done, short, long string) *cobra.Command {
	var p placeFlags
	cmd := &cobra.Command{
		Use:     verb + " NODE",
		Short:   short,
		Long:    long,
		Example: "  regent net " + verb + " node2@lxw --on node1@lxw",
		Args:    arguments(false, "NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := node.Parse(args[0])
			if err != nil {
				return withHelp(cmd, usage(title(cmd), "%w", err))
			}
			if err := p.parse("--on"); err != nil {
				return err
			}
			return p.one(cmd, fmt.Sprintf("%s %s", n, done), verb, service.NodeRequest{Node: n})
		},
	}
	p.bind(cmd, "")
	return cmd
}
