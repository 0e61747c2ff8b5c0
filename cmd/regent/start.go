package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func newStart() *cobra.Command {
	var p placeFlags
	var kind string
	cmd := &cobra.Command{
		Use:   "start APP [--on NODE | --all]",
		Short: "Start an app at a node, as application:start does",
		Long: `Starts an app at one node, or at all nodes of its list that are up. The app runs
at the first node of the list; a node that starts it too stands by.

It waits until the app runs, wherever that is: at a node of lower priority, for
the better nodes to start it or to be gone.`,
		Example: `  regent start myapp --all
  regent start myapp --on node2@lxw --type permanent --timeout 1m`,
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
			if err := p.parse("--on"); err != nil {
				return err
			}
			return p.start(cmd, app, restart)
		},
	}
	p.bind(cmd, "act at all nodes of the app's list that are up")
	cmd.Flags().StringVar(&kind, "type", "", typeFlagHelp)
	return cmd
}

func (p *placeFlags) start(cmd *cobra.Command, app policy.App, restart policy.RestartType) error {
	ctx, cancel := p.limit(cmd.Context())
	defer cancel()
	c, err := p.open(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close()
	nodes, err := p.startNodes(ctx, c, app)
	if err != nil {
		return err
	}
	start := func(ctx context.Context, n node.Name) error {
		return c.command(ctx, n, service.VerbStart, service.StartRequest{App: app, Type: restart})
	}
	already := func(err error) bool { return refusedAs(err, machine.RefuseAlreadyStarted) }
	return everywhere(ctx, cmd.OutOrStdout(), fmt.Sprintf("%s started at", app), nodes, start, already)
}

func (p *placeFlags) startNodes(ctx context.Context, c *client, app policy.App) ([]node.Name, error) {
	if !p.all {
		n, err := p.place(c.link, "start")
		return []node.Name{n}, err
	}
	doc, err := c.status(ctx)
	if err != nil {
		return nil, err
	}
	a, err := findApp(doc, string(app))
	if err != nil {
		return nil, err
	}
	nodes := nodesOf(doc, a)
	if len(nodes) == 0 {
		return nil, &ExitError{Code: exitFailed, What: "start " + string(app), Err: errors.New("no node of its list is up")}
	}
	return nodes, nil
}
