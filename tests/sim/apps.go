package sim

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// run is one instance of an app: processes from the order to start them until
// they are gone.
type run struct {
	id      uint64
	agent   *agent
	life    checkers.Life
	run     machine.RunID
	app     policy.App
	session policy.Session
	knobs   *AppKnobs
	up      bool
	killed  bool
	gone    bool
	waiting bool // to execute its command: no warden knows it yet
	clan    bool // it has processes that the death signal of their parent does not reach
	orphan  bool // its agent is gone: nobody is told
	// nobody is left who would end it in time
	forsaken bool
	gen      uint64 // of its plan; what was planned before is void
	end      end    // how the plan ends
	goneAt   Time   // when the plan ends
}

type end uint8

const (
	endUp      end = iota // not an end: the start is complete
	endFailed             // the start has failed
	endCrashed            // it ended by itself
	endExited             // it ended by itself, normally
	endStopped            // it was told to
	endKilled
)

func (w *World) startApp(a *agent, act machine.StartApp) {
	i := slices.IndexFunc(w.Knobs.Specs, func(s *policy.Spec) bool { return s.App == act.App })
	w.countStart(act)
	w.mix(uint64(act.Epoch))
	w.runID++
	r := &run{id: w.runID, agent: a, life: a.life, run: act.Run, app: act.App, session: act.Session, knobs: &w.Knobs.Apps[i]}
	w.runs[r.id] = r
	a.runs = append(a.runs, r)
	a.left++
	w.lives[a.life].runs++
	restart, beside := w.check.Starting(a.life, act.Run, act.App, act.Session, act.Epoch)
	if restart {
		w.Stats.Restarts++
	}
	if beside {
		w.Stats.Overlaps++
	}
	r.waiting = true
	w.admit(r)
}

// exec is the instance's first step.
func (w *World) exec(r *run) {
	if !r.waiting || r.gone || r.orphan || r.gen > 0 { // or it is told to end already
		return
	}
	r.waiting = false
	r.clan = w.apps.happens(r.knobs.Clan)
	d := w.apps.upTo(min(r.knobs.StartMax, w.round.startMax))
	if w.round.faults && w.apps.happens(r.knobs.FailStart) {
		w.plan(r, d, endFailed)
		return
	}
	w.plan(r, d, endUp)
}

func (w *World) countStart(act machine.StartApp) {
	w.Stats.Starts++
	switch act.Kind {
	case policy.StartFailover:
		w.Stats.Failovers++
	case policy.StartTakeover:
		w.Stats.Takeovers++
	}
}

// plan replaces what is going to happen to an instance.
func (w *World) plan(r *run, d time.Duration, e end) {
	r.gen++
	r.end, r.goneAt = e, w.now+d
	w.schedule(event{at: r.goneAt, kind: kindRun, node: nobody, a: r.id, b: r.gen})
}

func (w *World) runHappens(id, gen uint64) {
	r := w.runs[id]
	if r == nil || r.gen != gen {
		return
	}
	if h := r.agent.host; h.frozen && r.orphan {
		h.after = append(h.after, func() { // it is killed before it executes again
			if !r.gone && r.gen == gen {
				w.runGone(r)
			}
		})
		return
	}
	if a := r.agent; a.frozen && !a.paused && !r.orphan {
		a.backlog = append(a.backlog, event{kind: kindRun, node: a.index, life: a.life, a: id, b: gen})
		return
	}
	if r.end == endUp {
		w.runUp(r)
		return
	}
	w.runGone(r)
}

func (w *World) runUp(r *run) {
	r.up = true
	w.check.Up(r.life, r.run)
	if mean := r.knobs.CrashMean; mean > 0 && w.round.faults {
		w.plan(r, w.apps.mean(mean), pick(w.apps, endCrashed, endCrashed, endExited))
	}
	w.tell(r.agent, 0, machine.Started{Run: r.run})
}

// runGone is the end of an instance's last process. Of one that stood still
// and is not to execute again, the end was when it froze.
func (w *World) runGone(r *run) {
	a := r.agent
	at := w.lives[r.life].host.clock.read(w.now)
	if a.frozen && !a.paused && r.life == a.life {
		at = a.frozenAt
	} else if a.host.frozen {
		at = a.host.frozenAt
	}
	w.check.Gone(r.life, r.run, at)
	r.gone = true
	r.gen++
	delete(w.runs, r.id)
	a.left--
	w.lives[r.life].runs--
	a.runs = slices.DeleteFunc(a.runs, func(o *run) bool { return o == r })
	if w.trace.on {
		w.trace.line(w, a.name, "GONE", "life %d run %d", r.life, r.run)
	}
	if r.orphan || r.life != a.life {
		return
	}
	wd := a.warden
	w.tellWarden(wd, func() { wd.vigil.Gone(r.id) })
	w.tell(a, w.apps.upTo(5*time.Millisecond), w.obituary(r))
}

func (w *World) obituary(r *run) machine.Event {
	switch {
	case r.up && r.end == endExited:
		return machine.Exited{Run: r.run, Normal: true, Reason: "exit 0"}
	case r.up && r.end == endStopped:
		return machine.Exited{Run: r.run, Normal: true, Payload: []byte("state")}
	case r.up:
		if r.end == endCrashed {
			w.Stats.Crashed++
		}
		return machine.Exited{Run: r.run, Reason: "exit 1"}
	}
	w.Stats.StartFails++
	return machine.StartFailed{Run: r.run, Reason: "no"}
}

func (w *World) runOf(a *agent, id machine.RunID) *run {
	for _, r := range a.runs {
		if r.run == id && r.life == a.life {
			return r
		}
	}
	return nil
}

// stopApp asks an instance to end. It may take its time; a stubborn one is
// killed after the stop timeout.
func (w *World) stopApp(a *agent, id machine.RunID) {
	r := w.runOf(a, id)
	if r == nil || r.killed {
		return
	}
	d := w.apps.upTo(min(r.knobs.StopMax, w.round.stopMax))
	if w.round.faults && w.apps.happens(r.knobs.Stubborn) {
		d = r.knobs.StopMax + w.killTime(r)
	}
	w.plan(r, d, endStopped)
}

// killApp ends an instance whatever it does.
func (w *World) killApp(a *agent, id machine.RunID) {
	r := w.runOf(a, id)
	if r == nil || r.killed {
		return
	}
	r.killed = true
	w.plan(r, min(w.killTime(r), r.left(w.now)), endKilled)
}

// left is how long an instance that is ending anyway still has.
func (r *run) left(now Time) time.Duration {
	if r.end == endUp || r.goneAt <= now {
		return time.Hour
	}
	return r.goneAt - now
}

// killTime is how long a SIGKILL takes: at most Lease.Kill on every clock.
func (w *World) killTime(r *run) time.Duration {
	return w.apps.upTo(r.agent.lease.Kill * (million - 2*DriftPPM) / million)
}

// orphaned: the agent is gone, and the kernel kills the first process that it
// leaves. The rest is the warden's, or that of a node on the same host.
func (w *World) orphaned(r *run) {
	r.orphan = true
	switch {
	case r.killed || !r.clan:
		r.killed = true
		w.plan(r, min(w.killTime(r), r.left(w.now)), endKilled)
	default:
		w.Stats.Clans++
		r.gen++
		r.end = endUp
		if wd := r.agent.warden; wd == nil || wd.stopped || !r.agent.wardenUp {
			w.forsake(r)
		}
	}
}
