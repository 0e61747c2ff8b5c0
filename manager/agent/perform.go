package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// perform does what the machine ordered. It decides nothing: every outcome
// goes back as an event.
func (n *Agent) perform(ctx context.Context, a machine.Action) {
	switch a := a.(type) {
	case machine.Write:
		n.work.Go(func() { n.write(ctx, a) })
	case machine.Read:
		n.work.Go(func() { n.read(ctx, a) })
	case machine.Remember:
		n.disk <- a
	case machine.StartApp:
		n.startApp(a)
	case machine.StopApp:
		n.onRun(a.Run, func(i app.Instance) { i.Stop() })
	case machine.KillApp:
		n.onRun(a.Run, func(i app.Instance) { i.Kill(fmt.Errorf("%w: %s", app.ErrFenced, a.Cause)) })
	case machine.ConfirmApp:
		n.onRun(a.Run, func(i app.Instance) { i.Confirm() })
	case machine.SendBeat:
		n.beat(a.Beat)
	case machine.Prove:
		n.work.Go(func() {
			n.Post(machine.Proved{Node: a.Record.Node, Agent: a.Record.Agent, Gone: n.opts.Prover.Prove(a.Record)})
		})
	case machine.Reply:
		n.reply(a)
	case machine.Emit:
		n.Note(a.Record)
	case machine.Exit:
		n.exit = &Exit{Code: a.Code, Reason: a.Reason, Hint: a.Hint}
	}
}

func (n *Agent) write(ctx context.Context, a machine.Write) {
	ctx, cancel := context.WithTimeout(ctx, n.opts.Machine.Lease.Request)
	defer cancel()
	rev, outcome, err := n.opts.Store.CAS(ctx, a.Write)
	ev := machine.Wrote{Req: a.Req, Outcome: outcome, Rev: rev}
	if err != nil {
		ev.Hint = err.Error()
	}
	if outcome != policy.OutcomeOK {
		n.log.Debug("write", "op", string(a.Op), "key", a.Write.Cell.Key.String(), "expect", a.Write.Expect, "outcome", outcome.String(), "cause", ev.Hint)
	}
	n.Post(ev)
}

func (n *Agent) read(ctx context.Context, a machine.Read) {
	ctx, cancel := context.WithTimeout(ctx, n.opts.Machine.Lease.Request)
	defer cancel()
	cell, err := n.opts.Store.Read(ctx, a.Key)
	n.Post(machine.ReadDone{Req: a.Req, OK: err == nil, Cell: cell})
}

func (n *Agent) beat(b machine.Beat) {
	if err := n.opts.Bus.PublishBeat(b); err != nil {
		n.log.Debug("heartbeat", "err", err)
	}
}

func (n *Agent) reply(a machine.Reply) {
	if answer, waiting := n.calls.Load(a.ID); waiting {
		answer.(chan *machine.Refusal) <- a.Err
	}
}

func (n *Agent) startApp(a machine.StartApp) {
	runner, ok := n.opts.Runners(a.App)
	if !ok {
		n.Post(machine.StartFailed{Run: a.Run, Reason: "neither a command nor a registered app"})
		return
	}
	s := app.Start{
		App: a.App, Node: n.Name(), Cluster: n.opts.Cluster, Session: a.Session, Epoch: a.Epoch,
		Kind: a.Kind, From: a.From, Payload: a.Payload,
	}
	if n.opts.Args != nil {
		s.Args = n.opts.Args(a.App)
	}
	if n.opts.Phases != nil {
		s.Phases = n.opts.Phases(a.App)
	}
	i := runner.Start(s)
	n.runs[a.Run] = i
	n.work.Go(func() { n.follow(a.Run, i) })
}

// follow turns the life of an instance into events.
func (n *Agent) follow(run machine.RunID, i app.Instance) {
	select {
	case <-i.Started():
		n.Post(machine.Started{Run: run})
	case <-i.Done():
	}
	e := i.Exit()
	if !e.Started {
		n.Post(machine.StartFailed{Run: run, Reason: fmt.Sprint(e.Err)})
		return
	}
	n.Post(machine.Exited{Run: run, Normal: e.Normal, Reason: e.Reason, Payload: e.Payload})
}

func (n *Agent) onRun(id machine.RunID, f func(app.Instance)) {
	if i := n.runs[id]; i != nil {
		f(i)
	}
	for id, i := range n.runs {
		select {
		case <-i.Done():
			delete(n.runs, id)
		default:
		}
	}
}

// endRuns kills what still runs when the loop has ended, and waits for it: no
// app outlives its node.
func (n *Agent) endRuns() {
	for _, i := range n.runs {
		i.Kill(app.ErrFenced)
	}
	for _, i := range n.runs {
		<-i.Done()
	}
}

// keepDisk makes memories durable, one after the other, the newest of those
// that wait for all of them.
func (n *Agent) keepDisk(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-n.disk:
			err := n.opts.Disk.Save(r.Memory)
			if err != nil {
				n.log.Error("state file", "err", err)
			}
			n.Post(machine.Remembered{Req: r.Req, OK: err == nil})
		}
	}
}

// entry is a line of history on its way to the ledger.
type entry struct {
	record machine.History
	at     int64
	id     string
}

const (
	historyMax   = 1024                   // lines that wait while the store does not answer; more are logged only
	historyTry   = time.Second            // one attempt
	historyAgain = 200 * time.Millisecond // between two attempts
	historyEnd   = time.Second            // for what waits when the node ends
)

// Note writes a line of history to the log, and to the ledger as soon as the
// store lets it. It never blocks.
func (n *Agent) Note(h machine.History) {
	n.log.Info(h.Type, "app", string(h.App), "node", string(h.Node), "from", string(h.From), "epoch", uint64(h.Epoch), "detail", h.Detail)
	n.historyMu.RLock()
	defer n.historyMu.RUnlock()
	if n.historyClosed {
		return
	}
	select {
	case n.history <- entry{h, n.opts.Clock.Wall(), n.opts.Machine.NewID()}:
	default:
		n.log.Warn("history is full: this line is only in the log", "type", h.Type)
	}
}

func (n *Agent) closeHistory() {
	n.historyMu.Lock()
	defer n.historyMu.Unlock()
	n.historyClosed = true
	close(n.history)
}

// keepHistory writes the ledger in order, trying each line until it is there
// or ctx ends.
func (n *Agent) keepHistory(ctx context.Context) {
	for e := range n.history {
		for ctx.Err() == nil && n.append(ctx, e) != nil {
			pause(ctx, historyAgain)
		}
	}
}

func (n *Agent) append(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, historyTry)
	defer cancel()
	return n.opts.Ledger.Append(ctx, e.record, e.at, e.id)
}
