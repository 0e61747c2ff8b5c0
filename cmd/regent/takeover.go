package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
)

func newTakeover() *cobra.Command {
	var p placeFlags
	var to, kind string
	cmd := &cobra.Command{
		Use:   "takeover APP --to NODE",
		Short: "Move a running app to a node, as application:takeover does",
		Long: `Moves a running app to a node where it is started too, whatever its priority.
It stays there until that node goes, or until it is moved again.`,
		Example: `  regent takeover myapp --to node3@lxw
  regent takeover myapp --to node3@lxw --type permanent --timeout 30s`,
		Args: arguments(false, "APP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := parseAppArg(cmd, args[0])
			if err != nil {
				return err
			}
			restart, err := parseTypeFlag(kind)
			if err != nil {
				return err
			}
			if to == "" {
				return withHelp(cmd, usage("takeover", "--to NODE is missing"))
			}
			p.on = to
			if err := p.parse("--to"); err != nil {
				return err
			}
			done := fmt.Sprintf("%s taken over by", app)
			return p.one(cmd, done, service.VerbTakeover, service.TakeoverRequest{App: app, Type: restart})
		},
	}
	p.target.bind(cmd)
	cmd.Flags().StringVar(&to, "to", "", "move it to `NODE`")
	cmd.Flags().StringVar(&kind, "type", "", typeFlagHelp)
	p.bindTimeout(cmd)
	return cmd
}

// one sends a verb to the node that is meant and prints done and its name.
func (p *placeFlags) one(cmd *cobra.Command, done, verb string, request any) error {
	ctx, cancel := p.limit(cmd.Context())
	defer cancel()
	c, err := p.open(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close()
	n, err := p.place(c.link, cmd.Name())
	if err != nil {
		return err
	}
	if err := c.command(ctx, n, verb, request); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, n)
	return failed(cmd.Name(), err)
}
