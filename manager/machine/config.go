package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Config is what a machine is made of. It is not changed afterwards.
type Config struct {
	Self    node.Name
	Hidden  bool
	Agent   policy.Nonce // of this process
	Host    policy.Host  // zero: no same-host proofs
	PID     int
	Started uint64 // start time of PID, clock ticks after boot
	UID     int
	Groups  string // host-local file of process groups

	Lease  policy.Lease
	Apps   []AppConfig // sorted by name
	Sync   Sync
	Digest string // of what nodes must agree on

	// Specification is what this node's files say, for the cell config. nil:
	// none is kept there, and Digest alone is compared.
	Specification *policy.SpecRecord

	FirstBoot  []node.Name // all of these without memory: a true first boot
	NewCluster bool        // the operator says that no other node runs
	Memory     Memory      // from disk
	Version    string
	Since      int64 // Unix milliseconds when this process started, for people

	NewID func() string // fresh unique identifiers; the only source of chance
	Wall  func() int64  // Unix milliseconds, for people, and for the ten minutes of B-6; no right depends on it
}

// Sync is the barrier (OTP: sync_nodes_mandatory, _optional, _timeout).
type Sync struct {
	Mandatory []node.Name
	Optional  []node.Name
	Timeout   policy.Timeout
	Defined   bool // without a timeout nothing is waited for (OTP rule A-8)
}

// AppConfig is one app as this node's configuration has it.
type AppConfig struct {
	App     policy.App
	Spec    *policy.Spec // nil: a local app
	Defined bool         // has a command or is registered: it can run here
	Type    policy.RestartType
	Denied  bool // not permitted here at first (OTP: permissions)
	Restart Restart
	Start   bool // started as soon as the node is up
}

// Restart is how often an app that ends by itself is started again in place
// before it counts as terminated.
type Restart struct {
	Max     int
	Within  time.Duration
	Backoff time.Duration
}
