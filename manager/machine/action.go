package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Action is what a machine orders.
type Action interface{ action() }

type (
	// Write is a compare-and-set, answered by Wrote within the lease's
	// Request time (OutcomeUnknown when nothing came back). Op is the row of
	// the protocol, for traces.
	Write struct {
		Req   RequestID
		Op    Op
		Write policy.Write
	}

	// Read asks for a cell through the stream leader, answered by ReadDone
	// within the lease's Request time.
	Read struct {
		Req RequestID
		Key policy.Key
	}

	// Remember makes Memory durable, answered by Remembered. Of two open ones
	// the later holds more.
	Remember struct {
		Req    RequestID
		Memory Memory
	}

	// StartApp starts an instance, answered by Started or StartFailed.
	// Session and Epoch are empty for a local app. The epoch of a provisional
	// instance must be shown to nobody before ConfirmApp.
	StartApp struct {
		Run     RunID
		App     policy.App
		Session policy.Session
		Epoch   policy.Epoch
		Kind    policy.StartKind
		From    node.Name
		Payload []byte
		Phases  []policy.Phase // of a distributed app, by the specification that holds

		Provisional bool
	}

	// StopApp stops an instance gracefully; Exited follows (or StartFailed if
	// its start had not ended).
	StopApp struct{ Run RunID }

	// KillApp ends an instance at once; Exited or StartFailed follows.
	KillApp struct {
		Run   RunID
		Cause string
	}

	// ConfirmApp tells an instance that was started provisionally (overlap
	// takeover) that its epoch is now the owner's.
	ConfirmApp struct{ Run RunID }

	// SendBeat publishes a heartbeat. It needs no answer.
	SendBeat struct{ Beat Beat }

	// Prove asks whether the life of a node on this very host is gone,
	// answered by Proved.
	Prove struct{ Record policy.SessionRecord }

	// Reply answers a Command. A nil Err is success.
	Reply struct {
		ID  CallID
		Err *Refusal
	}

	// Emit is a line of history. It needs no answer, and nothing waits for it.
	Emit struct{ Record History }

	// Exit ends the node with an exit code, once. No action follows.
	Exit struct {
		Code   int
		Reason string
		Hint   string
	}
)

func (Write) action()      {}
func (Read) action()       {}
func (Remember) action()   {}
func (StartApp) action()   {}
func (StopApp) action()    {}
func (KillApp) action()    {}
func (ConfirmApp) action() {}
func (SendBeat) action()   {}
func (Prove) action()      {}
func (Reply) action()      {}
func (Emit) action()       {}
func (Exit) action()       {}

// Op names a row of the protocol.
type Op string

// The rows of the protocol that write.
const (
	OpRegister   Op = "S1 register"
	OpRenew      Op = "S2 renew"
	OpExpire     Op = "S3 expire"
	OpCertify    Op = "S4 certify"
	OpClose      Op = "S5 close"
	OpCreate     Op = "A0 create"
	OpClaim      Op = "A1 claim"
	OpRunning    Op = "A2 running"
	OpRelease    Op = "A3 release"
	OpAsk        Op = "A4 ask"
	OpClearNext  Op = "A5 clear own next"
	OpClearDead  Op = "A6 clear dead next"
	OpReserve    Op = "A7 reserve"
	OpTake       Op = "A8 take"
	OpClearPrev  Op = "A9 clear prev"
	OpRestart    Op = "A10 restart in place"
	OpStopWant   Op = "A11 stop"
	OpStartWant  Op = "A11 start"
	OpMarkEnded  Op = "B-6 mark ended"
	OpReassert   Op = "rule 6 re-assert"
	OpRecreate   Op = "rule 6 re-create"
	OpNodeRepair Op = "rule 6 repair own session cell"
	OpPermit     Op = "B-15 persist permission"
	OpSpec       Op = "B-10 write specification"
)

// Memory is what a node keeps on disk: the bucket it trusts and the highest
// epochs, so that neither a lost bucket nor a restart gives an epoch twice.
type Memory struct {
	Longest  time.Duration // a lease longer than its own that was seen in that bucket: what ran by it is waited for; 0: none
	Identity policy.Identity
	Seq      policy.Revision // highest seen of that bucket
	Apps     []AppMemory     // sorted by app
	Permits  []PermitMemory  // sorted by app: permissions that outlive a restart
}

// PermitMemory is a persisted permission of this node.
type PermitMemory struct {
	App       policy.App
	Permitted bool
}

// AppMemory is what is remembered of one app. Seen was read in a record or
// acknowledged; Allotted was at least asked for.
type AppMemory struct {
	App      policy.App
	Seen     policy.Epoch
	Allotted policy.Epoch
}

// Refusal is why a command was refused, in a form that the command line and
// the micro service can map.
type Refusal struct {
	Kind   RefusalKind
	Reason string
}

// RefusalKind is the class of a Refusal.
type RefusalKind string

// Refusal kinds. The OTP terms are those of the application module.
const (
	RefuseNotLoaded      RefusalKind = "not loaded"    // nobody described it
	RefuseUndefined      RefusalKind = "undefined app" // neither registered nor with a command
	RefuseAlreadyStarted RefusalKind = "already started"
	RefuseNotStarted     RefusalKind = "not started"
	RefuseNotRunning     RefusalKind = "not running distributed"
	RefuseRunsHere       RefusalKind = "already running locally"
	RefuseBadType        RefusalKind = "bad type"
	RefuseFailed         RefusalKind = "start failed"
	RefuseClosing        RefusalKind = "closing"
	RefuseStopped        RefusalKind = "stopped"   // a stop overtook it
	RefuseOvertaken      RefusalKind = "overtaken" // another takeover did
	RefuseInUse          RefusalKind = "running"   // a change that only a stopped app can take
	RefuseMismatch       RefusalKind = "distribution mismatch"
	RefuseVoters         RefusalKind = "specification differs" // what can't be changed while nodes run
	RefuseNoVerb         RefusalKind = "unknown verb"
)

func (r *Refusal) Error() string {
	if r.Reason == "" {
		return string(r.Kind)
	}
	return string(r.Kind) + ": " + r.Reason
}

// History is one line of the ledger: enough, with the lines beside it, to judge
// afterwards whether two instances of an app can have run at once.
type History struct {
	Type   string // node_up, app_started, failover, … as documented in docs/protocol.md
	App    policy.App
	Node   node.Name
	From   node.Name
	Epoch  policy.Epoch
	Detail string

	Session policy.Session // whose right it is about: the one that claimed, runs, or has ended
	Claim   policy.Nonce   // of the claim that was made, or that an instance runs by
	Run     RunID          // the instance, of those of this agent process
	Op      Op             // the row of the protocol that was acknowledged; empty: none
	At      Instant        // when it was learned, on this host's clock
	Sent    Instant        // when that row was sent: it was applied between Sent and At
}
