package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// call is a command that was not answered yet.
type call struct {
	agent *agent
	life  checkers.Life
	verb  machine.Verb
	alone bool // its caller goes away: it need not be answered
}

// command gives an agent a command, now.
func (w *World) command(a *agent, c machine.Command) {
	if a.life == 0 || a.frozen {
		return
	}
	w.Stats.Commands++
	c.ID = machine.CallID(w.Stats.Commands)
	alone := w.round.faults && w.work.happens(0.05)
	w.calls[c.ID] = call{a, a.life, c.Verb, alone}
	w.tell(a, 0, c)
	if alone {
		w.tell(a, w.work.upTo(2*time.Second), machine.Cancel{ID: c.ID})
	}
}

func (w *World) replied(a *agent, r machine.Reply) {
	w.Stats.Replies++
	if _, open := w.calls[r.ID]; !open {
		w.check.Fail("reply", "%s answered call %d twice, or never asked", a.name, r.ID)
	}
	delete(w.calls, r.ID)
}

// randomCommand is a user at work.
func (w *World) randomCommand() {
	c := w.work
	a, app := w.agents[c.IntN(len(w.agents))], c.IntN(len(w.Knobs.Specs))
	cmd := machine.Command{App: w.Knobs.Specs[app].App}
	switch c.IntN(14) {
	case 0, 1, 2, 3:
		cmd.Verb = machine.VerbStart
	case 4:
		cmd.Verb = machine.VerbStop
	case 5:
		cmd.Verb, cmd.All = machine.VerbStop, true
	case 6, 7:
		cmd.Verb = machine.VerbTakeover
		w.moved[app] = true
	case 8:
		cmd.Verb = machine.VerbPermit
	case 9, 10:
		cmd.Verb, cmd.Permitted, cmd.Persist = machine.VerbPermit, true, c.IntN(2) == 0
	case 12, 13:
		cmd.Verb, cmd.Apply = machine.VerbConfig, w.specification()
	case 11:
		w.shutdown(a)
		return
	}
	w.command(a, cmd)
}

// specification is another one to apply: with Timeouts that are not longer than
// the first ones, so that the cluster comes to rest as soon.
func (w *World) specification() *policy.SpecRecord {
	rec := &policy.SpecRecord{}
	for _, s := range w.Knobs.Specs {
		other := *s
		if other.Timeout > 0 {
			other.Timeout = policy.Timeout(w.work.upTo(time.Duration(other.Timeout)))
		}
		rec.Specs = policy.PutSpec(rec.Specs, other)
	}
	rec.Digest = policy.Digest("sim", nil, rec.Specs)
	return rec
}

func (w *World) shutdown(a *agent) {
	w.command(a, machine.Command{Verb: machine.VerbShutdown})
}

// allRuns are the instances that are alive, oldest first.
func (w *World) allRuns() []*run {
	var rs []*run
	for _, id := range slices.Sorted(maps.Keys(w.runs)) {
		rs = append(rs, w.runs[id])
	}
	return rs
}
