package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// watchFlags are those of the commands that show a picture of the cluster.
type watchFlags struct {
	target
	json, watch bool
	every       time.Duration
}

func (f *watchFlags) bind(cmd *cobra.Command) {
	f.target.bind(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

func newStatus() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes and apps on one screen",
		Example: `  regent status
  regent status --watch
  regent status --json | jq '.apps[] | select(.state != "running")'`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.show(cmd, printStatus, func(d *status.Document) any { return d })
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on until interrupted")
	cmd.Flags().DurationVar(&f.every, "interval", time.Second, "with --watch: show it anew every `DUR`")
	return cmd
}

// show prints the picture of one node, once or again and again.
func (f *watchFlags) show(cmd *cobra.Command, text func(io.Writer, *status.Document) error, doc func(*status.Document) any) error {
	if f.watch && f.every <= 0 {
		return usage("--interval", "must be longer than 0")
	}
	c, err := f.open(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.close()
	out := cmd.OutOrStdout()
	print := func(w io.Writer, d *status.Document) error {
		if f.json {
			return printJSON(w, doc(d))
		}
		return text(w, d)
	}
	if f.watch {
		return f.repeat(cmd.Context(), c, out, print)
	}
	d, err := c.status(cmd.Context())
	if err != nil {
		return err
	}
	return print(out, d)
}

// repeat redraws a terminal, and prints one picture after the other elsewhere.
// An interruption is its regular end; an outage is shown and waited out.
func (f *watchFlags) repeat(ctx context.Context, c *client, out io.Writer, print func(io.Writer, *status.Document) error) error {
	redraw := screen(out) && !f.json
	for {
		var picture bytes.Buffer
		d, err := c.status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && f.json:
			return err
		case err != nil:
			fmt.Fprintln(&picture, oneLine(err.Error()))
		default:
			if err := print(&picture, d); err != nil {
				return err
			}
		}
		if err := draw(out, picture.Bytes(), redraw); err != nil {
			return failed("status", err)
		}
		if !pause(ctx, f.every) {
			return nil
		}
		if !redraw && !f.json {
			fmt.Fprintln(out)
		}
	}
}

// draw overwrites the screen from its upper left corner and clears what is
// left of the last picture, which flickers less than clearing it first.
func draw(w io.Writer, picture []byte, redraw bool) error {
	if redraw {
		text := strings.ReplaceAll(string(picture), "\n", "\x1b[K\n")
		picture = []byte("\x1b[H" + text + "\x1b[J")
	}
	_, err := w.Write(picture)
	return err
}

func printStatus(w io.Writer, d *status.Document) error {
	fmt.Fprintf(w, "cluster %s, as seen by %s, %s\n", d.Cluster, d.Node, quorumText(&d.Quorum))
	if d.Paused {
		fmt.Fprintln(w, "PAUSED: no automatic failover or takeover")
	}
	for _, text := range waitingTexts(d) {
		fmt.Fprintln(w, "waits for", oneLine(text))
	}
	if d.Quorum.OK && d.Quorum.Behind != "" {
		fmt.Fprintln(w, "its copy of the records is behind:", oneLine(d.Quorum.Behind))
	}
	fmt.Fprintln(w)
	if err := printNodes(w, d.Nodes); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(d.Apps) == 0 {
		fmt.Fprintln(w, "no apps")
		return nil
	}
	return printApps(w, d.Apps)
}

func waitingTexts(d *status.Document) []string {
	texts := slices.Clone(d.Waiting)
	for _, n := range d.WaitingFor {
		if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, string(n)) }) {
			texts = append(texts, string(n))
		}
	}
	return texts
}

func quorumText(q *status.Quorum) string {
	servers := "1 server"
	if q.Servers != 1 {
		servers = strconv.Itoa(q.Servers) + " servers"
	}
	switch {
	case !q.OK:
		return fmt.Sprintf("NO QUORUM (%s, %s)", servers, q.Mode)
	case q.Leader == "":
		return fmt.Sprintf("quorum ok (%s, %s)", servers, q.Mode)
	}
	return fmt.Sprintf("quorum ok (%s, %s, leader %s)", servers, q.Mode, q.Leader)
}

func printNodes(w io.Writer, nodes []status.Node) error {
	var rows [][]string
	now := time.Now()
	for _, n := range nodes {
		state := string(n.State)
		if n.Hidden {
			state += ",hidden"
		}
		if n.Drained {
			state += ",drained"
		}
		rows = append(rows, []string{string(n.Name), state, ago(now, n.Since.Time), n.Version, joined(n.Running, " ")})
	}
	return table(w, "NODE STATE SINCE VERSION RUNNING", rows)
}

func printApps(w io.Writer, apps []status.App) error {
	var rows [][]string
	now := time.Now()
	for i := range apps {
		a := &apps[i]
		rows = append(rows, []string{
			string(a.Name), stateText(a, now), placeText(a), strconv.FormatUint(uint64(a.Epoch), 10),
			startText(a), ago(now, a.Since.Time), timeoutText(a), nodesText(a),
		})
	}
	if err := table(w, "APP STATE NODE EPOCH START SINCE TIMEOUT NODES", rows); err != nil {
		return err
	}
	for _, a := range apps {
		if a.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", a.Name, oneLine(a.Error))
		}
	}
	return nil
}

func stateText(a *status.App, now time.Time) string {
	switch {
	case a.State == machine.AppFailingOver && !a.FailoverAt.IsZero():
		return fmt.Sprintf("%s in %.1fs", a.State, max(a.FailoverAt.Sub(now).Seconds(), 0))
	case a.WaitingFor != "":
		return fmt.Sprintf("%s for %s", a.State, a.WaitingFor)
	}
	return string(a.State)
}

func placeText(a *status.App) string {
	if a.Local() {
		return joined(a.RunningOn, " ")
	}
	return string(a.Node)
}

func startText(a *status.App) string {
	switch {
	case a.Epoch == 0:
		return ""
	case a.From != "":
		return fmt.Sprintf("%s from %s", a.StartType, a.From)
	}
	return string(a.StartType)
}

func timeoutText(a *status.App) string {
	switch {
	case a.Local():
		return ""
	case a.TimeoutMS == nil:
		return "infinity"
	}
	return (time.Duration(*a.TimeoutMS) * time.Millisecond).String()
}

// nodesText is the app's list; a node that may not run it has an exclamation
// mark, one where it is not started is in parentheses.
func nodesText(a *status.App) string {
	if a.Local() {
		return "local"
	}
	marked := make([][]node.Name, len(a.Nodes))
	for i, g := range a.Nodes {
		for _, n := range g {
			text := string(n)
			if !slices.Contains(a.StartedOn, n) {
				text = "(" + text + ")"
			}
			if permitted, said := a.Permitted[n]; said && !permitted {
				text += "!"
			}
			marked[i] = append(marked[i], node.Name(text))
		}
	}
	return priority(marked)
}
