package main

import (
	"github.com/spf13/cobra"
)

func newNode() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node (--sname | --name) NAME --config FILE",
		Short: "Run a node in the foreground until SIGTERM",
		Long: `Runs a node in the foreground. SIGTERM or SIGINT ends it gracefully: its apps
are stopped, and other nodes start them after their timeout.

Exit codes: 0 stopped by a signal; 1 failed; 2 wrong flags or configuration;
3 a mandatory node did not come in time; 4 refused, another cookie;
6 the specification differs from that of the running nodes; 7 a live node has
this name; 8 a permanent app ended, and the node with it.`,
		Example: `  regent node --sname node1@lxw --config node1.config --config apps.config --start myapp
  regent node --name db1@10.0.0.1 --config cluster.yaml --data /var/lib/regent --log-format json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options(cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return failed("node "+string(o.Name), runNode(cmd.Context(), *o))
		},
	}
	f.bind(cmd.Flags())
	return cmd
}
