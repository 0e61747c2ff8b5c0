package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/status"
)

func newApps() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List the apps of the cluster",
		Long: `Lists the apps, where each runs and where it may. In the list of nodes the better
come first and equals are in braces; a node in parentheses has not started the
app, one with an exclamation mark is not permitted to run it.`,
		Example: `  regent apps
  regent apps --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.show(cmd,
				func(w io.Writer, d *status.Document) error { return printApps(w, d.Apps) },
				func(d *status.Document) any { return status.AppList{Schema: status.Schema, Apps: d.Apps} })
		},
	}
	f.bind(cmd)
	return cmd
}
