package machine

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// never is later than every instant a machine will see.
const never = Instant(1<<63 - 1)

// life is the phase of this node's own life.
type life int

const (
	lifeSyncing life = iota
	lifeUp
	lifeClosing
	lifeOver
)

// Machine is one node's protocol. It is not safe for concurrent use.
type Machine struct {
	cfg  Config
	now  Instant
	born Instant

	life    life
	closing closing
	session session
	bucket  bucket
	disk    disk
	beats   beater

	self     *member   // the cell of this name, and other lives of it
	members  []*member // all others, sorted by name
	memberOf map[node.Name]*member
	apps     []*app // sorted by name
	appOf    map[policy.App]*app
	strays   map[policy.App]policy.Cell // ownership records of apps that are not described here
	permits  map[policy.App]*shared     // persisted permissions
	spec     spec
	calls    []*call

	requests   map[RequestID]*request
	requestSeq RequestID
	runs       map[RunID]*app
	runSeq     RunID

	certsIgnored uint64        // certificates of no life that is known
	loads        weights       // of this round, counted at the first need
	longest      time.Duration // the longest lease of any node, this one's included
	until        Instant       // deadline of the latest session: what ran by it is gone by then
	dirty        bool          // something that decisions depend on has changed
	wakeAt       Instant       // when time alone will change a decision
	actions      []Action
}

// New makes the machine of one agent process. Its barrier begins now.
func New(cfg Config, now Instant) *Machine {
	m := &Machine{
		cfg: cfg, now: now, born: now, dirty: true, longest: cfg.Lease.TTL,
		memberOf: map[node.Name]*member{},
		appOf:    map[policy.App]*app{},
		strays:   map[policy.App]policy.Cell{},
		permits:  map[policy.App]*shared{},
		spec:     newSpec(cfg.Specification),
		requests: map[RequestID]*request{},
		runs:     map[RunID]*app{},
	}
	m.self = &member{name: cfg.Self}
	m.disk.recall(cfg.Memory)
	m.longest = max(m.longest, cfg.Memory.Longest)
	for _, ac := range cfg.Apps {
		m.addApp(ac)
	}
	if !m.hasBarrier() {
		m.goUp()
	} else {
		m.emit(History{Type: "node_syncing", Node: cfg.Self})
	}
	return m
}

// Step tells the machine one event and returns what to do. The slice belongs
// to the caller.
func (m *Machine) Step(now Instant, ev Event) []Action {
	m.now = max(m.now, now)
	if m.life == lifeOver {
		return nil
	}
	// Before anything the event may say: an acknowledgement that comes after
	// the deadline must not prolong what has already ended.
	m.fenceIfDue()
	m.absorb(ev)
	if m.dirty || m.now >= m.wakeAt {
		m.decide()
	}
	m.decideBeat()
	out := m.actions
	m.actions = nil
	return out
}

// Wake is the instant at which a Tick is due.
func (m *Machine) Wake() Instant {
	if m.dirty {
		return m.now
	}
	return min(m.wakeAt, m.beats.due, m.session.deadlineOrNever())
}

func (m *Machine) absorb(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case Heard:
		m.heard(ev.Beat)
	case Disconnected:
		m.disconnected(ev.Node)
	case Certified:
		m.certified(ev)
	case RefusedBy:
		m.refusedBy(ev.Node)
	case Slept:
		m.slept()
	case Viewed:
		m.viewed(ev.View)
	case Wrote:
		m.wrote(ev)
	case ReadDone:
		m.readDone(ev)
	case Remembered:
		m.remembered(ev)
	case Started:
		m.runStarted(ev)
	case StartFailed:
		m.runFailed(ev)
	case Exited:
		m.runExited(ev)
	case Proved:
		m.proved(ev)
	case Command:
		m.command(ev)
	case Cancel:
		m.cancel(ev.ID)
	}
}

// decide orders everything that is missing. It begins anew from all that is
// known, so that nothing depends on which event came first. What one decision
// changes at once (an app marked stopped, say) is seen by going round again.
func (m *Machine) decide() {
	steps := [...]func(){
		m.decideSync, m.decideTrust, m.decideMemory, m.decideMembers, m.decideSpec,
		m.decideSession, m.decidePermits, m.decideApps, m.decideBeat, m.decideCalls, m.decideClose,
	}
	for range decideRoundsMax {
		m.dirty = false
		m.wakeAt = never
		m.loads = nil
		for _, step := range steps {
			if step(); m.life == lifeOver {
				return
			}
		}
		if !m.dirty {
			return
		}
	}
}

// decideRoundsMax bounds one Step; what is left is done at the next, which is
// due at once.
const decideRoundsMax = 8

func (m *Machine) do(a Action)       { m.actions = append(m.actions, a) }
func (m *Machine) emit(h History)    { h.At = m.now; m.do(Emit{Record: h}) }
func (m *Machine) touch()            { m.dirty = true }
func (m *Machine) wakeBy(at Instant) { m.wakeAt = min(m.wakeAt, at) }

// since reports whether d has passed since t, and otherwise sees to it that
// the machine is woken when it has.
func (m *Machine) passed(at Instant) bool {
	if m.now >= at {
		return true
	}
	m.wakeBy(at)
	return false
}

// exit ends the machine.
func (m *Machine) exit(code int, reason, hint string) {
	if m.life == lifeOver {
		return
	}
	m.life = lifeOver
	for _, c := range m.calls {
		m.reply(c.id, &Refusal{RefuseClosing, string(m.cfg.Self)})
	}
	m.calls = nil
	m.killAll(reason)
	m.sendBeat(true)
	m.do(Exit{Code: code, Reason: reason, Hint: hint})
}

// addApp makes an app known, with what is remembered of it.
func (m *Machine) addApp(ac AppConfig) *app {
	a := &app{AppConfig: ac, kind: ac.Type, permitted: !ac.Denied}
	i, _ := slices.BinarySearchFunc(m.apps, ac.App, func(a *app, name policy.App) int {
		return strings.Compare(string(a.App), string(name))
	})
	m.apps = slices.Insert(m.apps, i, a)
	m.appOf[ac.App] = a
	m.disk.recallApp(a)
	return a
}

func (m *Machine) member(n node.Name) *member {
	if n == m.cfg.Self {
		return m.self
	}
	if mb := m.memberOf[n]; mb != nil {
		return mb
	}
	mb := &member{name: n}
	m.memberOf[n] = mb
	i, _ := slices.BinarySearchFunc(m.members, n, func(mb *member, n node.Name) int {
		return strings.Compare(string(mb.name), string(n))
	})
	m.members = slices.Insert(m.members, i, mb)
	return mb
}

// ended is the proof of death of a slot, from the newest value of its node's
// cell that was read.
func (m *Machine) ended(s policy.Slot) bool {
	return !s.Empty() && s.Ended(m.member(s.Node).cell)
}

// mine reports whether a slot names this very session.
func (m *Machine) mine(s policy.Slot) bool {
	return s.Node == m.cfg.Self && m.session.id != "" && s.Session == m.session.id
}
