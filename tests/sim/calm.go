package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// rest is how a calm goes.
type rest int

const (
	restStart rest = iota // all nodes are up, everything is permitted and started everywhere
	restLeave             // all nodes are up, nobody tells them anything
	restFew               // some nodes stay down, nobody tells the others anything
	restStop              // everything is stopped
)

var restNames = [...]string{"start all", "leave alone", "some stay down", "stop all"}

// Live runs a whole life: storms and calms in turn until the hours are over.
// It returns the first violation, or nil.
func (w *World) Live(hours float64) *checkers.Violation {
	if w.Knobs.Big {
		hours *= bigShare
		w.Knobs.Round = min(w.Knobs.Round, Time(hours*float64(time.Hour))/2)
	}
	end := Time(hours * float64(time.Hour))
	for _, a := range w.agents {
		w.after(w.faulty.upTo(3*time.Second), func() { w.boot(a) })
	}
	for w.now < end && w.check.Err() == nil {
		w.Stats.Rounds++
		w.begin(w.storm())
		w.runUntil(w.now + w.faulty.between(w.Knobs.Round/2, w.Knobs.Round*3/2))
		w.rest()
	}
	if w.check.Err() == nil {
		w.verify()
	}
	return w.check.Err()
}

// rest heals everything and demands that the cluster comes to rest.
func (w *World) rest() {
	how := pick(w.work, restStart, restStart, restStart, restLeave, restLeave, restFew, restStop)
	w.heal(w.round.number + 1)
	down := w.wakeNodes(how)
	if w.trace.on {
		w.trace.line(w, "", "CALM", "%s, down %v", restNames[how], down)
	}
	w.settle(how)
	if w.check.Err() != nil {
		return
	}
	w.Stats.Calm++
	w.quiet(how)
}

// lastCrash is how long after the last fault some nodes go down for good: just
// when others that have come back take their apps over.
const lastCrash = 3 * time.Second

// wakeNodes starts the nodes that are down, or takes some of them down.
func (w *World) wakeNodes(how rest) (down []node.Name) {
	for i, a := range w.agents {
		clear(a.told)
		if how == restFew && w.work.happens(0.4) {
			at := w.work.upTo(lastCrash)
			if (w.round.number+i)%2 == 0 {
				w.after(0, func() { w.fallAmidTakeover(a, w.now+Time(lastCrash)) })
			} else {
				w.after(at, func() { w.fall(a) })
			}
			down = append(down, a.name)
		}
		w.after(w.work.upTo(500*time.Millisecond), func() { w.boot(a) })
	}
	return down
}

// fall is a crash from which nobody comes back.
func (w *World) fall(a *agent) {
	a.held = true
	w.crash(a)
}

// fallAmidTakeover is fall as soon as the node has asked for an app or reserved
// one, or at the end of the time: what it has written must not stay for good.
func (w *World) fallAmidTakeover(a *agent, end Time) {
	if w.now >= end || w.isNext(a) {
		w.fall(a)
		return
	}
	w.after(20*time.Millisecond, func() { w.fallAmidTakeover(a, end) })
}

func (w *World) isNext(a *agent) bool {
	return slices.ContainsFunc(w.Knobs.Specs, func(s *policy.Spec) bool {
		rec := w.store.register(policy.AppKey(s.App)).asOf(w.now).App
		return rec != nil && rec.Next.Node == a.name
	})
}

// bound is how long a healed cluster may take: two leases, the Timeout, a
// reservation, and five seconds; before that the nodes' barrier, and an app
// that still ignores its stop.
func (w *World) bound(app int) time.Duration {
	d := lastCrash + 3*w.Knobs.leaseMax() + 5*time.Second
	if w.Knobs.BucketLoss || w.Knobs.Rollback {
		d += 4 * w.Knobs.leaseMax() // nobody acts on a new bucket, or on an app's lost record, before a lease and a fence
	}
	if t := w.Knobs.Specs[app].Timeout; t != policy.Infinite {
		d += time.Duration(t)
	}
	return d + w.Knobs.Apps[app].StopMax + w.Knobs.Apps[app].StartMax
}

func (w *World) boundOfAll() time.Duration {
	d := time.Duration(0)
	for i := range w.Knobs.Specs {
		d = max(d, w.bound(i))
	}
	if t := w.Knobs.Sync.Timeout; w.Knobs.Sync.Defined && t != policy.Infinite {
		d += time.Duration(t)
	}
	return d
}

// settle waits as long as a healed cluster may take, and looks only then: what
// seems at rest earlier may not be.
func (w *World) settle(how rest) {
	w.waitForRest(how)
	if how == restStart && w.overtaken() {
		for _, a := range w.agents {
			clear(a.told)
		}
		w.waitForRest(how)
	}
	if why := w.unsettled(how); why != "" {
		w.check.Fail("I5/I6", "%s, after the last fault (%s)", why, restNames[how])
	}
	if how == restStart {
		w.checkCalls()
	}
}

// overtaken: what was under way in the storm may still have stopped an app, or
// refused a start, after all were told to start it. A user would do it again.
func (w *World) overtaken() bool {
	for i, s := range w.Knobs.Specs {
		if st := w.standing(restStart, i, s); len(st.Idle)+len(st.Barred) > 0 || !w.check.Wanted(s.App) {
			return true
		}
	}
	return false
}

func (w *World) waitForRest(how rest) {
	healed := w.now
	for w.check.Err() == nil && w.now-healed <= w.boundOfAll() {
		if w.instruct(how) {
			healed = w.now
		}
		w.runUntil(w.now + time.Second)
	}
}

// checkCalls demands that no caller is left waiting.
func (w *World) checkCalls() {
	for _, id := range slices.Sorted(maps.Keys(w.calls)) {
		c := w.calls[id]
		if c.life == c.agent.life && !c.alone {
			w.check.Fail("I5", "%s has not answered call %d (%s)", c.agent.name, id, c.verb)
		} else {
			delete(w.calls, id)
		}
	}
}

// instruct gives the commands of this calm to every life that has not had
// them yet, and reports whether it did.
func (w *World) instruct(how rest) (told bool) {
	if how != restStart && how != restStop {
		return false
	}
	for _, a := range w.agents {
		for i, done := range a.told {
			if done || a.life == 0 || a.beat.Phase != machine.BeatUp {
				continue
			}
			a.told[i], told = true, true
			w.instructOne(a, how, w.Knobs.Specs[i].App)
		}
	}
	return told
}

func (w *World) instructOne(a *agent, how rest, app policy.App) {
	if how == restStop {
		w.command(a, machine.Command{Verb: machine.VerbStop, App: app, All: true})
		return
	}
	w.command(a, machine.Command{Verb: machine.VerbPermit, App: app, Permitted: true})
	w.command(a, machine.Command{Verb: machine.VerbStart, App: app})
}

func (w *World) unsettled(how rest) string {
	for i, s := range w.Knobs.Specs {
		if why := w.unsettledApp(how, i, s); why != "" {
			return fmt.Sprintf("%s: %s", s.App, why)
		}
	}
	return ""
}

func (w *World) unsettledApp(how rest, i int, s *policy.Spec) string {
	if how == restStop && w.anyUp() {
		return w.check.Stopped(s.App)
	}
	st := w.standing(how, i, s)
	if how == restStart {
		if len(st.Idle)+len(st.Barred) > 0 {
			return fmt.Sprintf("all were permitted and told to start it, but %v have not, %v may not", st.Idle, st.Barred)
		}
		if len(st.Candidates) > 0 && !w.check.Wanted(s.App) {
			return "all nodes were told to start it, but it is not to run"
		}
	}
	return w.check.Converged(s.App, st)
}

func (w *World) anyUp() bool {
	for _, a := range w.agents {
		if a.life != 0 && a.beat.Phase == machine.BeatUp {
			return true
		}
	}
	return false
}

// standing is what the nodes say of an app.
func (w *World) standing(how rest, i int, s *policy.Spec) checkers.Standing {
	st := checkers.Standing{Moved: w.moved[i]}
	if how != restStart { // a node that was told to start an app takes it all the same
		st.Spec = w.specVersion(s.App)
	}
	for _, n := range s.Nodes() {
		a := w.agentOf(n)
		if a.life == 0 || a.beat.Phase != machine.BeatUp {
			continue
		}
		b := appBeat(&a.beat, s.App)
		switch {
		case b.Denied || b.Failed:
			st.Barred = append(st.Barred, n)
		case b.Started && a.beat.Session != "":
			st.Candidates = append(st.Candidates, n)
		case !b.Started:
			st.Idle = append(st.Idle, n)
		}
	}
	return st
}

// specVersion is which specification of an app the cluster goes by; empty: none
// is stored.
func (w *World) specVersion(app policy.App) string {
	rec := w.store.register(policy.ConfigKey()).asOf(w.now).Config
	if rec == nil {
		return ""
	}
	if s := policy.FindSpec(rec.Effective(), app); s != nil {
		return s.Version()
	}
	return ""
}

func appBeat(b *machine.Beat, app policy.App) machine.AppBeat {
	for _, ab := range b.Apps {
		if ab.App == app {
			return ab
		}
	}
	return machine.AppBeat{}
}

// quiet demands that a cluster at rest stays so: no app is started or moved,
// no record written.
func (w *World) quiet(how rest) {
	starts, writes := w.Stats.Starts, w.round.written
	began := w.now
	w.runUntil(w.now + w.Knobs.leaseMax() + 3*time.Second)
	w.check.Sweep()
	switch {
	case w.check.Err() != nil:
	case w.Stats.Starts != starts:
		w.check.Fail("I6", "an app was started in a cluster at rest since %v (%s)", began, restNames[how])
	case w.round.written > writes && w.round.written > began:
		w.check.Fail("I6", "a record was written in a cluster at rest since %v (%s)", began, restNames[how])
	}
	if why := w.unsettled(how); why != "" {
		w.check.Fail("I6", "%s, after rest since %v (%s)", why, began, restNames[how])
	}
}
