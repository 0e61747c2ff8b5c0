package sim

import (
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// World is one life of one cluster.
type World struct {
	Seed  uint64
	Knobs *Knobs
	Stats Stats

	now   Time
	queue queue
	seq   uint64
	hash  uint64
	ids   uint64

	net, stores, faulty, work, apps, clocks chance

	hosts  []*host
	agents []*agent
	lives  []life // by checkers.Life
	lifeOf map[policy.Nonce]checkers.Life
	store  store
	round  round
	check  *checkers.Checker
	trace  tracer

	wardens []*warden // those alive
	certs   []machine.Certified

	calls map[machine.CallID]call
	runs  map[uint64]*run
	runID uint64
	moved []bool // by app: some command moved it

	// What must make no difference.
	twice bool // every answer and every change of a record is told twice

	beatsAre beatCut
}

// beatCut is how heartbeats carry what they say.
type beatCut int

const (
	beatsAsTheyAre beatCut = iota
	beatsMerged            // all in full
	beatsSplit             // each full one after a brief one
	beatsTwice             // each twice
)

var beatCutNames = [...]string{"as they are", "merged", "split", "told twice"}

// host is what its nodes share: a clock and a process table.
type host struct {
	clock clock
	id    policy.Host
	boots int

	frozen   bool
	asleep   bool // its clock stands still, too
	frozenAt machine.Instant
	after    []func() // what becomes of orphans when it runs on
}

// life is one agent process, also after its end.
type life struct {
	host   *host
	nonce  policy.Nonce
	over   bool
	overAt Time
	runs   int // app processes that are still there
}

// Stats counts what happened, so that a run in which nothing did is seen.
type Stats struct {
	Events, Steps, Faults, Commands, Replies         int
	Boots, Crashes, Freezes, Pauses, Exits, Buckets  int
	Starts, Failovers, Takeovers, Restarts, Overlaps int
	Writes, Unknown, Late, Refused                   int
	Expired, Certified, Closed, Fenced               int
	Rounds, Calm, StartFails, Crashed                int
	Wardens, Avenged, Avengers, Certificates         int
	Clans, Forsaken, Leftovers, Sleeps, Rollbacks    int
}

// Add adds up the counts of another life.
func (s *Stats) Add(o Stats) {
	a, b := s.all(), o.all()
	for i := range a {
		*a[i] += *b[i]
	}
}

func (s *Stats) all() []*int {
	return []*int{
		&s.Events, &s.Steps, &s.Faults, &s.Commands, &s.Replies,
		&s.Boots, &s.Crashes, &s.Freezes, &s.Pauses, &s.Exits, &s.Buckets,
		&s.Starts, &s.Failovers, &s.Takeovers, &s.Restarts, &s.Overlaps,
		&s.Writes, &s.Unknown, &s.Late, &s.Refused,
		&s.Expired, &s.Certified, &s.Closed, &s.Fenced,
		&s.Rounds, &s.Calm, &s.StartFails, &s.Crashed,
		&s.Wardens, &s.Avenged, &s.Avengers, &s.Certificates,
		&s.Clans, &s.Forsaken, &s.Leftovers, &s.Sleeps, &s.Rollbacks,
	}
}

// New makes the world of a seed with the given knobs.
func New(seed uint64, k *Knobs) *World {
	w := &World{
		Seed: seed, Knobs: k, hash: 14695981039346656037,
		net: newChance(seed, streamNet), stores: newChance(seed, streamStore),
		faulty: newChance(seed, streamFaults), work: newChance(seed, streamWork),
		apps: newChance(seed, streamApps), clocks: newChance(seed, streamClock),
		lives: make([]life, 1), lifeOf: map[policy.Nonce]checkers.Life{},
		calls: map[machine.CallID]call{}, runs: map[uint64]*run{},
		moved: make([]bool, len(k.Specs)),
	}
	w.check = checkers.New(k.Specs, func(l checkers.Life) machine.Instant { return w.lives[l].host.clock.read(w.now) })
	w.store = newStore(w.id())
	w.makeHosts()
	w.round = calm()
	return w
}

func (w *World) makeHosts() {
	for i, h := range w.Knobs.Hosts {
		for len(w.hosts) <= h {
			w.hosts = append(w.hosts, &host{})
			w.rebootClock(w.hosts[len(w.hosts)-1], len(w.hosts)-1)
		}
		w.agents = append(w.agents, &agent{
			index: i, name: w.Knobs.Nodes[i], host: w.hosts[h], lease: w.Knobs.Leases[i],
			cut: make([]bool, len(w.Knobs.Nodes)),
		})
	}
}

// rebootClock begins a new boot of a host: its clock starts anew.
func (w *World) rebootClock(h *host, index int) {
	h.boots++
	h.clock = clock{ppm: w.clocks.Int64N(2*w.Knobs.DriftPPM+1) - w.Knobs.DriftPPM}
	h.clock.offset = -w.now + w.clocks.between(time.Second, time.Hour)
	if w.Knobs.Proofs {
		h.id = policy.Host{MachineID: fmt.Sprint("host", index), BootID: w.id(), PIDNamespace: 1}
	}
}

// id is a fresh identifier, in no order that means anything.
func (w *World) id() string {
	w.ids++
	z := w.ids * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z ^= z >> 27
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var b [8]byte
	for i := range b {
		b[i] = digits[z&31]
		z >>= 5
	}
	return string(b[:])
}

// mix adds a number to the hash of this life.
func (w *World) mix(v uint64) { w.hash = (w.hash ^ v) * 1099511628211 }

// Hash is equal for equal lives.
func (w *World) Hash() uint64 { return w.hash }

// Now is the real time.
func (w *World) Now() Time { return w.now }

func (w *World) schedule(e event) {
	w.seq++
	e.seq = w.seq
	e.at = max(e.at, w.now)
	w.queue.push(e)
}

// after calls f when d has passed, whatever happens to nodes.
func (w *World) after(d time.Duration, f func()) {
	w.schedule(event{at: w.now + d, kind: kindCall, node: nobody, what: f})
}

// tell gives an agent an event when d has passed, if it still lives.
func (w *World) tell(a *agent, d time.Duration, ev machine.Event) {
	w.schedule(event{at: w.now + d, kind: kindEvent, node: a.index, life: a.life, what: ev})
}

// runUntil lets time pass.
func (w *World) runUntil(t Time) {
	for w.check.Err() == nil && len(w.queue.items) > 0 && w.queue.items[0].at <= t {
		e := w.queue.pop()
		w.now = e.at
		w.dispatch(&e)
	}
	w.now = max(w.now, t)
}

func (w *World) dispatch(e *event) {
	w.Stats.Events++
	w.mix(uint64(e.at))
	w.mix(uint64(e.kind)<<32 | uint64(uint16(e.node)))
	if e.node == nobody {
		w.happen(nil, e)
		return
	}
	a := w.agents[e.node]
	switch {
	case e.life != a.life || a.life == 0:
	case a.frozen:
		a.backlog = append(a.backlog, *e)
	default:
		w.happen(a, e)
	}
}

func (w *World) happen(a *agent, e *event) {
	switch e.kind {
	case kindCall:
		e.what.(func())()
	case kindEvent:
		w.step(a, e.what.(machine.Event))
	case kindTick:
		w.tick(a, e.a)
	case kindWrite:
		w.writeArrives(e.what.(*request))
	case kindRead:
		w.readArrives(e.what.(*request))
	case kindAnswer:
		w.answered(a, e.what.(*request))
	case kindGiveUp:
		w.gaveUp(a, e.what.(*request))
	case kindView:
		w.viewArrives(a, e.a, e.b)
	case kindSnap:
		w.snapshotArrives(a, e.b)
	case kindAudit:
		w.audit(a)
	case kindRun:
		w.runHappens(e.a, e.b)
	case kindDisk:
		w.diskDone(a, e.what.(*diskWrite))
	case kindBeat:
		w.check.Heard(a.life, w.agents[e.a].name)
		w.step(a, e.what.(machine.Event))
	}
}

// step gives an agent's machine one event and does what it orders.
func (w *World) step(a *agent, ev machine.Event) {
	w.Stats.Steps++
	now := a.host.clock.read(w.now)
	if w.trace.on {
		w.trace.event(w, a, ev)
	}
	actions := a.m.Step(now, ev)
	if doom := a.m.Doom(); doom != a.doom {
		a.doom = doom
		w.armWarden(a)
	}
	for _, act := range actions {
		w.perform(a, act)
		if a.m == nil {
			return
		}
	}
	if w.twice && repeatable(ev) {

		if again := a.m.Step(now, ev); len(again) > 0 {
			w.check.Fail("reply", "%s: %T, told twice, led to %T: %+v, then %+v", a.name, ev, again[0], actions, again)
		}
	}
	if err := a.m.Check(); err != nil {
		w.check.Fail("machine", "%s: %v", a.name, err)
	}
	w.arm(a)
}

// repeatable: what may come twice. A command that does is another command.
func repeatable(ev machine.Event) bool {
	switch ev.(type) {
	case machine.Command, machine.Cancel, machine.Tick, machine.Slept:
		return false
	case machine.Heard:
		return false // one that was turned away is news when the life that was believed has been silent for long enough
	}
	return true
}

func (w *World) perform(a *agent, act machine.Action) {
	if w.trace.on {
		w.trace.action(w, a, act)
	}
	switch act := act.(type) {
	case machine.Write:
		w.send(a, act)
	case machine.Read:
		w.read(a, act)
	case machine.Remember:
		w.remember(a, act)
	case machine.StartApp:
		w.startApp(a, act)
	case machine.StopApp:
		w.stopApp(a, act.Run)
	case machine.KillApp:
		w.killApp(a, act.Run)
	case machine.ConfirmApp:
	case machine.SendBeat:
		w.sendBeat(a, act.Beat)
	case machine.Prove:
		w.prove(a, act.Record)
	case machine.Reply:
		w.replied(a, act)
	case machine.Emit:
		w.emitted(act.Record)
	case machine.Exit:
		w.exited(a, act)
	default:
		panic(fmt.Sprintf("unknown action %T", act))
	}
}

func (w *World) emitted(h machine.History) {
	if h.Type == "fenced" {
		w.Stats.Fenced++
	}
}

func (w *World) agentOf(n node.Name) *agent {
	for _, a := range w.agents {
		if a.name == n {
			return a
		}
	}
	return nil
}
