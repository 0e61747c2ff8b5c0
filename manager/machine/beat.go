package machine

import (
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

	Digest   string // of what nodes must agree on
	Version  string
	Since    int64 // Unix milliseconds when the agent started, for people
	Apps     []AppBeat
	Identity policy.Identity // of the bucket it sees; empty: none yet
	Memory   bool            // it remembers a bucket from an earlier life
	Vouches  bool            // it acts on Identity: whoever sees the same may trust it
	Waiting  []string        // what it waits for, for people
}

// AppBeat is what a node says of one app. Apps with nothing to say are left
// out: not started, permitted, not failed, no epoch known.
type AppBeat struct {
	App     policy.App
	Started bool
	Type    policy.RestartType
	Denied  bool // not permitted
	Failed  bool
	Error   string       // why it failed there
	Epoch   policy.Epoch // highest remembered
}
