package main

import (
	"cmp"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func newNodes() *cobra.Command {
	var f watchFlags
	var hidden, all, known bool
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of the cluster",
		Long: `Lists the nodes of the cluster. Hidden nodes are listed with --hidden (only
they) or --all; with --known so are those that the list of an app names and that
nobody has heard of. Nodes that are gone stay listed for a day.`,
		Example: `  regent nodes
  regent nodes --all --json
  regent nodes --known`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := func(d *status.Document) []status.Node {
				if known {
					return knownNodes(d)
				}
				return visible(d.Nodes, hidden, all)
			}
			return f.show(cmd,
				func(w io.Writer, d *status.Document) error { return printNodes(w, chosen(d)) },
				func(d *status.Document) any { return status.NodeList{Schema: status.Schema, Nodes: chosen(d)} })
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&hidden, "hidden", false, "list the hidden nodes")
	cmd.Flags().BoolVar(&all, "all", false, "list visible and hidden nodes")
	cmd.Flags().BoolVar(&known, "known", false, "list them, and those that were never heard of")
	cmd.MarkFlagsMutuallyExclusive("hidden", "all", "known")
	return cmd
}

// knownNodes are all nodes that anything is known of, if only the name.
func knownNodes(d *status.Document) []status.Node {
	list := slices.Clone(d.Nodes)
	add := func(n node.Name) {
		if !slices.ContainsFunc(list, func(l status.Node) bool { return l.Name == n }) {
			list = append(list, status.Node{Name: n, State: machine.NodeDown, Host: n.Host(), Running: []policy.App{}})
		}
	}
	for i := range d.Apps {
		for _, n := range slices.Concat(d.Apps[i].Nodes...) {
			add(n)
		}
	}
	for _, n := range d.WaitingFor {
		add(n)
	}
	slices.SortFunc(list, func(a, b status.Node) int { return cmp.Compare(a.Name, b.Name) })
	return list
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
