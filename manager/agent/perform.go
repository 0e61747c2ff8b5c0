package agent

import (
	"context"
	"fmt"
	"strings"
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
		n.remember(a)
	case machine.StartApp:
		n.startApp(a)
	case machine.StopApp:
		n.onRun(a.Run, func(i app.Instance) { i.Stop() })
	case machine.KillApp:
		n.onRun(a.Run, func(i app.Instance) { i.Kill(fmt.Errorf("%w: %s", app.ErrFenced, a.Cause)) })
	case machine.ConfirmApp:
		n.onRun(a.Run, func(i app.Instance) { i.Confirm() })
	case machine.SendBeat:
		n.sendBeat(a.Beat)
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

// unknownPause holds an unknown outcome back, within the time that the request
// has: without a connection it is there at once, a renewal is repeated at once,
// and the two would go round as fast as the processor can.
const unknownPause = 50 * time.Millisecond

func (n *Agent) write(ctx context.Context, a machine.Write) {
	ctx, cancel := context.WithTimeout(ctx, n.opts.Machine.Lease.Request)
	defer cancel()
	begun := n.opts.Clock.Now()
	rev, outcome, err := n.opts.Store.CAS(ctx, a.Write)
	if n.opts.Observer.Wrote != nil {
		n.opts.Observer.Wrote(a.Op, outcome, n.opts.Clock.Now().Sub(begun))
	}
	if outcome == policy.OutcomeUnknown {
		pause(ctx, unknownPause)
	}
	ev := machine.Wrote{Req: a.Req, Outcome: outcome, Rev: rev}
	if err != nil {
		ev.Hint = err.Error()
	}
	n.Post(ev)
	if outcome != policy.OutcomeOK {
		n.log.Debug("write", "op", string(a.Op), "key", a.Write.Cell.Key.String(), "expect", a.Write.Expect, "outcome", outcome.String(), "cause", ev.Hint)
	}
}

func (n *Agent) read(ctx context.Context, a machine.Read) {
	ctx, cancel := context.WithTimeout(ctx, n.opts.Machine.Lease.Request)
	defer cancel()
	cell, err := n.opts.Store.Read(ctx, a.Key)
	n.Post(machine.ReadDone{Req: a.Req, OK: err == nil, Cell: cell})
}

// reply answers a caller, if it still waits. What it asked for stands in the
// status by then, and is on its way to the other nodes.
func (n *Agent) reply(a machine.Reply) {
	if answer, waiting := n.calls.LoadAndDelete(a.ID); waiting {
		n.publish()
		o := outgoing{answer: answer.(chan *machine.Refusal), err: a.Err}
		select {
		case n.out <- o:
		default: // the bus is behind, and nobody will hear us anyway
			o.answer <- o.err
		}
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
		Kind: a.Kind, From: a.From, Payload: a.Payload, Provisional: a.Provisional,
	}
	if n.opts.Args != nil {
		s.Args = n.opts.Args(a.App)
	}
	switch {
	case a.Session != "":
		s.Phases = a.Phases
	case n.opts.Phases != nil:
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
		n.Post(machine.StartFailed{Run: run, Reason: limited(fmt.Sprint(e.Err))})
		return
	}
	if len(e.Payload) > payloadMax {
		e.Reason += fmt.Sprintf("; what it handed over is dropped: %d bytes, at most %d", len(e.Payload), payloadMax)
		e.Payload = nil
	}
	n.Post(machine.Exited{Run: run, Normal: e.Normal, Reason: limited(e.Reason), Payload: e.Payload})
}

// What an app says goes into records and history, which NATS carries up to a
// size of one MiB: larger ones could never be written, and a release that can't
// be written leaves the app without an owner until the lease ends.
const (
	reasonMax  = 4 << 10   // the beginning of a stack says enough
	payloadMax = 512 << 10 // grows by a third in JSON
)

func limited(reason string) string {
	if len(reason) <= reasonMax {
		return reason
	}
	return strings.ToValidUTF8(reason[:reasonMax], "") + "…"
}

func (n *Agent) onRun(id machine.RunID, f func(app.Instance)) {
	if i := n.runs[id]; i != nil {
		f(i)
	}
}

// forget drops the instance of a run that is over.
func (n *Agent) forget(ev machine.Event) {
	switch ev := ev.(type) {
	case machine.StartFailed:
		delete(n.runs, ev.Run)
	case machine.Exited:
		delete(n.runs, ev.Run)
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

// remember hands a memory to the disk. One that still waits is overtaken: the
// later holds more.
func (n *Agent) remember(r machine.Remember) {
	select {
	case <-n.disk:
	default:
	}
	n.disk <- r // has room: the loop is the only sender
}

// keepDisk makes memories durable, one after the other.
func (n *Agent) keepDisk(ctx context.Context) {
	broken := false
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-n.disk:
			err := n.opts.Disk.Save(r.Memory)
			n.Post(machine.Remembered{Req: r.Req, OK: err == nil})
			switch {
			case err != nil && !broken:
				n.log.Error("state file", "err", err)
			case err == nil && broken:
				n.log.Info("the state file can be written again")
			}
			broken = err != nil
		}
	}
}

// beatsOutMax bounds how many heartbeats wait for the bus: four seconds' worth.
const beatsOutMax = 16

// sendBeat hands a heartbeat to the bus without waiting for it: a publish may
// stand behind a socket that takes no data, and the loop has a deadline to
// keep. What doesn't fit is dropped and counted, since the next says the same.
func (n *Agent) sendBeat(b machine.Beat) {
	select {
	case n.out <- outgoing{beat: b}:
	default:
		n.beatsLost.Add(1)
	}
}

// outgoing is a heartbeat, or an answer that goes out after the heartbeats
// before it: who has been answered and asks another node should hear of it
// there too.
type outgoing struct {
	beat   machine.Beat
	answer chan<- *machine.Refusal // nil: a heartbeat
	err    *machine.Refusal
}

// keepBeats publishes heartbeats in order until the last.
func (n *Agent) keepBeats(told chan<- struct{}) {
	defer close(told)
	for o := range n.out {
		if o.answer != nil {
			o.answer <- o.err
		} else if err := n.opts.Bus.PublishBeat(o.beat); err != nil {
			n.log.Debug("heartbeat", "err", err)
		}
	}
}
