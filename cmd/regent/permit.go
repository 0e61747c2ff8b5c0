package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
)

func newPermit() *cobra.Command {
	var p placeFlags
	cmd := &cobra.Command{
		Use:   "permit APP true|false --on NODE",
		Short: "Permit an app to run at a node or not, as application:permit does",
		Long: `Permits an app to run at a node, or forbids it. Where it runs and is forbidden,
it moves to another node, or stops if there is none. Where it is permitted again,
it starts or comes back by its list. A node that is started anew has the
permissions of its configuration.`,
		Example: `  regent permit myapp false --on node1@lxw
  regent permit myapp true --on node1@lxw`,
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
			return p.one(cmd, done, service.VerbPermit, service.PermitRequest{App: app, Permitted: &permitted})
		},
	}
	p.bind(cmd, "")
	return cmd
}
