package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func newStop() *cobra.Command {
	var p placeFlags
	cmd := &cobra.Command{
		Use:   "stop APP [--on NODE | --all]",
		Short: "Stop an app at a node, as application:stop does",
		Long: `Stops an app at one node. At the node where it runs, it stops for the whole
cluster, and no other node takes it; at a standby, only that node steps back.
--all does both everywhere.`,
		Example: `  regent stop myapp --all
  regent stop myapp --on node2@lxw`,
		Args: arguments(false, "APP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := parseAppArg(cmd, args[0])
			if err != nil {
				return err
			}
			if err := p.parse("--on"); err != nil {
				return err
			}
			return p.stop(cmd, app)
		},
	}
	p.bind(cmd, "stop it wherever it runs or stands by")
	return cmd
}

func (p *placeFlags) stop(cmd *cobra.Command, app policy.App) error {
	ctx, cancel := p.limit(cmd.Context())
	defer cancel()
	c, err := p.open(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close()
	if p.all {
		return c.stopAll(ctx, cmd.OutOrStdout(), app)
	}
	n, err := p.place(c.link, "stop")
	if err != nil {
		return err
	}
	if err := c.command(ctx, n, service.VerbStop, service.StopRequest{App: app}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s stopped at %s\n", app, n)
	return failed("stop", err)
}

// stopAll stops an app where it runs first, which is the end of it for the
// cluster, and then makes the others step back.
func (c *client) stopAll(ctx context.Context, out io.Writer, app policy.App) error {
	doc, err := c.status(ctx)
	if err != nil {
		return err
	}
	a, err := findApp(doc, string(app))
	if err != nil {
		return err
	}
	runners, others := splitStop(doc, a)
	if len(runners)+len(others) == 0 {
		return &ExitError{Code: exitFailed, What: "stop " + string(app), Err: errors.New("not started at any node")}
	}
	stop := func(ctx context.Context, n node.Name) error {
		return c.command(ctx, n, service.VerbStop, service.StopRequest{App: app, All: !a.Local()})
	}
	stepped := func(err error) bool { return refusedAs(err, machine.RefuseNotStarted) }
	done := fmt.Sprintf("%s stopped at", app)
	if err := everywhere(ctx, out, done, runners, stop, stepped); err != nil {
		return err
	}
	return everywhere(ctx, out, done, others, stop, stepped)
}

// splitStop finds the nodes that run an app and those that only have it
// started, among those that are up.
func splitStop(doc *status.Document, a *status.App) (runners, others []node.Name) {
	for _, n := range doc.Nodes {
		switch {
		case n.State != machine.NodeUp:
		case n.Name == a.Node || slices.Contains(a.RunningOn, n.Name):
			runners = append(runners, n.Name)
		case slices.Contains(a.StartedOn, n.Name):
			others = append(others, n.Name)
		}
	}
	return runners, others
}
