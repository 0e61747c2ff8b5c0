package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/cmd/regent/demo"
)

func newDemo() *cobra.Command {
	var fast bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch three nodes of this machine start, die, fail over and come back",
		Long: `Runs three real nodes on this machine, kills one, and tells what happens: barrier,
start, kill -9, failover, return, takeover, a short absence, stop. Each step is
checked from outside, in the app's own log and in the ownership record in NATS.

It uses free ports and a temporary directory, nothing of your configuration, and
leaves no process and no file. Exit code 0 means that everything was observed, 1
that something was not.`,
		Example: `  regent demo
  regent demo --fast`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return failed("demo", err)
			}
			return failed("demo", demo.Run(cmd.Context(), demo.Options{Executable: self, Fast: fast, Out: cmd.OutOrStdout()}))
		},
	}
	cmd.Flags().BoolVar(&fast, "fast", false, "shorten the timeout of the app")
	return cmd
}

// newDemoApp is the app that the demo's nodes run.
func newDemoApp() *cobra.Command {
	return &cobra.Command{
		Use:     "demo-app FILE",
		Short:   "The app of the demo: write down starts, ticks and stops",
		Example: `  regent demo-app myapp.log`,
		Hidden:  true,
		Args:    arguments(false, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed("demo-app", demo.App(cmd.Context(), args[0]))
		},
	}
}
