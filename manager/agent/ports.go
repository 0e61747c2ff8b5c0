package agent

import (
	"context"
	"time"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// Store is the bucket that the cluster agrees through (package kv).
type Store interface {
	// CAS performs one compare-and-set. With OutcomeUnknown the error says why
	// no answer came; the write may have been applied or may yet be.
	CAS(ctx context.Context, w policy.Write) (policy.Revision, policy.Outcome, error)
	// Read reads a cell through the stream leader. An error means that nothing
	// was learned.
	Read(ctx context.Context, key policy.Key) (policy.Cell, error)
	// Watch delivers the picture of the bucket and its changes, in order, from
	// one goroutine, until ctx ends.
	Watch(ctx context.Context, deliver func(policy.View)) error
}

// Bus carries heartbeats (package bus).
type Bus interface {
	// PublishBeat sends a heartbeat; a lost one is made up for by the next.
	PublishBeat(b machine.Beat) error
}

// Ledger keeps the history (package kv).
type Ledger interface {
	// Append adds a line. Its ID makes a repeat harmless.
	Append(ctx context.Context, l Line) error
}

// Disk keeps what a node remembers over restarts.
type Disk interface {
	// Save makes mem durable before it returns nil.
	Save(mem machine.Memory) error
}

// Prover looks at the processes of another life on this very host.
type Prover interface {
	// Prove ends what is left of that life's apps and reports whether its
	// agent and all its process groups are confirmed gone. No proof is no
	// error: false.
	Prove(rec policy.SessionRecord) bool
}

// LastResort ends this process from outside (package lastresort).
type LastResort interface {
	// Arm sets the moment at which the process is ended; 0 means never.
	Arm(at machine.Instant)
}

// Runners gives the runner of an app, and false for an app that can't run on
// this node.
type Runners func(policy.App) (app.Runner, bool)

// Journal keeps lines of history until the ledger has them, also beyond the end
// of this process. Its methods are called from one goroutine.
type Journal interface {
	// Add keeps a line.
	Add(l Line) error
	// Clear forgets all lines: the ledger has them.
	Clear() error
}

// Observer is told what happens, for those who count. Its functions may be nil,
// are called from any goroutine and must not block.
type Observer struct {
	// History is called with every line of history.
	History func(h machine.History)
	// Wrote is called with the outcome of every write, and how long it took.
	Wrote func(op machine.Op, outcome policy.Outcome, took time.Duration)
}

// Clock is this host's time.
type Clock interface {
	// Now counts through suspend and never goes back (CLOCK_BOOTTIME).
	Now() machine.Instant
	// Wall is Unix milliseconds, for people and for the sleep detector.
	Wall() int64
}
