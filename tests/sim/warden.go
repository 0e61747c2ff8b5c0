package sim

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/warden/vigil"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// warden is the second process of one life of a node. What it decides is
// decided by package vigil, as in production; its socket, its clock, its timer
// in the kernel and its way to the store are the world's.
type warden struct {
	agent *agent
	life  checkers.Life // its agent
	vigil vigil.Vigil[uint64]

	over    bool
	stopped bool            // it takes no step, alone or with its host
	inbox   []func()        // what it is told meanwhile
	last    machine.Instant // when the kernel ends it if it has not been told another time; 0: never
	alarmAt Time            // when its alarm is set to; 0: not at all
	acting  bool            // it has begun to kill
	cut     bool            // it does not reach the store
	until   Time            // with a certificate to write: until when it tries
}

// wardenMode is what an app's start does without a warden.
type wardenMode int

const (
	wardenAuto    wardenMode = iota // waits for one, but no longer than a renewal period
	wardenOff                       // there never is one
	wardenRequire                   // fails
)

// tell gives a warden a message, which it reads when it can.
func (w *World) tellWarden(wd *warden, f func()) {
	switch {
	case wd == nil || wd.over:
	case wd.stopped:
		wd.inbox = append(wd.inbox, f)
	default:
		f()
	}
}

// hire starts a warden of an agent's present life, after a while.
func (w *World) hire(a *agent, d time.Duration) {
	if w.Knobs.Warden == wardenOff {
		return
	}
	life := a.life
	w.after(d, func() {
		switch {
		case a.life != life || a.warden != nil:
		case a.frozen:
			w.hire(a, 50*time.Millisecond)
		default:
			w.Stats.Wardens++
			wd := &warden{agent: a, life: life}
			wd.vigil.Meet(vigil.Life{Node: a.name, Agent: w.lives[life].nonce, TTL: a.lease.TTL})
			a.warden, a.wardenUp = wd, false
			w.wardens = append(w.wardens, wd)
			w.after(w.faulty.upTo(5*time.Millisecond), func() { w.greet(a, wd) })
		}
	})
}

// greet tells a new warden all that it has to know; then the starts that waited
// for it go on.
func (w *World) greet(a *agent, wd *warden) {
	if a.life != wd.life || a.warden != wd {
		return
	}
	if a.frozen {
		w.after(50*time.Millisecond, func() { w.greet(a, wd) })
		return
	}
	a.wardenUp = true
	w.tellWarden(wd, func() {
		for _, r := range a.runs {
			wd.vigil.Add(r.id)
			w.exec(r)
		}
		wd.vigil.All()
		a.armed = 0
		w.armWarden(a)
	})
}

// admit lets an instance execute its command when a warden knows of it, or when
// there is none to be had.
func (w *World) admit(r *run) {
	a := r.agent
	if w.Knobs.Warden == wardenOff {
		w.exec(r)
		return
	}
	if a.warden != nil && a.wardenUp {
		wd := a.warden
		w.tellWarden(wd, func() {
			wd.vigil.Add(r.id)
			w.exec(r)
		})
	}
	if r.waiting {
		w.after(a.lease.Renew, func() {
			switch {
			case !r.waiting || r.gone || r.orphan:
			case w.Knobs.Warden == wardenRequire:
				w.plan(r, 0, endFailed)
			default:
				w.exec(r)
			}
		})
	}
}

// armWarden passes on how long the agent's apps may run: the warden acts a
// little before the kernel does.
func (w *World) armWarden(a *agent) {
	wd := a.warden
	if wd == nil || !a.wardenUp || a.armed == a.doom {
		return
	}
	a.armed = a.doom
	at, last := a.doom, a.doom
	if at != 0 {
		at, last = at.Add(-a.lease.Late/2), last.Add(a.lease.TTL) // one that is late is left to its work
	}
	w.tellWarden(wd, func() {
		wd.vigil.Arm(time.Duration(at))
		wd.last = last
		w.setAlarm(wd, at)
	})
}

// setAlarm leaves one that comes earlier alone: it looks, and sets another.
func (w *World) setAlarm(wd *warden, at machine.Instant) {
	due := wd.agent.host.clock.when(at)
	if at == 0 || wd.alarmAt != 0 && wd.alarmAt <= due {
		return
	}
	wd.alarmAt = max(due, w.now) + w.lateness()/2
	alarm := wd.alarmAt
	w.after(alarm-w.now, func() {
		if wd.alarmAt != alarm {
			return
		}
		w.tellWarden(wd, func() {
			wd.alarmAt = 0
			now := wd.agent.host.clock.read(w.now)
			switch {
			case wd.vigil.Passed(time.Duration(now)):
				w.avenge(wd)
			case wd.last != 0:
				w.setAlarm(wd, wd.last.Add(-wd.agent.lease.TTL-wd.agent.lease.Late/2))
			}
		})
	})
}

// avenge ends an agent and all that it has started.
func (w *World) avenge(wd *warden) {
	if wd.over || wd.acting {
		return
	}
	w.Stats.Avenged++
	wd.acting, wd.last = true, 0
	if w.trace.on {
		w.trace.line(w, wd.agent.name, "AVENGE", "life %d, %d groups", wd.life, wd.vigil.Groups())
	}
	w.killFor(wd, wd.vigil.Begin(time.Duration(wd.agent.host.clock.read(w.now))))
	w.lookAgain(wd, w.apps.between(500*time.Microsecond, 5*time.Millisecond))
}

func (w *World) killFor(wd *warden, targets []vigil.Target[uint64]) {
	for _, t := range targets {
		if t.Agent {
			w.killAgent(wd.agent, wd.life)
			continue
		}
		if r := w.runs[t.Group]; r != nil {
			w.killGroup(r)
		}
	}
}

// killAgent is SIGKILL to one life of a node. Its supervisor starts another.
func (w *World) killAgent(a *agent, l checkers.Life) {
	if a.life != l {
		return
	}
	w.crash(a)
	w.after(w.faulty.scale(20*time.Millisecond, time.Minute), func() { w.boot(a) })
}

// killGroup is SIGKILL to a whole process group, by whoever is not its agent.
func (w *World) killGroup(r *run) {
	if r.killed && r.end == endKilled {
		return
	}
	r.killed = true
	w.plan(r, min(w.killTime(r), r.left(w.now)), endKilled)
}

func (w *World) lookAgain(wd *warden, d time.Duration) {
	w.after(d, func() { w.tellWarden(wd, func() { w.look(wd) }) })
}

// look is one look at what was killed.
func (w *World) look(wd *warden) {
	now := time.Duration(wd.agent.host.clock.read(w.now))
	targets, verdict := wd.vigil.Look(now, w.lives[wd.life].over, func(id uint64) bool { return w.runs[id] == nil })
	switch verdict {
	case vigil.Wait:
		w.killFor(wd, targets)
		w.lookAgain(wd, w.apps.between(time.Millisecond, 20*time.Millisecond))
	case vigil.Certify:
		wd.until = w.now + wd.vigil.Patience()
		w.certify(wd)
	default:
		w.dismiss(wd)
	}
}

// dismiss is the end of a warden, however it came.
func (w *World) dismiss(wd *warden) {
	if wd.over {
		return
	}
	wd.over, wd.inbox = true, nil
	w.wardens = slices.DeleteFunc(w.wardens, func(o *warden) bool { return o == wd })
	for _, r := range w.allRuns() {
		if r.life == wd.life && r.orphan {
			w.forsake(r)
		}
	}
	a := wd.agent
	if a.warden != wd {
		return
	}
	a.warden, a.wardenUp = nil, false
	w.hire(a, w.faulty.between(25*time.Millisecond, 300*time.Millisecond))
}

// certify is one attempt at row S4: a read, then a write of exactly what was
// read. Whatever goes wrong, it reads again.
func (w *World) certify(wd *warden) {
	again := func(d time.Duration) {
		w.after(d, func() { w.tellWarden(wd, func() { w.certify(wd) }) })
	}
	switch {
	case w.now > wd.until:
		w.dismiss(wd)
		return
	case wd.cut || w.now < w.round.outage || w.stores.happens(w.round.lose):
		again(w.stores.between(10*time.Millisecond, 410*time.Millisecond))
		return
	}
	w.after(w.hop(), func() {
		at := w.now
		if w.stores.happens(w.round.stale) {
			at -= w.stores.upTo(staleMax)
		}
		read := w.store.register(policy.NodeKey(wd.agent.name)).asOf(at)
		write, over := wd.vigil.Certificate(read)
		if over {
			w.after(w.hop(), func() { w.dismiss(wd) })
			return
		}
		write.ID = w.id()
		w.check.Certifies(read, &write)
		d := 2 * w.hop()
		if w.stores.happens(w.round.straggle) {
			d = w.stores.upTo(4 * time.Second) // it lands after it was given up
		}
		w.after(d, func() { w.certificateArrives(wd, write, d) })
		if d > 400*time.Millisecond {
			again(410 * time.Millisecond)
		}
	})
}

func (w *World) certificateArrives(wd *warden, write policy.Write, took time.Duration) {
	if w.now < w.round.outage {
		w.after(w.round.outage-w.now+w.hop(), func() { w.certificateArrives(wd, write, time.Hour) })
		return
	}
	before := w.store.seq
	rev, outcome := w.store.cas(&write, w.now)
	if w.store.seq != before {
		w.Stats.Avengers++
		w.change(wd.life, &write, rev, machine.OpCertify)
	}
	if took > 400*time.Millisecond {
		return // it has been given up
	}
	if outcome != policy.OutcomeOK || w.stores.happens(w.round.loseReply) {
		w.after(w.stores.between(10*time.Millisecond, 410*time.Millisecond), func() { w.tellWarden(wd, func() { w.certify(wd) }) })
		return
	}
	n := write.Cell.Node
	w.announce(machine.Certified{Node: n.Node, Session: n.Session, Agent: n.Agent, Rev: rev})
	w.dismiss(wd)
}

// certsKept are the certificates that are heard again some day.
const certsKept = 16

// announce broadcasts a certificate. Not all hear it, some late or twice.
func (w *World) announce(c machine.Certified) {
	if w.certs = append(w.certs, c); len(w.certs) > certsKept {
		w.certs = w.certs[1:]
	}
	w.spread(c)
}

func (w *World) spread(c machine.Certified) {
	for _, a := range w.agents {
		for range 2 {
			if a.life == 0 || w.net.happens(w.round.beatLoss) {
				continue
			}
			d := time.Millisecond + w.net.upTo(w.round.beatLate)
			w.tell(a, d, c)
			w.Stats.Certificates++
			if !w.net.happens(w.round.beatTwice) {
				break
			}
		}
	}
}

// forge makes a certificate up, from what somebody who knows the cookie may
// know, or repeats an old one.
func (w *World) forge() {
	c := w.faulty
	if len(w.certs) > 0 && c.happens(0.4) {
		w.spread(w.certs[c.IntN(len(w.certs))])
		return
	}
	a := w.agents[c.IntN(len(w.agents))]
	cell := w.store.register(policy.NodeKey(a.name)).asOf(w.now)
	if cell.Node == nil {
		return
	}
	cert := machine.Certified{Node: a.name, Session: cell.Node.Session, Agent: cell.Node.Agent, Rev: cell.Rev + policy.Revision(c.IntN(3)) - 1}
	switch c.IntN(4) {
	case 0:
		cert.Session = policy.Session(w.id())
	case 1:
		cert.Agent = policy.Nonce(w.id())
	case 2:
		cert.Rev = ^policy.Revision(0)
	}
	w.spread(cert)
}

// strikeWarden kills a warden, stops it for a while, closes its socket or cuts
// it off from the store.
func (w *World) strikeWarden(a *agent, k faultKind) {
	wd := a.warden
	if wd == nil || a.life == 0 || wd.stopped && k != faultWardenCut {
		return
	}
	switch k {
	case faultWardenDeath:
		w.dismiss(wd)
	case faultWardenPause:
		w.stopWarden(wd, w.faulty.scale(10*time.Millisecond, 3*w.Knobs.leaseMax()))
	case faultSocket:
		w.tellWarden(wd, func() { w.avenge(wd) })
	case faultWardenCut:
		wd.cut = true
		w.healLater(func() { wd.cut = false })
	}
}

// stopWarden is SIGSTOP. The agent that gets no answer kills it and starts
// another; the kernel ends it when its time has come.
func (w *World) stopWarden(wd *warden, d time.Duration) {
	a := wd.agent
	wd.stopped = true
	w.after(d, func() { w.resume(wd) })
	if last := wd.last; last != 0 {
		w.after(a.host.clock.when(last)-w.now, func() {
			if wd.stopped && wd.last == last {
				w.dismiss(wd)
			}
		})
	}
	var replace func()
	replace = func() {
		switch {
		case !wd.stopped || wd.over || a.life != wd.life:
		case a.frozen:
			w.after(a.lease.Renew, replace)
		default:
			w.dismiss(wd)
		}
	}
	w.after(a.lease.Renew+w.faulty.upTo(a.lease.Renew), replace)
}

// resume lets a warden go on with what it was told meanwhile.
func (w *World) resume(wd *warden) {
	if !wd.stopped || wd.over || wd.agent.host.frozen {
		return
	}
	if now := wd.agent.host.clock.read(w.now); wd.last != 0 && now >= wd.last {
		w.dismiss(wd) // the kernel was quicker
		return
	}
	wd.stopped = false
	inbox := wd.inbox
	wd.inbox = nil
	for _, f := range inbox {
		w.tellWarden(wd, f)
	}
	if at := wd.last; at != 0 {
		wd.alarmAt = 0
		w.setAlarm(wd, at.Add(-wd.agent.lease.TTL-wd.agent.lease.Late/2))
	}
}

// wardenOf is the warden of a life, if it can act.
func (w *World) wardenOf(l checkers.Life) *warden {
	for _, wd := range w.wardens {
		if wd.life == l {
			return wd
		}
	}
	return nil
}

// inherit is what an agent's end leaves to its warden, which learns of it by
// the end of its socket.
func (w *World) inherit(a *agent) {
	wd := a.warden
	a.warden, a.wardenUp, a.doom, a.armed = nil, false, 0, 0
	if wd == nil {
		return
	}
	w.after(w.apps.upTo(2*time.Millisecond), func() { w.tellWarden(wd, func() { w.avenge(wd) }) })
}

// forsake: nobody is left who would end what the kernel has not. At most one
// does not hold for it then, as documented; a certificate still needs its end.
func (w *World) forsake(r *run) {
	if r.forsaken || !r.clan {
		return
	}
	r.forsaken = true
	w.Stats.Forsaken++
	w.check.Excuse(r.life, r.run)
	if w.trace.on {
		w.trace.line(w, r.agent.name, "FORSAKEN", "life %d run %d", r.life, r.run)
	}
	if !w.round.faults {
		w.after(w.apps.upTo(time.Second), w.endForsaken)
	}
}

// endForsaken is an operator, or the supervisor's cgroup, before a calm can
// be one.
func (w *World) endForsaken() {
	for _, r := range w.allRuns() {
		if r.forsaken || r.orphan && w.wardenOf(r.life) == nil {
			w.killGroup(r)
		}
	}
}
