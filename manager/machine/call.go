package machine

import (
	"fmt"
	"slices"

	"github.com/seed7529eb29/regent/policy"
)

// call is a command that waits for what it asked for. Waiting is a state, not
// a blocked goroutine: nothing else waits for it (B-3).
type call struct {
	id   CallID
	verb Verb
	app  *app // nil: config
	all  bool
	spec *specChange // load and config: what it waits for
	look *Command    // takeover: what it is, while the record is read before it is refused
}

func (m *Machine) reply(id CallID, err *Refusal) { m.do(Reply{ID: id, Err: err}) }

func (m *Machine) command(c Command) {
	if c.Verb == VerbShutdown {
		m.reply(c.ID, nil)
		m.beginClose(c.Code, "told to stop")
		return
	}
	a := m.appOf[c.App]
	switch {
	case m.life == lifeClosing:
		m.reply(c.ID, &Refusal{RefuseClosing, string(m.cfg.Self)})
		return
	case !c.typed():
		m.reply(c.ID, &Refusal{RefuseBadType, fmt.Sprintf("%q: permanent, transient or temporary", c.Type)})
		return
	case c.Verb == VerbConfig || c.Verb == VerbLoad && c.Spec != nil:
		m.commandSpec(c)
		return
	case a == nil || a.dropped:
		m.reply(c.ID, &Refusal{RefuseNotLoaded, fmt.Sprintf("unknown app %s", c.App)})
		return
	}
	if m.cfg.Hidden && a.Spec != nil {
		c.All = false // it writes nothing: it can step back, and stop nobody else
	}
	m.touch()
	if refusal := m.begin(a, c); refusal != nil {
		m.reply(c.ID, refusal)
		return
	}
	m.calls = append(m.calls, &call{id: c.ID, verb: c.Verb, app: a, all: c.All, look: m.looksFirst(a, c)})
}

// typed: the restart type, if there is one, is one of OTP's.
func (c Command) typed() bool {
	_, err := policy.ParseRestartType(string(c.Type))
	return c.Type == "" || err == nil
}

func (m *Machine) begin(a *app, c Command) *Refusal {
	switch c.Verb {
	case VerbStart:
		return m.commandStart(a, c)
	case VerbStop:
		return m.commandStop(a, c)
	case VerbTakeover:
		return m.commandTakeover(a, c)
	case VerbPermit:
		m.commandPermit(a, c)
		return nil
	case VerbLoad:
		return nil // being described counts as loaded (B-26)
	}
	return &Refusal{RefuseNoVerb, string(c.Verb)}
}

func (m *Machine) cancel(id CallID) {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool { return c.id == id })
}

// pending reports whether a call of this kind waits for the app here.
func (m *Machine) pending(a *app, v Verb) bool {
	return slices.ContainsFunc(m.calls, func(c *call) bool { return c.app == a && c.verb == v })
}

// commandStart is application:start/2 (rules ): a second call while
// the first is blocked waits with it; later ones are refused, unless the app
// was stopped or failed here since (B-16).
func (m *Machine) commandStart(a *app, c Command) *Refusal {
	if refusal := m.undefined(a); refusal != nil {
		return refusal
	}
	switch {
	case m.pending(a, VerbStart):
		return nil
	case a.started && a.failed == "" && !a.isStopped() && !m.overHere(a):
		return &Refusal{RefuseAlreadyStarted, string(a.App)}
	}
	a.noteBereft()
	m.beginStart(a, c.Type)
	return nil
}

// undefined: the app would have to run here, and there is nothing to run. A node
// outside its list only waits.
func (m *Machine) undefined(a *app) *Refusal {
	if a.Defined {
		return nil
	}
	if a.Spec != nil {
		if _, listed := a.Spec.Priority(m.cfg.Self); !listed {
			return nil
		}
	}
	return &Refusal{RefuseUndefined, fmt.Sprintf("%s has no command and is not registered; define it under apps", a.App)}
}

// isStopped: the record says that nobody is to run it.
func (a *app) isStopped() bool { return a.rec != nil && a.rec.Want == policy.WantStopped }

// overHere: it has ended on this node, which owns it still; the record does not
// say so yet.
func (m *Machine) overHere(a *app) bool {
	return a.run == nil && a.ownsByClaim(m) && a.claim.over != nil && a.claim.over.final
}

func (m *Machine) beginStart(a *app, t policy.RestartType) {
	if t == "" {
		t = a.Type
	}
	if a.stopping {
		m.refuseCalls(a, VerbStop, &Refusal{RefuseOvertaken, "started again"})
	}
	a.starting = policy.FirstWait
	if a.started {
		a.starting = policy.FirstGo
	}
	if a.Spec == nil || m.cfg.Hidden { // a hidden node writes nothing, it only waits
		a.starting = policy.FirstNone
	}
	a.kind, a.started, a.failed, a.take, a.stopping = t, true, "", max(a.take, takeEdge), false
	m.beats.changed = true
	m.touch()
}

// commandStop is application:stop/1: at the owner the app stops everywhere
// elsewhere only this node steps back.
func (m *Machine) commandStop(a *app, c Command) *Refusal {
	owner := a.owns(m) || a.run != nil && !m.elsewhere(a)
	blocked := m.pending(a, VerbStart)
	if !owner && !c.All && (!a.started || blocked) {
		return &Refusal{RefuseNotStarted, string(a.App)}
	}
	m.refuseCalls(a, VerbStart, &Refusal{RefuseStopped, string(a.App)})
	m.refuseCalls(a, VerbTakeover, &Refusal{RefuseStopped, string(a.App)})
	a.started, a.starting, a.take = false, policy.FirstNone, takeNone
	a.stopping = a.Spec != nil && (owner || c.All)
	m.beats.changed = true
	return nil
}

// elsewhere: the record names another node as the owner. What runs here then is
// a provisional instance or one on its way out, and a stop here is not one of
// the app.
func (m *Machine) elsewhere(a *app) bool {
	return a.rec != nil && !a.rec.Owner.Empty() && a.rec.Owner.Node != m.cfg.Self
}

func (m *Machine) refuseCalls(a *app, v Verb, why *Refusal) {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool {
		if c.app != a || c.verb != v {
			return false
		}
		m.reply(c.id, why)
		return true
	})
}

// commandTakeover is application:takeover/2. Another node may have
// shown the caller that the app runs before this one has seen it: what looks as
// if it ran nowhere is read from the leader, once, before that is the answer.
func (m *Machine) commandTakeover(a *app, c Command) *Refusal {
	if a.Spec == nil || !a.started {
		return &Refusal{RefuseNotRunning, fmt.Sprintf("%s; start it on %s first", a.App, m.cfg.Self)}
	}
	if _, listed := a.Spec.Priority(m.cfg.Self); !listed {
		return &Refusal{RefuseNotRunning, fmt.Sprintf("%s is not in the list of %s", m.cfg.Self, a.App)}
	}
	if m.looksFirst(a, c) != nil {
		if a.req == nil {
			m.confirm(a)
		}
		return nil
	}
	return m.takeover(a, c)
}

// looksFirst returns a command whose answer waits for a look at the record.
func (m *Machine) looksFirst(a *app, c Command) *Command {
	if c.Verb != VerbTakeover || runsSomewhere(a) || a.damaged != "" || m.bucket.lost != "" {
		return nil
	}
	return &c
}

func runsSomewhere(a *app) bool {
	return a.rec != nil && !a.rec.Owner.Empty() && a.rec.Want == policy.WantRun
}

// takeover begins one of an app that runs elsewhere.
func (m *Machine) takeover(a *app, c Command) *Refusal {
	switch {
	case !runsSomewhere(a):
		return &Refusal{RefuseNotRunning, fmt.Sprintf("%s runs nowhere", a.App)}
	case a.owns(m):
		return &Refusal{RefuseRunsHere, string(a.App)}
	}
	if c.Type != "" {
		a.kind = c.Type
	}
	a.take, a.failed = takeCommand, ""
	m.beats.changed = true
	return nil
}

// commandPermit is application:permit/2.
func (m *Machine) commandPermit(a *app, c Command) {
	detail := fmt.Sprint(c.Permitted)
	if c.Persist {
		detail += ", over restarts"
	}
	if a.permitted != c.Permitted || c.Persist {
		m.emit(History{Type: "permit", App: a.App, Node: m.cfg.Self, Detail: detail})
	}
	if c.Permitted && !a.permitted {
		a.noteBereft()
	}
	m.setPermitted(a, c.Permitted)
	a.told = true
	if c.Persist {
		a.persist = new(c.Permitted)
	}
	if c.Permitted {
		a.take = max(a.take, takeEdge)
	}
	m.beats.changed = true
}

// decideCalls answers the calls whose question is settled.
func (m *Machine) decideCalls() {
	for _, c := range slices.Clone(m.calls) {
		if done, err := m.settled(c); done {
			m.cancel(c.id)
			m.reply(c.id, err)
		}
	}
}

func (m *Machine) settled(c *call) (bool, *Refusal) {
	if m.life != lifeUp && m.life != lifeSyncing {
		return true, &Refusal{RefuseClosing, string(m.cfg.Self)}
	}
	switch c.verb {
	case VerbConfig, VerbLoad:
		return m.specSettled(c)
	case VerbStart:
		return m.startSettled(c.app)
	case VerbStop:
		return m.stopSettled(c)
	case VerbTakeover:
		return m.takeoverSettled(c)
	default:
		return m.permitSettled(c.app)
	}
}

// startSettled: the app is seen running, or can't start, or was stopped.
func (m *Machine) startSettled(a *app) (bool, *Refusal) {
	switch {
	case m.life == lifeSyncing:
		return false, nil
	case a.failed != "":
		a.started = false
		m.beats.changed = true
		return true, &Refusal{RefuseFailed, a.failed}
	case a.Spec == nil:
		return a.run != nil && a.run.up || !a.permitted, nil
	case a.starting != policy.FirstNone || a.rec == nil || a.req != nil:
		return false, nil
	case a.rec.Want == policy.WantStopped:
		a.started = false
		m.beats.changed = true
		if a.rec.Error != "" {
			return true, &Refusal{RefuseFailed, a.rec.Error}
		}
		return true, &Refusal{RefuseStopped, string(a.App)}
	case m.isRunning(a):
		return a.owns(m) || !m.wantsTake(a), nil
	}
	return m.nobodyPermitted(a), nil
}

// isRunning: the record says that a live node runs it.
func (m *Machine) isRunning(a *app) bool {
	return a.rec != nil && !a.rec.Owner.Empty() && a.rec.Phase == policy.PhaseRunning && !m.ended(a.rec.Owner)
}

// nobodyPermitted: a start then returns at once and nothing runs.
func (m *Machine) nobodyPermitted(a *app) bool {
	for _, n := range a.Spec.Nodes() {
		if n == m.cfg.Self {
			if a.permitted {
				return false
			}
			continue
		}
		if mb := m.memberOf[n]; mb != nil && mb.present() && !mb.apps[a.App].Denied {
			return false
		}
	}
	return true
}

func (m *Machine) stopSettled(c *call) (bool, *Refusal) {
	a := c.app
	if a.Spec == nil {
		return a.run == nil, nil
	}
	here := a.run == nil && !a.stopping && !a.owns(m)
	if !c.all {
		return here, nil
	}
	// Wanted again means that it was stopped, and started since.
	return here && (a.rec == nil || a.rec.Owner.Empty() || m.ended(a.rec.Owner) || a.rec.Want == policy.WantRun), nil
}

func (m *Machine) takeoverSettled(c *call) (bool, *Refusal) {
	a := c.app
	if c.look != nil {
		if a.req != nil && m.bucket.lost == "" {
			return false, nil
		}
		look := *c.look
		c.look = nil
		if refusal := m.takeover(a, look); refusal != nil {
			return true, refusal
		}
		m.touch()
	}
	switch {
	case a.failed != "":
		return true, &Refusal{RefuseFailed, a.failed}
	case a.rec != nil && a.rec.Want == policy.WantStopped:
		return true, &Refusal{RefuseStopped, string(a.App)}
	case a.take == takeNone && !a.owns(m) && m.isRunning(a):
		return true, &Refusal{RefuseOvertaken, fmt.Sprintf("%s runs on %s", a.App, a.rec.Owner.Node)}
	}
	return a.owns(m) && m.isRunning(a), nil
}

// permitSettled: taking a permission away returns when the app is gone from
// here and, if somebody else can run it, runs there; giving one returns when
// whatever it sets in motion here is done.
func (m *Machine) permitSettled(a *app) (bool, *Refusal) {
	switch {
	case a.persist != nil:
		return false, nil
	case !a.started:
		return true, nil
	case a.Spec == nil:
		return (a.run != nil) == a.permitted, nil
	case a.rec == nil || a.rec.Want == policy.WantStopped:
		return a.run == nil, nil
	case a.permitted && a.owns(m):
		return m.isRunning(a), nil
	case a.permitted:
		return !m.candidate(a, m.cfg.Self) || m.isRunning(a) && !m.wantsTake(a), nil
	case a.run != nil || a.owns(m):
		return false, nil
	}
	return m.isRunning(a) || m.place(a) == "", nil
}

// requestStop is A11 stop, by the owner when told to, or by anyone for a stop
// everywhere. An own start of unknown outcome is voided by writing even if
// nothing seems to change.
func (m *Machine) requestStop(a *app) {
	if a.rec.Want == policy.WantStopped && a.rec.First == policy.FirstNone && len(a.open) == 0 {
		a.stopping = false
		m.touch()
		return
	}
	m.write(a, OpStopWant, func(rec *policy.AppRecord) {
		rec.Want, rec.First, rec.Since = policy.WantStopped, policy.FirstNone, m.cfg.Wall()
		m.overtop(a, rec)
		if a.exclusive() {
			rec.Next = policy.Slot{}
		}
	})
}

// requestStart is A11 start. Where the app is wanted already there is nothing
// to write, unless a stop of unknown outcome may still land.
func (m *Machine) requestStart(a *app) {
	if a.rec.Want == policy.WantRun && len(a.open) == 0 {
		a.starting = policy.FirstNone
		m.touch()
		return
	}
	stopped := a.rec.Want == policy.WantStopped
	m.write(a, OpStartWant, func(rec *policy.AppRecord) {
		rec.Want, rec.Since = policy.WantRun, m.cfg.Wall()
		if stopped {
			rec.First, rec.Error, rec.Ended = a.starting, "", nil
			rec.StartKind, rec.StartFrom, rec.Pinned = policy.StartNormal, "", false
		}
	})
}
