package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
)

func newPermit() *cobra.Command {
	var p placeFlags
	var persist bool
	cmd := &cobra.Command{
		Use:   "permit APP true|false --on NODE [--persist]",
		Short: "Permit an app to run at a node or not, as application:permit does",
		Long: `Permits an app to run at a node, or forbids it. Where it runs and is forbidden,
it moves to another node, or stops if there is none. Where it is permitted again,
it starts or comes back by its list. A node that is started anew has the
permissions of its configuration, unless --persist kept another: that one stands
until the next --persist.`,
		Example: `  regent permit myapp false --on node1@lxw
  regent permit myapp true --on node1@lxw
  regent permit myapp false --on node3@lxw --persist`,
		Args: arguments(false, "APP", "true or false"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := parseAppArg(cmd, args[0])
			if err != nil {
				return err
			}
			if args[1] != "true" && args[1] != "false" {
				return usage("permit", "invalid value %q: expected true or false", args[1])
			}
			if err := p.parse("--on"); err != nil {
				return err
			}
			permitted := args[1] == "true"
			done := fmt.Sprintf("%s permitted at", app)
			if !permitted {
				done = fmt.Sprintf("%s not permitted at", app)
			}
			if persist {
				done = "kept: " + done
			}
			return p.one(cmd, done, service.VerbPermit, service.PermitRequest{App: app, Permitted: &permitted, Persist: persist})
		},
	}
	p.bind(cmd, "")
	cmd.Flags().BoolVar(&persist, "persist", false, "keep it over restarts of the node")
	return cmd
}
