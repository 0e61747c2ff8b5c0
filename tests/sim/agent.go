package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// agent is one node: its data directory, its place in the network, and the
// agent process that runs now, if one does.
type agent struct {
	index int
	name  node.Name
	host  *host
	lease policy.Lease

	life checkers.Life // 0: down
	m    *machine.Machine
	runs []*run // app processes of this life
	held bool   // it is to stay down
	left int    // app processes of any life that are still there

	tickAt  Time // 0: none is scheduled
	tickGen uint64

	warden   *warden         // of this life
	wardenUp bool            // it knows all groups
	doom     machine.Instant // when the kernel ends this process if it does not say otherwise; 0: never
	armed    machine.Instant // what the warden was told of that

	disk    machine.Memory
	writing *diskWrite
	view    view
	beat    machine.Beat      // its latest full one
	renewal machine.RequestID // the latest write, if it is a renewal: for traces
	told    []bool            // by app: start was called here in this calm

	frozen   bool // it takes no step
	paused   bool // it alone: its apps run on
	frozenAt machine.Instant
	backlog  []event

	cut              []bool // by node: nothing goes there
	storeTo, storeBy bool   // cut: no request gets there, no answer comes back
	storeAlt         bool   // the other server can't be reached either
}

type diskWrite struct {
	req machine.RequestID
	mem machine.Memory
}

func (a *agent) renews(r machine.RequestID) bool { return r == a.renewal }

// boot starts the agent, once every process of its former life is gone.
func (w *World) boot(a *agent) {
	if a.life != 0 || a.held {
		return
	}
	if a.host.frozen || !w.clearLeftovers(a) {
		w.after(50*time.Millisecond, func() { w.boot(a) })
		return
	}
	w.Stats.Boots++
	nonce := policy.Nonce(w.id())
	w.lives = append(w.lives, life{host: a.host, nonce: nonce})
	a.life = checkers.Life(len(w.lives) - 1)
	w.lifeOf[nonce] = a.life
	a.tickAt, a.writing, a.beat, a.view = 0, nil, machine.Beat{}, view{}
	a.told = make([]bool, len(w.Knobs.Specs))
	w.check.Booted(a.life, a.name, nonce, a.lease, w.Knobs.Sync, a.disk.Longest)
	if w.trace.on {
		w.trace.line(w, a.name, "BOOT", "agent %s life %d boot %d memory %+v", nonce, a.life, a.host.boots, a.disk)
	}
	a.m = machine.New(w.config(a, nonce), a.host.clock.read(w.now))
	w.arm(a)
	w.snapshotSoon(a)
	w.auditLater(a)
	w.hire(a, w.faulty.between(5*time.Millisecond, 300*time.Millisecond))
}

// clearLeftovers: a node may start beside what its former life has left, since
// its session tells the two apart, where it can look at that. Elsewhere its
// supervisor has ended all of it.
func (w *World) clearLeftovers(a *agent) bool {
	if a.left == 0 || w.Knobs.Proofs {
		return true
	}
	for _, r := range w.allRuns() {
		if r.agent == a {
			w.killGroup(r)
		}
	}
	return false
}

func (w *World) config(a *agent, nonce policy.Nonce) machine.Config {
	files := w.files()
	return machine.Config{
		Self: a.name, Agent: nonce, Host: a.host.id, PID: int(a.life), Started: uint64(a.life), UID: 1,
		Lease: a.lease, Apps: w.appConfigs(a), Sync: w.Knobs.Sync, Digest: files.Digest, Specification: files,
		FirstBoot: w.Knobs.Nodes, Memory: a.disk, Version: "sim",
		NewID: w.id,
		Wall:  func() int64 { return int64((w.now + w.round.wall) / time.Millisecond) },
	}
}

// files is what the nodes' files say: what was applied last, since whoever
// applies puts it there too.
func (w *World) files() *policy.SpecRecord {
	rec := w.store.register(policy.ConfigKey()).asOf(w.now).Config
	if rec != nil && rec.Applied {
		return &policy.SpecRecord{Digest: rec.Digest, Specs: rec.Specs}
	}
	rec = &policy.SpecRecord{Digest: "first"}
	for _, s := range w.Knobs.Specs {
		rec.Specs = policy.PutSpec(rec.Specs, *s)
	}
	return rec
}

func (w *World) appConfigs(a *agent) []machine.AppConfig {
	var cs []machine.AppConfig
	files := w.files()
	for i, s := range w.Knobs.Specs {
		s = files.Spec(s.App)
		k := &w.Knobs.Apps[i]
		cs = append(cs, machine.AppConfig{
			App: s.App, Spec: s, Defined: true, Type: k.Type, Restart: k.Restart, Start: w.Knobs.AutoStart[a.index][i],
		})
	}
	return cs
}

// arm schedules the next tick. One that is due later than needed is replaced;
// one that comes too early only arms again.
func (w *World) arm(a *agent) {
	due := max(a.host.clock.when(a.m.Wake()), w.now)
	if a.tickAt != 0 && a.tickAt <= due {
		return
	}
	a.tickAt = due + w.lateness()
	a.tickGen++
	w.schedule(event{at: a.tickAt, kind: kindTick, node: a.index, life: a.life, a: a.tickGen})
}

// lateness of a timer: mostly little, at worst what the lease allows for.
func (w *World) lateness() time.Duration {
	const late = 100 * time.Millisecond * (million - 2*DriftPPM) / million
	if w.round.late > 0 && w.clocks.happens(w.round.late) {
		return w.clocks.upTo(late)
	}
	return time.Duration(w.clocks.Uint64() & (1<<20 - 1)) // about a millisecond
}

func (w *World) tick(a *agent, gen uint64) {
	if gen != a.tickGen {
		return
	}
	a.tickAt = 0
	if a.m.Wake() > a.host.clock.read(w.now) {
		w.arm(a)
		return
	}
	w.step(a, machine.Tick{})
}

// crash ends the agent at once. The kernel kills its app processes with it.
func (w *World) crash(a *agent) {
	if a.life == 0 {
		return
	}
	w.Stats.Crashes++
	w.end(a)
	w.lostContact(a, 0.7)
}

// end is the end of the agent process, however it came.
func (w *World) end(a *agent) {
	if w.trace.on {
		w.trace.line(w, a.name, "END", "life %d", a.life)
	}
	if d := a.writing; d != nil && w.faulty.happens(0.5) {
		a.disk = d.mem
	}
	w.check.Died(a.life)
	w.lives[a.life].over, w.lives[a.life].overAt = true, w.now
	for _, r := range slices.Clone(a.runs) {
		w.orphaned(r)
	}
	w.inherit(a)
	a.life, a.m, a.runs, a.frozen, a.paused, a.backlog = 0, nil, nil, false, false, nil
}

// exited performs an Exit. Whoever ended on purpose or by mistake is started
// again by its supervisor.
func (w *World) exited(a *agent, x machine.Exit) {
	w.Stats.Exits++
	if wd := a.warden; wd != nil && len(a.runs) == 0 && !wd.stopped {
		a.warden = nil // it says goodbye
		w.dismiss(wd)
	}
	w.end(a)
	w.lostContact(a, 0.9)
	d := 500 * time.Millisecond
	if w.round.faults {
		d = w.faulty.scale(500*time.Millisecond, time.Minute)
	}
	w.after(d, func() { w.boot(a) })
}

// reboot takes a whole host down and up again, with a new boot.
func (w *World) reboot(h *host) {
	for _, a := range w.agents {
		if a.host == h && a.life != 0 {
			w.crash(a)
		}
	}
	for _, wd := range slices.Clone(w.wardens) {
		if wd.agent.host == h {
			w.dismiss(wd)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.runs)) {
		if r := w.runs[id]; r.agent.host == h {
			w.runGone(r)
		}
	}
	w.rebootClock(h, slices.Index(w.hosts, h))
}

// freeze makes a host stand still, its agents, wardens and apps alike.
func (w *World) freeze(h *host) {
	if h.frozen {
		return
	}
	h.frozen, h.frozenAt = true, h.clock.read(w.now)
	for _, wd := range w.wardens {
		if wd.agent.host == h {
			wd.stopped = true
		}
	}
	for _, r := range w.allRuns() {
		if r.agent.host == h {
			w.check.Froze(r.life)
		}
	}
	for _, a := range w.agents {
		if a.host != h || a.life == 0 {
			continue
		}
		w.Stats.Freezes++
		if w.trace.on {
			w.trace.line(w, a.name, "FREEZE", "")
		}
		a.frozen, a.paused, a.frozenAt = true, false, h.frozenAt // one that was stopped goes on with its host
		w.stands(a, true)
		w.check.Froze(a.life)
	}
}

// thaw lets a host run on. The kernel's own timers end what is past its time
// before it can execute again; then the agents learn that they slept, and only
// then what came in meanwhile.
func (w *World) thaw(h *host) {
	if !h.frozen {
		return
	}
	if h.asleep {
		h.clock.offset -= h.clock.read(w.now).Sub(h.frozenAt)
	}
	now := h.clock.read(w.now)
	asleep := func(a *agent) bool { return a.host == h && a.frozen }
	for _, wd := range slices.Clone(w.wardens) {
		if wd.agent.host == h && wd.last != 0 && now >= wd.last {
			w.dismiss(wd)
		}
	}
	for _, a := range w.agents {
		if asleep(a) && a.doom != 0 && now >= a.doom {
			w.ended(a)
		}
	}
	after := h.after
	h.after = nil
	for _, f := range after {
		f()
	}
	h.frozen = false
	if h.asleep {
		h.asleep = false
		w.slept(h)
	}
	for _, a := range w.agents {
		if asleep(a) {
			w.check.Thawed(a.life)
		}
	}
	w.check.ThawedRest(func(l checkers.Life) bool { return w.lives[l].host == h && w.lives[l].over })
	for _, a := range w.agents {
		if asleep(a) {
			w.wake(a)
		}
	}
	for _, wd := range slices.Clone(w.wardens) {
		if wd.agent.host == h {
			w.resume(wd)
		}
	}
}

// slept: what ran on a host that was paused from outside may run for as long as
// it takes the nodes to notice, and a kill. No longer.
func (w *World) slept(h *host) {
	const grace = 20 * time.Millisecond // until the obituary
	w.check.Slept(func(l checkers.Life) bool { return w.lives[l].host == h })
	for _, r := range w.allRuns() {
		if r.agent.host != h {
			continue
		}
		w.after(r.agent.lease.Kill+grace, func() {
			if !r.gone && !r.orphan && !h.frozen {
				w.check.Fail("sleep", "%s: run %d of session %s still runs %v after its host slept", r.agent.name, r.run, r.session, r.agent.lease.Kill+grace)
			}
		})
	}
}

// ended is the kernel's timer for an agent that stood still: SIGKILL to it, and
// with it to the first process of each app, which executes nothing any more.
func (w *World) ended(a *agent) {
	runs := slices.Clone(a.runs)
	w.killAgent(a, a.life)
	for _, r := range runs {
		if !r.gone && (r.killed || !r.clan) {
			w.runGone(r)
		}
	}
}

func (w *World) wake(a *agent) {
	if w.trace.on {
		w.trace.line(w, a.name, "THAW", "")
	}
	w.stands(a, false)
	slept := !a.paused
	a.frozen, a.paused = false, false
	backlog := a.backlog
	a.backlog = nil
	if slept {
		w.step(a, machine.Slept{})
	}
	for i := range backlog {
		if e := &backlog[i]; e.life == a.life && a.life != 0 {
			w.happen(a, e)
		}
	}
}

// remember writes to the disk, which may fail and takes its time.
func (w *World) remember(a *agent, act machine.Remember) {
	d := &diskWrite{req: act.Req, mem: act.Memory}
	a.writing = d
	w.schedule(event{at: w.now + w.faulty.upTo(w.round.diskMax), kind: kindDisk, node: a.index, life: a.life, what: d})
}

func (w *World) diskDone(a *agent, d *diskWrite) {
	ok := !w.faulty.happens(w.round.diskFail)
	if ok {
		a.disk = d.mem
	}
	if a.writing == d {
		a.writing = nil
	}
	w.step(a, machine.Remembered{Req: d.req, OK: ok})
}

// prove looks at the processes of another life on the same host.
func (w *World) prove(a *agent, rec policy.SessionRecord) {
	asked := a.life
	w.after(w.faulty.upTo(20*time.Millisecond), func() {
		if a.life != asked {
			return
		}
		w.tell(a, 0, machine.Proved{Node: rec.Node, Agent: rec.Agent, Gone: w.inquest(a, rec)})
	})
}

// inquest is what manager/samehost does: the agent is looked at first; what a
// dead one left is ended, unless its warden is at that and not late; all of it
// has to be gone, the warden included.
func (w *World) inquest(a *agent, rec policy.SessionRecord) (gone bool) {
	id := w.lifeOf[rec.Agent]
	l := &w.lives[id]
	if rec.Host != a.host.id || rec.Host == (policy.Host{}) || !l.over {
		return false
	}
	wd := w.wardenOf(id)
	if wd != nil && w.now-l.overAt <= a.lease.Renew {
		return false
	}
	if wd != nil {
		w.dismiss(wd)
	}
	if l.runs == 0 {
		return true
	}
	w.Stats.Leftovers++
	for _, r := range w.allRuns() {
		if r.life == id {
			w.killGroup(r)
		}
	}
	return false
}
