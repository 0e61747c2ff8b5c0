package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/audit"
	"github.com/seed7529eb29/regent/policy/node"
)

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Search the history for two instances at once, double owners and epochs that went back",
		Long: `verify reads the ledger (the stream of events) and the revisions of records that
the bucket still has, and looks for what must never happen: two instances of an
app at once, one epoch with two owners, an epoch that went back, an instance
without a claim or after the end of its session. It ends with 1 and the evidence
if there is something, else with 0 and a summary, which also says what could not
be judged. Overlap takeovers are declared and no violation.

Instances on one host are compared by its clock since boot, those on two hosts by
the time of day, give or take --skew.`,
		Example: `  regent verify
  regent verify --since 24h --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.target.bind(cmd)
	fs := cmd.Flags()
	fs.DurationVar(&f.since, "since", 0, "only what happened within the last `DUR`")
	fs.DurationVar(&f.skew, "skew", skewDefault, "the clocks of two hosts differ by at most `DUR`")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// skewDefault is more than hosts differ that are synchronised at all.
const skewDefault = 500 * time.Millisecond

type verifyFlags struct {
	target
	since, skew time.Duration
	json        bool
}

func (f *verifyFlags) run(cmd *cobra.Command) error {
	if f.skew < 0 || f.since < 0 {
		return withHelp(cmd, usage(title(cmd), "--since and --skew can't be negative"))
	}
	ctx := cmd.Context()
	l, err := f.dial(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer l.close()
	v := verified{cluster: string(l.cluster), skew: f.skew}
	if err := v.read(ctx, l, f.since); err != nil {
		return verifyError(err)
	}
	if err := v.print(cmd.OutOrStdout(), f.json); err != nil {
		return err
	}
	if n := len(v.report.Findings); n > 0 {
		return &ExitError{Code: exitFailed, What: "verify", Err: fmt.Errorf("%d %s", n, plural(n, "violation")), Hint: "keep the history: nats stream backup, and see docs/ledger.md for what each means"}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

func verifyError(err error) error {
	e := eventsError(context.Background(), false, err)
	if exit, ok := errors.AsType[*ExitError](e); ok {
		exit.What = "verify"
	}
	return e
}

// verified is a history and what it shows.
type verified struct {
	cluster string
	skew    time.Duration
	events  map[uint64]kv.Event // by sequence: evidence is shown as it is stored
	report  audit.Report
}

// read takes the history and the records' past.
func (v *verified) read(ctx context.Context, l *link, since time.Duration) error {
	var filter kv.EventFilter
	if since > 0 {
		filter.Since = time.Now().Add(-since)
	}
	v.events = map[uint64]kv.Event{}
	var events []audit.Event
	if err := l.history(ctx, filter, func(e kv.Event) error {
		v.events[e.Seq] = e
		events = append(events, auditEvent(e))
		return nil
	}); err != nil {
		return err
	}
	records, err := l.past(ctx)
	if err != nil {
		return err
	}
	middle := since > 0 || len(events) > 0 && events[0].Seq > 1
	v.report = audit.Check(events, records, audit.Options{Skew: v.skew, Middle: middle})
	return nil
}

// past reads the revisions of records that the bucket has, anew after an outage.
func (l *link) past(ctx context.Context) ([]policy.Cell, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quorumMax, errNoQuorum)
	defer cancel()
	s, err := kv.Bind(ctx, l.nc, kv.Options{Cluster: string(l.cluster), APIPrefix: l.apiPrefix})
	if err != nil {
		return nil, err
	}
	for {
		var cells []policy.Cell
		err := s.Past(ctx, func(c policy.Cell) error { cells = append(cells, c); return nil })
		if !transient(err) || !pause(ctx, againPause) {
			return cells, err
		}
	}
}

// auditEvent is an event as it is judged.
func auditEvent(e kv.Event) audit.Event {
	return audit.Event{
		Seq: e.Seq, Time: e.Time, Type: string(e.Type), App: e.App, Node: e.Node, From: e.From, Epoch: e.Epoch, Detail: e.Detail,
		Session: e.Session, Claim: e.Claim, Run: e.Run, Op: e.Op, By: e.By, Life: e.Life, N: e.N, Lost: e.Lost,
		Clock: e.Clock, Mono: time.Duration(e.Mono), Sent: time.Duration(e.Sent),
	}
}

func (v *verified) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, v.document())
	}
	_, err := io.WriteString(w, v.text())
	return failed("print", err)
}

// findingsMax is how many violations are shown as text; JSON has all.
const findingsMax = 20

// text is the report for people.
func (v *verified) text() string {
	r := &v.report
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s: ", v.cluster)
	if n := len(r.Findings); n > 0 {
		fmt.Fprintf(&b, "%d %s\n", n, strings.ToUpper(plural(n, "violation")))
	} else {
		b.WriteString("no violation\n")
	}
	for i, f := range r.Findings {
		if i == findingsMax {
			fmt.Fprintf(&b, "\n%d more: see --json\n", len(r.Findings)-i)
			break
		}
		b.WriteString(v.findingText(f))
	}
	v.summary(&b)
	return b.String()
}

func (v *verified) findingText(f audit.Finding) string {
	var b strings.Builder
	sure := ""
	if !f.Exact {
		sure = fmt.Sprintf(" (by the time of day, give or take %v)", v.skew)
	}
	fmt.Fprintf(&b, "\n%s: %s%s\n", f.Kind, oneLine(f.Text), sure)
	for _, e := range f.Evidence {
		fmt.Fprintf(&b, "  event %-6d %s\n", e.Seq, eventLine(v.events[e.Seq]))
		fmt.Fprintf(&b, "               by %s, at %v of clock %s, number %d of life %s\n", orDash(e.By), e.Mono, orDash(e.Clock), e.N, orDash(e.Life))
	}
	for _, c := range f.Records {
		fmt.Fprintf(&b, "  record %-6s revision %d: owner %s, epoch %d, highest %d\n", c.Key, c.Rev, orDash(c.App.Owner.Node), c.App.Owner.Epoch, c.App.High)
	}
	return b.String()
}

func (v *verified) summary(b *strings.Builder) {
	r := &v.report
	fmt.Fprintf(b, "\nevents       %d", r.Events)
	if r.Events > 0 {
		const form = "2006-01-02T15:04:05Z"
		fmt.Fprintf(b, ", %d to %d, from %s to %s, of %d lives", r.Seq[0], r.Seq[1], r.From.UTC().Format(form), r.To.UTC().Format(form), r.Lives)
	}
	fmt.Fprintf(b, "\napps         %d: %d claims, %d instances, %d of them running\n", r.Apps, r.Claims, r.Instances, r.Running)
	fmt.Fprintf(b, "successions  %d judged exactly, %d by the time of day (give or take %v), %d not judged\n", r.Exact, r.TimeOfDay, v.skew, r.Unjudged)
	fmt.Fprintf(b, "records      %d revisions\n", r.Records)
	for i, g := range r.Gaps {
		head := ""
		if i == 0 {
			head = "not judged"
		}
		fmt.Fprintf(b, "%-12s %d: %s\n", head, g.Count, g.Text)
	}
}

// The JSON document.
type (
	verifyDocument struct {
		Schema      int               `json:"schema"` // 1
		Cluster     string            `json:"cluster"`
		OK          bool              `json:"ok"`
		Events      int               `json:"events"`
		First       uint64            `json:"first"` // sequences
		Last        uint64            `json:"last"`
		From        *status.Time      `json:"from"` // null without events
		To          *status.Time      `json:"to"`
		Lives       int               `json:"lives"`
		Apps        int               `json:"apps"`
		Claims      int               `json:"claims"`
		Instances   int               `json:"instances"`
		Running     int               `json:"running"`
		Records     int               `json:"records"`
		Successions successionsJSON   `json:"successions"`
		SkewMS      int64             `json:"skew_ms"`
		Findings    []findingDocument `json:"findings"`
		NotJudged   []gapJSON         `json:"not_judged"`
	}
	successionsJSON struct {
		Exact     int `json:"exact"`
		TimeOfDay int `json:"time_of_day"`
		Unjudged  int `json:"unjudged"`
	}
	findingDocument struct {
		Kind    audit.Kind       `json:"kind"`
		App     policy.App       `json:"app"`
		Text    string           `json:"text"`
		Exact   bool             `json:"exact"` // false: by the time of day
		Events  []kv.Event       `json:"events"`
		Records []recordDocument `json:"records"`
	}
	recordDocument struct {
		Key      string          `json:"key"`
		Revision policy.Revision `json:"revision"`
		Owner    node.Name       `json:"owner"`
		Session  policy.Session  `json:"session"`
		Epoch    policy.Epoch    `json:"epoch"`
		Nonce    policy.Nonce    `json:"nonce"`
		High     policy.Epoch    `json:"high"`
	}
	gapJSON struct {
		Count int    `json:"count"`
		Text  string `json:"text"`
	}
)

func (v *verified) document() verifyDocument {
	r := &v.report
	d := verifyDocument{
		Schema: 1, Cluster: v.cluster, OK: len(r.Findings) == 0, Events: r.Events, First: r.Seq[0], Last: r.Seq[1],
		Lives: r.Lives, Apps: r.Apps, Claims: r.Claims, Instances: r.Instances, Running: r.Running, Records: r.Records,
		Successions: successionsJSON{r.Exact, r.TimeOfDay, r.Unjudged}, SkewMS: v.skew.Milliseconds(),
		Findings: []findingDocument{}, NotJudged: []gapJSON{},
	}
	if r.Events > 0 {
		d.From, d.To = &status.Time{Time: r.From}, &status.Time{Time: r.To}
	}
	for _, f := range r.Findings {
		d.Findings = append(d.Findings, v.findingJSON(f))
	}
	for _, g := range r.Gaps {
		d.NotJudged = append(d.NotJudged, gapJSON{g.Count, g.Text})
	}
	return d
}

func (v *verified) findingJSON(f audit.Finding) findingDocument {
	d := findingDocument{Kind: f.Kind, App: f.App, Text: f.Text, Exact: f.Exact, Events: []kv.Event{}, Records: []recordDocument{}}
	for _, e := range f.Evidence {
		d.Events = append(d.Events, v.events[e.Seq])
	}
	for _, c := range f.Records {
		o := c.App.Owner
		d.Records = append(d.Records, recordDocument{
			Key: c.Key.String(), Revision: c.Rev, Owner: o.Node, Session: o.Session, Epoch: o.Epoch, Nonce: o.Nonce, High: c.App.High,
		})
	}
	return d
}
