package sim

import (
	"fmt"
	"io"
	"strings"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// tracer writes one dense line per event; renewals and heartbeats, which say
// nothing, only on demand.
type tracer struct {
	on    bool
	all   bool
	out   io.Writer
	beats map[*agent]string // the last one told
}

// Trace makes a world tell what happens, one line per event. all includes
// heartbeats, renewals and ticks.
func (w *World) Trace(out io.Writer, all bool) {
	w.trace = tracer{on: true, all: all, out: out, beats: map[*agent]string{}}
}

func (t *tracer) line(w *World, n node.Name, what, format string, args ...any) {
	fmt.Fprintf(t.out, "%12.6f %-3s %-9s %s\n", w.now.Seconds(), strings.TrimSuffix(string(n), "@sim"), what, fmt.Sprintf(format, args...))
}

func (t *tracer) event(w *World, a *agent, ev machine.Event) {
	switch ev := ev.(type) {
	case machine.Tick:
		if t.all {
			t.line(w, a.name, "tick", "")
		}
	case machine.Heard:
		if t.all {
			t.line(w, a.name, "heard", "%s %d %s %s full=%t", ev.Beat.Node, ev.Beat.N, ev.Beat.Phase, ev.Beat.Session, ev.Beat.Full)
		}
	case machine.Viewed:
		t.viewed(w, a, ev.View)
	case machine.Wrote:
		if !t.all && ev.Outcome == policy.OutcomeOK && a.renews(ev.Req) {
			return
		}
		t.line(w, a.name, "wrote", "req %d %s rev %d", ev.Req, ev.Outcome, ev.Rev)
	case machine.ReadDone:
		t.line(w, a.name, "read", "req %d ok=%t %s", ev.Req, ev.OK, cellText(ev.Cell))
	default:
		t.line(w, a.name, strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", ev), "machine.")), "%+v", ev)
	}
}

func (t *tracer) viewed(w *World, a *agent, v policy.View) {
	switch {
	case v.Lost != "":
		t.line(w, a.name, "view", "lost: %s", v.Lost)
	case v.Snapshot:
		t.line(w, a.name, "view", "snapshot %d", v.Seq)
		for _, c := range v.Cells {
			t.line(w, a.name, "", "  %s", cellText(c))
		}
	case t.all || v.Cells[0].Node == nil || v.Cells[0].Node.State != policy.SessionLive:
		t.line(w, a.name, "view", "%s", cellText(v.Cells[0]))
	}
}

func (t *tracer) action(w *World, a *agent, act machine.Action) {
	switch act := act.(type) {
	case machine.Write:
		if a.renewal = 0; act.Op == machine.OpRenew && !act.Write.Alt {
			a.renewal = act.Req
		}
		if a.renewal != 0 && !t.all {
			return
		}
		t.line(w, a.name, "> WRITE", "req %d %s %s expect %d alt=%t", act.Req, act.Op, cellText(act.Write.Cell), act.Write.Expect, act.Write.Alt)
	case machine.SendBeat:
		t.beat(w, a, act.Beat)
	case machine.Remember:
		t.line(w, a.name, "> memory", "req %d %+v", act.Req, act.Memory)
	case machine.Emit:
		t.line(w, a.name, "> emit", "%+v", act.Record)
	case machine.Reply:
		t.line(w, a.name, "> reply", "%d %v", act.ID, act.Err)
	default:
		t.line(w, a.name, "> "+strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", act), "machine.")), "%+v", act)
	}
}

// beat tells a heartbeat that says something new.
func (t *tracer) beat(w *World, a *agent, b machine.Beat) {
	if !b.Full && !t.all {
		return
	}
	var sb strings.Builder
	fmt.Fprintf(&sb, "%s %s waits %q", b.Phase, b.Session, strings.Join(b.Waiting, "; "))
	for _, ab := range b.Apps {
		fmt.Fprintf(&sb, " %s{started=%t denied=%t failed=%t running=%t epoch=%d}", ab.App, ab.Started, ab.Denied, ab.Failed, ab.Running, ab.Epoch)
	}
	if text := sb.String(); t.all || t.beats[a] != text {
		t.beats[a] = text
		t.line(w, a.name, "> beat", "%d %s", b.N, text)
	}
}

func (t *tracer) applied(w *World, r *request, changed bool) {
	if t.all || r.op != machine.OpRenew {
		t.line(w, r.agent.name, "store", "req %d %s %s rev %d new=%t", r.req, r.op, r.outcome, r.rev, changed)
	}
}

func cellText(c policy.Cell) string {
	switch {
	case c.Node != nil:
		n := c.Node
		return fmt.Sprintf("%s@%d{%s %s agent %s seq %d}", c.Key, c.Rev, n.Session, n.State, n.Agent, n.Seq)
	case c.App != nil:
		a := c.App
		return fmt.Sprintf("%s@%d{owner %s %s high %d next %s prev %s want %s first %q pinned %t}", c.Key, c.Rev,
			slotText(a.Owner), a.Phase, a.High, slotText(a.Next), slotText(a.Prev), a.Want, a.First, a.Pinned)
	case c.Permit != nil:
		return fmt.Sprintf("%s@%d%v", c.Key, c.Rev, c.Permit.Nodes)
	case c.Config != nil:
		return fmt.Sprintf("%s@%d{%s by %s applied %t}", c.Key, c.Rev, c.Config.Digest, c.Config.Node, c.Config.Applied)
	}
	return fmt.Sprintf("%s@%d{}", c.Key, c.Rev)
}

func slotText(s policy.Slot) string {
	if s.Empty() {
		return fmt.Sprintf("-(%d)", s.Epoch)
	}
	return fmt.Sprintf("%s/%s@%d/%d/%s", s.Node.Base(), s.Session, s.SRev, s.Epoch, s.Nonce)
}
