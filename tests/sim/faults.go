package sim

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// round is the weather of one stretch of a life: what goes wrong in it, and
// how often.
type round struct {
	number int
	faults bool // false in a calm
	every  [faultKinds]time.Duration

	beatLoss, beatTwice float64
	beatLate            time.Duration

	lose, loseReply, straggle float64
	slow                      time.Duration // a slow way to or from the store
	stale                     float64       // reads and snapshots of the past
	hole                      float64       // changes that are not delivered
	lag                       float64       // changes that are delivered late
	lagMax                    time.Duration

	diskFail float64
	diskMax  time.Duration
	late     float64 // timers that fire late
	startMax time.Duration
	stopMax  time.Duration

	outage  Time // the store answers nothing until then
	written Time // when an app's record last changed
	wall    time.Duration
}

type faultKind int

// Kinds of faults that happen now and then.
const (
	faultCrash faultKind = iota
	faultFreeze
	faultSplit
	faultPair
	faultCutOff // a node from the store
	faultOutage // of the store
	faultHint   // a false one
	faultWipe   // a node's disk, while it is down
	faultReboot
	faultWall // the wall clock jumps
	faultPause
	faultBucket
	faultCommand
	faultWardenDeath
	faultWardenPause
	faultSocket        // between agent and warden: it ends, and both live
	faultWardenCut     // a warden from the store
	faultBoth          // agent and warden are killed, or stopped
	faultForge         // a certificate that is made up, or an old one
	faultRollback      // the store is set back
	faultSleep         // a host is paused from outside, its clocks too
	faultKinds     int = iota
)

// calm is a round without faults.
func calm() round {
	return round{
		lagMax: 10 * time.Millisecond, diskMax: 5 * time.Millisecond,
		startMax: 200 * time.Millisecond, stopMax: 200 * time.Millisecond,
	}
}

// storm draws a round: of everything that can go wrong, some.
func (w *World) storm() round {
	c := w.faulty
	sometimes := func(p, most float64) float64 {
		if c.happens(p) {
			return most * c.Float64() * c.Float64()
		}
		return 0
	}
	ttl := w.Knobs.leaseMax()
	r := round{
		number: w.round.number + 1, faults: true,
		beatLoss: sometimes(0.5, 0.6), beatTwice: sometimes(0.3, 0.3),
		lose: sometimes(0.5, 0.3), loseReply: sometimes(0.5, 0.3), straggle: sometimes(0.5, 0.3),
		stale: sometimes(0.5, 0.6), hole: sometimes(0.4, 0.2), lag: sometimes(0.5, 0.5),
		lagMax: c.scale(5*time.Millisecond, ttl), diskFail: sometimes(0.3, 0.5),
		diskMax: c.scale(time.Millisecond, time.Second), late: sometimes(0.6, 1),
		startMax: time.Hour, stopMax: time.Hour,
		outage: w.round.outage, written: w.round.written, wall: w.round.wall,
	}
	if c.happens(0.4) {
		r.beatLate = c.scale(10*time.Millisecond, ttl)
	}
	if c.happens(0.4) {
		r.slow = c.scale(10*time.Millisecond, ttl/7)
	}
	for k := range r.every {
		if c.happens(0.4) && w.allowed(faultKind(k)) {
			r.every[k] = time.Duration(float64(c.scale(4*time.Second, 10*time.Minute)) / w.Knobs.Busy)
		}
	}
	for _, k := range []faultKind{faultBucket, faultRollback} {
		if r.every[k] > 0 {
			r.every[k] = c.scale(2*time.Minute, time.Hour) // one is a lot to bear
		}
	}
	if w.Knobs.Lively || c.happens(0.3) {
		r.every[faultCommand] = c.scale(2*time.Second, time.Minute)
	}
	return r
}

func (w *World) allowed(k faultKind) bool {
	if k == faultBucket && !w.Knobs.BucketLoss || k == faultPause && !w.Knobs.Pauses ||
		k == faultRollback && !w.Knobs.Rollback || k == faultSleep && !w.Knobs.Sleeps {
		return false
	}
	return w.Knobs.Only == nil || slices.Contains(w.Knobs.Only, k)
}

// begin makes a storm the weather.
func (w *World) begin(r round) {
	w.round = r
	for _, a := range w.agents {
		if a.held {
			a.held = false
			w.after(w.faulty.scale(100*time.Millisecond, time.Minute), func() { w.boot(a) })
		}
	}
	for k := range r.every {
		if r.every[k] > 0 {
			w.nextFault(faultKind(k), r.number)
		}
	}
	for _, run := range w.allRuns() {
		if run.up && !run.killed && run.end == endUp && run.knobs.CrashMean > 0 {
			w.plan(run, w.apps.mean(run.knobs.CrashMean), endCrashed)
		}
	}
}

func (w *World) nextFault(k faultKind, number int) {
	w.after(w.faulty.mean(w.round.every[k]), func() {
		if w.round.number != number || !w.round.faults {
			return
		}
		w.strike(k)
		w.nextFault(k, number)
	})
}

func (w *World) strike(k faultKind) {
	if k == faultCommand {
		w.randomCommand()
		return
	}
	w.Stats.Faults++
	a := w.agents[w.faulty.IntN(len(w.agents))]
	if w.trace.on {
		w.trace.line(w, a.name, "FAULT", "%s", faultNames[k])
	}
	switch k {
	case faultCrash:
		w.strikeCrash(a)
	case faultFreeze:
		w.strikeFreeze(a.host)
	case faultSplit:
		w.healLater(w.split())
	case faultPair:
		w.healLater(w.pair())
	case faultCutOff:
		w.cutStore(a, w.faulty.happens(0.8), w.faulty.happens(0.8), w.faulty.happens(0.7))
		w.healLater(func() { w.joinStore(a) })
	case faultOutage:
		w.round.outage = max(w.round.outage, w.now+w.faulty.scale(300*time.Millisecond, 2*w.Knobs.leaseMax()))
	case faultHint:
		w.tell(a, 0, machine.Disconnected{Node: w.agents[w.faulty.IntN(len(w.agents))].name})
	case faultWipe:
		w.strikeWipe(a)
	case faultReboot:
		w.strikeReboot(a.host)
	case faultWall:
		w.round.wall = w.faulty.upTo(2*time.Hour) - time.Hour
	case faultPause:
		w.strikePause(a)
	case faultBucket:
		w.strikeBucket()
	case faultWardenDeath, faultWardenPause, faultSocket, faultWardenCut:
		w.strikeWarden(a, k)
	case faultBoth:
		w.strikeBoth(a)
	case faultForge:
		w.forge()
	case faultRollback:
		w.strikeRollback()
	case faultSleep:
		w.strikeSleep(a.host)
	}
}

// strikeBoth leaves an app to the kernel.
func (w *World) strikeBoth(a *agent) {
	if a.frozen || a.life == 0 || a.warden == nil || a.warden.stopped {
		return
	}
	if w.Knobs.Pauses && w.faulty.happens(0.5) {
		w.stopWarden(a.warden, w.faulty.scale(150*time.Millisecond, 3*w.Knobs.leaseMax()))
		w.strikePause(a)
		return
	}
	wd := a.warden
	w.strikeCrash(a)
	w.dismiss(wd)
}

var faultNames = [...]string{"crash", "freeze", "split", "pair", "cut off from the store", "outage of the store", "false hint", "disk wiped", "reboot", "wall clock", "pause", "bucket lost", "command", "warden killed", "warden stopped", "socket closed", "warden cut off", "agent and warden", "forged certificate", "store set back", "host paused"}

// healLater ends a cut of the network. Cuts may end one another: that is only
// one more kind of weather.
func (w *World) healLater(heal func()) {
	w.after(w.faulty.scale(200*time.Millisecond, 5*w.Knobs.leaseMax()), heal)
}

func (w *World) strikeCrash(a *agent) {
	if a.frozen || a.life == 0 {
		return
	}
	w.crash(a)
	w.after(w.faulty.scale(20*time.Millisecond, 3*time.Minute), func() { w.boot(a) })
}

func (w *World) strikeFreeze(h *host) {
	w.freeze(h)
	w.after(w.faulty.scale(150*time.Millisecond, 3*w.Knobs.leaseMax()), func() { w.thaw(h) })
}

// strikePause stops an agent alone; its apps run on, and nothing but the timer
// that it armed in the kernel watches over them.
func (w *World) strikePause(a *agent) {
	if a.life == 0 || a.frozen {
		return
	}
	w.Stats.Pauses++
	life, doom := a.life, a.doom
	a.frozen, a.paused = true, true
	w.after(w.faulty.scale(150*time.Millisecond, 3*w.Knobs.leaseMax()), func() {
		if a.life == life && a.paused {
			w.wake(a)
		}
	})
	if doom != 0 {
		w.after(a.host.clock.when(doom)-w.now, func() {
			if a.life == life && a.paused && !a.host.frozen {
				w.killAgent(a, life)
			}
		})
	}
}

// strikeBucket loses the bucket: another one, empty, is in its place. Clients
// find out in their own time.
func (w *World) strikeBucket() {
	w.Stats.Buckets++
	w.store = newStore(w.id())
	w.check.Recreated()
	for _, a := range w.agents {
		a.view.current, a.view.most = false, 0
		a.view.gen++
		w.schedule(event{at: w.now + w.faulty.upTo(w.Knobs.Audit), kind: kindCall, node: a.index, life: a.life, what: func() {
			w.viewLost(a, "another bucket")
		}})
	}
}

// strikeRollback loses what the store has acknowledged lately, as when all its
// machines lose power before they have synced. It goes on from there.
func (w *World) strikeRollback() {
	w.Stats.Rollbacks++
	w.store.setBack(w.now - w.faulty.upTo(staleMax))
	var cells []policy.Cell
	for _, r := range w.store.keys {
		cells = append(cells, r.asOf(w.now))
	}
	w.check.SetBack(cells)
	w.round.outage = max(w.round.outage, w.now+w.faulty.upTo(time.Second))
}

// strikeSleep pauses a host from outside, as a virtual machine: its clocks stand
// still too, but for the time of day, which is set right afterwards. Nothing on
// it can know in time: what it ran may run beside another for the moment that it
// takes to notice and to kill.
func (w *World) strikeSleep(h *host) {
	if h.frozen {
		return
	}
	w.Stats.Sleeps++
	w.freeze(h)
	h.asleep = true
	d := w.faulty.scale(150*time.Millisecond, 3*w.Knobs.leaseMax())
	w.after(d, func() { w.thaw(h) })
}

func (w *World) strikeWipe(a *agent) {
	if a.frozen {
		return
	}
	w.crash(a)
	a.disk = machine.Memory{}
	w.check.Wiped(a.name)
	w.after(w.faulty.scale(100*time.Millisecond, time.Minute), func() { w.boot(a) })
}

func (w *World) strikeReboot(h *host) {
	for _, a := range w.agents {
		if a.host == h && a.frozen {
			return
		}
	}
	w.reboot(h)
	w.after(w.faulty.scale(time.Second, time.Minute), func() {
		for _, a := range w.agents {
			if a.host == h {
				w.boot(a)
			}
		}
	})
}

// heal ends every fault and starts every node.
func (w *World) heal(number int) {
	outage, written, wall := w.round.outage, w.round.written, w.round.wall
	w.round = calm()
	w.round.number, w.round.written, w.round.wall = number, written, wall
	w.round.outage = min(outage, w.now)
	w.healNet()
	for _, h := range w.hosts {
		w.thaw(h)
	}
	for _, a := range w.agents {
		if a.paused {
			w.wake(a)
		}
	}
	for _, wd := range slices.Clone(w.wardens) {
		wd.cut = false
		w.resume(wd)
	}
	w.endForsaken()
	for _, r := range w.allRuns() {
		switch {
		case r.up && (r.end == endCrashed || r.end == endExited):
			r.gen++ // it does not crash any more
			r.end = endUp
		case r.end == endFailed:
			r.end = endUp
		}
	}
}
