package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
)

func newWhy() *cobra.Command {
	var f whyFlags
	cmd := &cobra.Command{
		Use:   "why APP",
		Short: "Explain why an app runs where it runs, or does not run",
		Long: `Says what is so, the rule that makes it so, what there is to say about every node
of the app's list, and how the last move went: suspicion, proof of death, claim,
start, with the time that each took. The answer comes from the code that decides.`,
		Example: `  regent why myapp
  regent why myapp --json`,
		Args: arguments(false, "APP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := parseAppArg(cmd, args[0])
			if err != nil {
				return err
			}
			return f.run(cmd, app)
		},
	}
	f.target.bind(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

type whyFlags struct {
	target
	json bool
}

func (f *whyFlags) run(cmd *cobra.Command, name policy.App) error {
	ctx := cmd.Context()
	c, err := f.open(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close()
	d, err := c.status(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Apps, func(a status.App) bool { return a.Name == name })
	if i < 0 {
		return &ExitError{Code: exitFailed, What: "why", Err: fmt.Errorf("not loaded: unknown app %s", name), Hint: "regent apps lists them"}
	}
	w := d.Explain(&d.Apps[i])
	w.History = c.lastMove(ctx, &d.Apps[i])
	if f.json {
		return printJSON(cmd.OutOrStdout(), w)
	}
	return failed("why", printWhy(cmd.OutOrStdout(), &w))
}

// historyMax is how long an explanation waits for the history: without a
// quorum there is none to be had, and that is no reason to say nothing.
const historyMax = 3 * time.Second

// lastMove is how the app came to where it is, as far as the history tells.
func (c *client) lastMove(ctx context.Context, a *status.App) []status.WhyMoment {
	ctx, cancel := context.WithTimeout(ctx, historyMax)
	defer cancel()
	var events []kv.Event
	_ = c.inOrder(ctx, kv.EventFilter{}, func(e kv.Event) error { events = append(events, e); return nil })
	out := []status.WhyMoment{}
	var before time.Time
	for _, e := range moveOf(events, a.Name) {
		m := status.WhyMoment{Time: status.Time{Time: e.Time}, Text: momentText(e)}
		if !before.IsZero() {
			m.After = e.Time.Sub(before)
		}
		before = e.Time
		out = append(out, m)
	}
	return out
}

// moveMax bounds how far before a claim its reasons are looked for.
const moveMax = 2 * time.Minute

// moveOf picks, from a whole history in order, what belongs to the last claim
// of an app: what was noticed about the owner before, the claim, and what the
// app did after it.
func moveOf(events []kv.Event, app policy.App) []kv.Event {
	i := lastClaim(events, app)
	if i < 0 {
		return nil
	}
	claim := events[i]
	var out []kv.Event
	for _, e := range events[:i] {
		if claim.Time.Sub(e.Time) <= moveMax && leadsTo(e, claim) {
			out = append(out, e)
		}
	}
	if begun := slices.IndexFunc(out, func(e kv.Event) bool { return e.Epoch == claim.Epoch-1 && e.Type == kv.AppStarted }); begun >= 0 {
		out = out[begun+1:] // what the owner before went through on its own way up
	}
	out = append(out, claim)
	for _, e := range events[i+1:] {
		if e.App == app && e.Epoch == claim.Epoch {
			out = append(out, e)
		}
	}
	return out
}

// lastClaim that moved the app: an owner that asserts itself again moves nothing.
func lastClaim(events []kv.Event, app policy.App) int {
	for i := len(events) - 1; i >= 0; i-- {
		if e := events[i]; e.App == app && e.Type == kv.Claimed && e.Op != string(machine.OpReassert) {
			return i
		}
	}
	return -1
}

// leadsTo: the event is about the owner that the claim replaced, or about the
// instance before.
func leadsTo(e, claim kv.Event) bool {
	if e.App == claim.App {
		return e.Epoch == claim.Epoch-1
	}
	if e.App != "" || claim.From == "" || e.Node != claim.From {
		return false
	}
	return slices.Contains([]kv.EventType{kv.NodeSuspect, kv.NodeDown, kv.NodeLeft, kv.Fenced, kv.Certified}, e.Type)
}

// momentText is an event in a sentence.
func momentText(e kv.Event) string {
	text := strings.ReplaceAll(string(e.Type), "_", " ")
	if e.Node != "" {
		text += " " + string(e.Node)
	}
	if e.Type == kv.Claimed && e.From != "" {
		text += ", from " + string(e.From)
	}
	if e.Epoch > 0 {
		text += fmt.Sprintf(", epoch %d", e.Epoch)
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return oneLine(text)
}

func printWhy(w io.Writer, y *status.Why) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s\n", y.Now, y.Rule)
	width := 0
	for _, c := range y.Candidates {
		width = max(width, len(c.Node))
	}
	if len(y.Candidates) > 0 {
		b.WriteString("\nits list, best first:\n")
	}
	for _, c := range y.Candidates {
		mark := " "
		if c.Standing == machine.StandingRuns {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %-*s  %s\n", mark, width, c.Node, oneLine(c.Text))
	}
	if len(y.History) > 0 {
		b.WriteString("\nthe last move:\n")
	}
	for i, m := range y.History {
		after := ""
		if i > 0 {
			after = "+" + m.After.Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "  %s %9s  %s\n", m.Time.UTC().Format("15:04:05.000"), after, m.Text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
