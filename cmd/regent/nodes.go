package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/status"
)

func newNodes() *cobra.Command {
	var f watchFlags
	var hidden, all bool
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of the cluster",
		Long: `Lists the nodes of the cluster. Hidden nodes are listed with --hidden (only
they) or --all. Nodes that are gone stay listed for a day.`,
		Example: `  regent nodes
  regent nodes --all --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := func(d *status.Document) []status.Node { return visible(d.Nodes, hidden, all) }
			return f.show(cmd,
				func(w io.Writer, d *status.Document) error { return printNodes(w, chosen(d)) },
				func(d *status.Document) any { return status.NodeList{Schema: status.Schema, Nodes: chosen(d)} })
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&hidden, "hidden", false, "list the hidden nodes")
	cmd.Flags().BoolVar(&all, "all", false, "list visible and hidden nodes")
	return cmd
}

// visible chooses nodes as nodes(visible), nodes(hidden) and nodes(connected)
// do in Erlang.
func visible(nodes []status.Node, hidden, all bool) []status.Node {
	chosen := []status.Node{}
	for _, n := range nodes {
		if all || n.Hidden == hidden {
			chosen = append(chosen, n)
		}
	}
	return chosen
}
