package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// placeFlags say at which nodes a command acts, and for how long.
type placeFlags struct {
	target
	on      string
	all     bool
	timeout time.Duration

	node node.Name // what on says, after parse
}

func (p *placeFlags) bind(cmd *cobra.Command, all string) {
	p.target.bind(cmd)
	fs := cmd.Flags()
	fs.StringVar(&p.on, "on", "", "act at `NODE` (default: the node on this machine)")
	if all != "" {
		fs.BoolVar(&p.all, "all", false, all)
		cmd.MarkFlagsMutuallyExclusive("on", "all")
	}
	p.bindTimeout(cmd)
}

func (p *placeFlags) bindTimeout(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&p.timeout, "timeout", 0, "give up after `DUR` (default: wait as long as it takes)")
}

// limit applies --timeout.
func (p *placeFlags) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("%w (%v)", errTimeout, p.timeout))
}

// parse checks what can be checked without a cluster. The node's name is called
// by the flag that gave it.
func (p *placeFlags) parse(flag string) (err error) {
	if p.on == "" {
		return nil
	}
	if p.node, err = node.Parse(p.on); err != nil {
		return usage(flag, "%w", err)
	}
	return nil
}

// place is the node that was named, or the one on this machine.
func (p *placeFlags) place(l *link, what string) (node.Name, error) {
	if p.node != "" {
		return p.node, nil
	}
	return l.localNode(what)
}

// parseAppArg checks an app given on the command line.
func parseAppArg(cmd *cobra.Command, value string) (policy.App, error) {
	app, err := policy.ParseApp(value)
	if err != nil {
		return "", usage(cmd.Name(), "%w", err)
	}
	return app, nil
}

// parseTypeFlag checks --type.
func parseTypeFlag(value string) (policy.RestartType, error) {
	if value == "" {
		return "", nil
	}
	t, err := policy.ParseRestartType(value)
	if err != nil {
		return "", usage("--type", "%w", err)
	}
	return t, nil
}

const typeFlagHelp = "restart `TYPE`: permanent, transient or temporary (default: the app's own)"

// act does one thing at one node.
type act func(ctx context.Context, n node.Name) error

// everywhere does it at all nodes at once and prints what became of it. It is
// a success when it was one somewhere and elsewhere there was nothing to do.
func everywhere(ctx context.Context, out io.Writer, done string, nodes []node.Name, do act, nothing func(error) bool) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = do(ctx, n) })
	}
	all.Wait()
	for i, n := range nodes {
		if errs[i] == nil {
			fmt.Fprintf(out, "%s %s\n", done, n)
		}
	}
	some := slices.Contains(errs, nil)
	bad := slices.DeleteFunc(errs, func(err error) bool { return err == nil || some && nothing(err) })
	if len(bad) == 0 {
		return nil
	}
	return joinExits(bad)
}

// joinExits is the first error with the words of all.
func joinExits(errs []error) error {
	first, ok := errors.AsType[*ExitError](errs[0])
	if !ok || len(errs) == 1 {
		return errs[0]
	}
	e := *first
	e.What, e.Err = "", errors.Join(errs...)
	return &e
}
