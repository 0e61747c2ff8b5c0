package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// BeatPhase is the phase of a node's life, as its heartbeats tell it.
type BeatPhase string

// Phases of a node's life.
const (
	BeatSyncing BeatPhase = "syncing" // in its barrier
	BeatUp      BeatPhase = "up"
	BeatClosing BeatPhase = "closing" // stopping its apps
	BeatLeft    BeatPhase = "left"    // its last words
)

// Beat is one heartbeat. A brief one has only the first group of fields; what
// an earlier full one of the same agent said still holds.
type Beat struct {
	Node    node.Name
	Agent   policy.Nonce
	Session policy.Session // empty without one
	N       uint64         // counts the beats of this agent
	Phase   BeatPhase
	Hidden  bool
	Full    bool

	Digest   string          // of what nodes must agree on
	Spec     policy.Revision // of the cell config that it goes by; 0: of none yet
	Version  string
	Since    int64 // Unix milliseconds when the agent started, for people
	Apps     []AppBeat
	Identity policy.Identity // of the bucket it sees; empty: none yet
	Memory   bool            // it remembers a bucket from an earlier life
	Vouches  bool            // it acts on Identity: whoever sees the same may trust it
	Waiting  []string        // what it waits for, for people
	Seq      policy.Revision // its picture of Identity's bucket was complete up to here
	Heard    []Echo          // while it runs something: the latest heartbeats of others that it had heard
}

// Echo is the latest heartbeat of one agent that was heard.
type Echo struct {
	Agent policy.Nonce
	N     uint64
}

// EchoesMax bounds the echoes of one heartbeat.
const EchoesMax = 256

// AppBeat is what a node says of one app. Apps with nothing to say are left
// out: not started, permitted, not failed, no epoch known.
type AppBeat struct {
	App     policy.App
	Started bool
	Type    policy.RestartType
	Denied  bool // not permitted
	Failed  bool
	Error   string       // why it failed there
	Running bool         // local apps only: those of the cluster are in the records
	Epoch   policy.Epoch // highest remembered
	Run     policy.Epoch // apps of the cluster: an instance is alive here by this epoch; 0: none
	Ending  bool         // and it has been told to end
}

// beater decides when this node says what.
type beater struct {
	changed bool // something that a full beat says
	due     Instant
	fullDue Instant
	n       uint64
}

// fullEvery is how often a node repeats all it has to say.
const fullEvery = 2 * time.Second

func (m *Machine) decideBeat() {
	if m.life == lifeOver {
		return
	}
	b := &m.beats
	full := b.changed || m.now >= b.fullDue
	if !full && m.now < b.due {
		return
	}
	m.sendBeat(full)
	b.changed = false
	b.due = m.now.Add(m.cfg.Lease.Heartbeat)
	if full {
		b.fullDue = m.now.Add(fullEvery)
	}
}

func (m *Machine) sendBeat(full bool) {
	m.beats.n++
	b := Beat{
		Node: m.cfg.Self, Agent: m.cfg.Agent, Session: m.session.id, N: m.beats.n,
		Phase: m.phase(), Hidden: m.cfg.Hidden, Full: full,
	}
	if full {
		b.Digest, b.Spec, b.Version, b.Since = m.cfg.Digest, m.spec.adopted, m.cfg.Version, m.cfg.Since
		b.Identity, b.Memory, b.Vouches = m.bucket.identity, m.disk.remembers(), m.mayWrite()
		b.Apps = m.appBeats()
		b.Waiting = m.waitingFor()
		b.Seq, b.Heard = m.bucket.seq, m.echoes(b.Apps)
	}
	m.do(SendBeat{Beat: b})
}

func (m *Machine) phase() BeatPhase {
	return [...]BeatPhase{lifeSyncing: BeatSyncing, lifeUp: BeatUp, lifeClosing: BeatClosing, lifeOver: BeatLeft}[m.life]
}

func (m *Machine) appBeats() []AppBeat {
	var out []AppBeat
	for _, a := range m.apps {
		ab := AppBeat{App: a.App, Started: a.started, Denied: !a.permitted, Failed: a.failed != "", Error: a.failed, Epoch: a.seen}
		if a.Spec != nil && a.run != nil {
			ab.Run, ab.Ending = a.run.claimed, a.run.ordered
		}
		if ab == (AppBeat{App: a.App}) {
			continue
		}
		if a.started {
			ab.Type = a.kind
		}
		ab.Running = a.Spec == nil && a.run != nil && a.run.up
		out = append(out, ab)
	}
	return out
}
