package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Instant is a point on this host's clock since boot, counting through
// suspend (CLOCK_BOOTTIME). Instants of two hosts are never compared.
type Instant time.Duration

// Add returns the instant d after i.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the duration from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// RequestID numbers the requests of one machine; it begins at 1.
type RequestID uint64

// RunID numbers the instances that one machine started; it begins at 1.
type RunID uint64

// CallID names a command for its reply; the caller chooses it.
type CallID uint64

// Event is what a machine can be told.
type Event interface{ event() }

type (
	// Tick says that time has passed; it is due at Wake.
	Tick struct{}

	// Heard is a heartbeat of another node (or of another life of this name).
	Heard struct{ Beat Beat }

	// Disconnected is a hint that a node's connection has ended: it is
	// suspected at once. It proves nothing.
	Disconnected struct{ Node node.Name }

	// Certified is a warden's word that a node's death stands in its record at
	// this revision. It is a hint to look there, and proves nothing.
	Certified struct {
		Node    node.Name
		Session policy.Session
		Agent   policy.Nonce
		Rev     policy.Revision
	}

	// RefusedBy says that a node answers but does not accept our credentials:
	// it has another cookie. It only makes messages clearer.
	RefusedBy struct{ Node node.Name }

	// Slept says that this host was suspended or stood still (the wall clock
	// jumped against the clock since boot): stop first, ask later.
	Slept struct{}

	// Viewed is an update of the picture of the bucket.
	Viewed struct{ View policy.View }

	// Wrote answers a Write. Rev is set with OutcomeOK. Hint may explain an
	// unknown outcome, for people.
	Wrote struct {
		Req     RequestID
		Outcome policy.Outcome
		Rev     policy.Revision
		Hint    string
	}

	// ReadDone answers a Read; without OK nothing was learned.
	ReadDone struct {
		Req  RequestID
		OK   bool
		Cell policy.Cell
	}

	// Remembered answers a Remember; without OK nothing durable has changed.
	Remembered struct {
		Req RequestID
		OK  bool
	}

	// Started answers a StartApp: the start is complete.
	Started struct{ Run RunID }

	// StartFailed answers a StartApp: it did not start, and nothing of it is
	// left.
	StartFailed struct {
		Run    RunID
		Reason string
	}

	// Exited says that a started run is over and every process of it is
	// confirmed gone, whether it was told to stop or not.
	Exited struct {
		Run     RunID
		Normal  bool
		Reason  string
		Payload []byte // handed over by its stop
	}

	// Proved answers a Prove: Gone says that the agent and every recorded
	// process group of that life are confirmed gone.
	Proved struct {
		Node  node.Name
		Agent policy.Nonce
		Gone  bool
	}

	// Command is a request of a user. It is answered by one Reply, which may
	// come much later.
	Command struct {
		ID        CallID
		Verb      Verb
		App       policy.App
		Type      policy.RestartType // start, takeover; empty: the app's own
		All       bool               // stop: everywhere, whoever owns it
		Permitted bool               // permit
		Persist   bool               // permit: over restarts too
		Apply     *policy.SpecRecord // config: Digest, Voters and Specs are what the files say
		Spec      *policy.Spec       // load: its distribution; nil: whatever is known
		Detail    string             // config: for the history
		Code      int                // shutdown: exit code
	}

	// Cancel drops a command whose caller has gone away; what it asked for
	// goes on.
	Cancel struct{ ID CallID }
)

// Verb names a command, as in the application module of OTP.
type Verb string

// Verbs.
const (
	VerbStart    Verb = "start"
	VerbStop     Verb = "stop"
	VerbTakeover Verb = "takeover"
	VerbPermit   Verb = "permit"
	VerbLoad     Verb = "load"
	VerbConfig   Verb = "config"   // make a specification the cluster's
	VerbShutdown Verb = "shutdown" // stop all apps, close the session, exit
)

func (Tick) event()         {}
func (Heard) event()        {}
func (Disconnected) event() {}
func (Certified) event()    {}
func (RefusedBy) event()    {}
func (Slept) event()        {}
func (Viewed) event()       {}
func (Wrote) event()        {}
func (ReadDone) event()     {}
func (Remembered) event()   {}
func (Started) event()      {}
func (StartFailed) event()  {}
func (Exited) event()       {}
func (Proved) event()       {}
func (Command) event()      {}
func (Cancel) event()       {}
