package audit

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Event is one event of the ledger.
type Event struct {
	Seq    uint64 // in the stream
	Time   time.Time
	Type   string
	App    policy.App
	Node   node.Name
	From   node.Name
	Epoch  policy.Epoch
	Detail string

	Session policy.Session
	Claim   policy.Nonce
	Run     uint64
	Op      string
	By      node.Name
	Life    policy.Nonce
	N       uint64
	Lost    uint64
	Clock   string
	Mono    time.Duration
	Sent    time.Duration
}

// Types of events that are evidence, and rows of the protocol that make a
// difference. The others are passed over.
const (
	typeClaimed     = "claimed"
	typeStarting    = "app_starting"
	typeStarted     = "app_started"
	typeStartFailed = "app_start_failed"
	typeStopping    = "app_stopping"
	typeStopped     = "app_stopped"
	typeExited      = "app_exited"
	typeFenced      = "fenced"
	typeCertified   = "certified"
	typeDown        = "node_down"
	typeLeft        = "node_left"
	typeDouble      = "double_owner"

	opReserve = "A7 reserve"
)

// Kind is what a finding is about.
type Kind string

// Kinds of findings.
const (
	Overlap      Kind = "overlap"       // two instances at once
	DoubleOwner  Kind = "double_owner"  // one epoch, two claims
	WentBack     Kind = "epoch_back"    // a lower epoch after a higher one
	WithoutClaim Kind = "without_claim" // an instance without a claim of its own
	AfterEnd     Kind = "after_end"     // a claim or an instance after the end of its session
	Alarm        Kind = "alarm"         // a node raised the alarm while it happened
)

// Finding is one violation, with what shows it.
type Finding struct {
	Kind     Kind
	App      policy.App
	Text     string
	Exact    bool // false: by the time of day alone
	Evidence []Event
	Records  []policy.Cell // of the bucket, where they are the evidence
}

// Gap is something that could not be judged.
type Gap struct {
	Text  string
	Count int
}

// Options of Check.
type Options struct {
	// Skew is how far the times of day of two hosts may be apart. It must not be
	// negative.
	Skew time.Duration
	// Middle says that the history does not begin with its first event: it was
	// trimmed, or only a part was asked for.
	Middle bool
}

// Report is what a history shows.
type Report struct {
	Events    int // those read, repetitions not counted
	Seq       [2]uint64
	From, To  time.Time // by the clocks of those who wrote
	Lives     int
	Apps      int
	Claims    int
	Instances int
	Running   int // instances that have no end and nothing after them
	Records   int // revisions of records

	// Successions are pairs of instances of one app that follow one another, by
	// how it was judged whether the one had ended.
	Exact     int // by one life or one clock, or declared: an overlap takeover
	TimeOfDay int // on different clocks: one shorter than Skew would not be seen
	Unjudged  int // neither the end of the first nor that of its session is recorded

	Findings []Finding
	Gaps     []Gap
}

// Check judges a history. Neither the order of events nor that of cells
// matters; repetitions are passed over.
func Check(events []Event, records []policy.Cell, opts Options) Report {
	h := newHistory(events, opts)
	h.checkRecords(records)
	h.checkClaims()
	h.checkInstances()
	h.checkTogether()
	h.checkAlarms()
	h.summarize()
	return h.report
}
