package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func newEvents() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print the history of transitions, oldest first",
		Example: `  regent events --since 1h --app myapp
  regent events --follow --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.target.bind(cmd)
	fs := cmd.Flags()
	fs.BoolVarP(&f.follow, "follow", "f", false, "go on until interrupted")
	fs.DurationVar(&f.since, "since", 0, "only what happened within the last `DUR`")
	fs.StringVar(&f.app, "app", "", "only about `APP`")
	fs.StringVar(&f.node, "node", "", "only what happened at `NODE` or came from there")
	fs.BoolVar(&f.json, "json", false, "print JSON, one object a line")
	return cmd
}

type eventFlags struct {
	target
	follow, json bool
	since        time.Duration
	app, node    string
}

func (f *eventFlags) filter(now time.Time) (kv.EventFilter, error) {
	var filter kv.EventFilter
	var err error
	if f.since > 0 {
		filter.Since = now.Add(-f.since)
	}
	if f.app != "" {
		if filter.App, err = policy.ParseApp(f.app); err != nil {
			return filter, usage("--app", "%w", err)
		}
	}
	if f.node != "" {
		if filter.Node, err = node.Parse(f.node); err != nil {
			return filter, usage("--node", "%w", err)
		}
	}
	return filter, nil
}

func (f *eventFlags) run(cmd *cobra.Command) error {
	filter, err := f.filter(time.Now())
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	l, err := f.dial(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer l.close()
	each := func(e kv.Event) error { return f.print(cmd.OutOrStdout(), e) }
	if f.follow {
		err = l.follow(ctx, filter, each)
	} else {
		err = l.inOrder(ctx, filter, each)
	}
	return eventsError(ctx, f.follow, err)
}

// inOrder is history by time: what happened before the store was ready, or
// during an outage of it, was written down late.
func (l *link) inOrder(ctx context.Context, f kv.EventFilter, each func(kv.Event) error) error {
	var all []kv.Event
	if err := l.history(ctx, f, func(e kv.Event) error { all = append(all, e); return nil }); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b kv.Event) int { return a.Time.Compare(b.Time) })
	for _, e := range all {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) ledger(ctx context.Context) (*kv.Ledger, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quorumMax, errNoQuorum)
	defer cancel()
	s, err := kv.Bind(ctx, l.nc, kv.Options{Cluster: string(l.cluster), APIPrefix: l.apiPrefix})
	if err != nil {
		return nil, err
	}
	return kv.BindLedger(s), nil
}

func (l *link) follow(ctx context.Context, f kv.EventFilter, each func(kv.Event) error) error {
	ledger, err := l.ledger(ctx)
	if err != nil {
		return err
	}
	return ledger.Follow(ctx, f, each)
}

// history reads what there is, and goes on where an outage interrupted it.
func (l *link) history(ctx context.Context, f kv.EventFilter, each func(kv.Event) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, quorumMax, errNoQuorum)
	defer cancel()
	ledger, err := l.ledger(ctx)
	if err != nil {
		return err
	}
	var last uint64
	unseen := func(e kv.Event) error {
		if e.Seq <= last {
			return nil
		}
		last = e.Seq
		return each(e)
	}
	for {
		err := ledger.Read(ctx, f, unseen)
		if !transient(err) || !pause(ctx, againPause) {
			return err
		}
	}
}

func transient(err error) bool {
	return errors.Is(err, kv.ErrNoAnswer) || errors.Is(err, kv.ErrNoQuorum) || errors.Is(err, kv.ErrDisconnected)
}

// eventsError gives a failure its exit code. The interruption of --follow is
// its regular end.
func eventsError(ctx context.Context, follow bool, err error) error {
	if err == nil || follow && ctx.Err() != nil {
		return nil
	}
	return keeperError("events", err)
}

func (f *eventFlags) print(w io.Writer, e kv.Event) error {
	if f.json {
		return printJSON(w, e)
	}
	_, err := fmt.Fprintln(w, eventLine(e))
	return err
}

// eventLine is one event in fixed columns.
func eventLine(e kv.Event) string {
	text := fmt.Sprintf("%s  %-16s  %-16s  %-16s", e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Type, orDash(e.App), orDash(e.Node))
	if e.Epoch > 0 {
		text += fmt.Sprintf("  epoch %d", e.Epoch)
	}
	if e.From != "" {
		text += fmt.Sprintf("  from %s", e.From)
	}
	if e.Detail != "" {
		text += "  " + e.Detail
	}
	if e.Lost > 0 {
		text += fmt.Sprintf("  (%d events of %s before this one are lost)", e.Lost, e.By)
	}
	return oneLine(text)
}

func orDash[T ~string](s T) T {
	if s == "" {
		return "-"
	}
	return s
}
