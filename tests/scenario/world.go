package scenario

import "time"

// Engine has clusters in which scenarios are played.
type Engine interface {
	Name() string
	// Side is Erlang or Regent: whose lines of a scenario it plays.
	Side() string
	// Begin makes the world of a scenario, in which no node has been booted.
	Begin(s *Scenario) (World, error)
}

// World is the cluster of one scenario. Nothing it is told to do is waited for.
type World interface {
	// Do performs a statement that is neither a call, nor wait, nor expect.
	Do(st Statement) error
	// Call issues a call on a node; its result is an event with the number.
	Call(number int, st Statement, node string) error
	// Now is the time, and Pass lets some go by.
	Now() time.Duration
	Pass(d time.Duration) error
	// Events are those that came since it was called last.
	Events() []Event
	// Calm is how long nothing happens before it is believed that nothing will,
	// Patience how long something expected may take.
	Calm() time.Duration
	Patience() time.Duration
	Close()
}

// EventKind is what can be seen from outside.
type EventKind string

// The kinds of events.
const (
	NodeUp     EventKind = "up"
	NodeEnds   EventKind = "ends"  // Word says how
	AppStart   EventKind = "start" // its start callback is called
	AppPhase   EventKind = "phase" // a start phase; Word is its name, of a part's with the part before it
	AppStarted EventKind = "started"
	AppFailed  EventKind = "failed" // instead of AppStarted
	AppPrep    EventKind = "prep"   // its prep_stop is called
	AppEnds    EventKind = "end"    // nothing of the instance is left
	Reply      EventKind = "reply"
)

// Event is something that was seen.
type Event struct {
	At   time.Duration
	Kind EventKind
	Node string
	App  string
	Word string // start type, how a node ended, result of a call
	From string // the other node of a failover or takeover
	Call int
}

// How nodes end, beside the names of configuration errors.
const (
	Killed     = "killed"
	ExitNormal = "exits normal"
	ExitByApp  = "exits app"       // a permanent app ended
	ExitSync   = "exits mandatory" // a mandatory node is missing
	ExitDigest = "exits mismatch"  // the specifications differ
	ExitTaken  = "exits name"      // a live node has this name
	ExitConfig = "exits config"
	ExitFenced = "exits fenced" // its warden ended it at its deadline
)
