package policy

import (
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// Revision is the position of a write in the bucket's stream. Revisions of one
// bucket grow; they may be reused after a bucket was lost, so they are never
// fencing tokens.
type Revision uint64

// Epoch is the fencing token of one ownership of one app. It strictly grows
// over the app's whole history, stops and restarts included.
type Epoch uint64

// Session names one life of one node (a UUID).
type Session string

// Nonce names one agent process or one claim (a UUID).
type Nonce string

// Identity names one bucket: its creation time and a random value that was
// written once. A bucket that was deleted and made again has another one.
type Identity string

// SessionState is the state of a session cell.
type SessionState string

// Session states. All but SessionLive prove the death of the session they
// stand beside.
const (
	SessionLive    SessionState = "live"
	SessionClosed  SessionState = "closed"  // by the node itself, its apps gone
	SessionExpired SessionState = "expired" // by another node, after the lease
	SessionDead    SessionState = "dead"    // by a certificate: the processes are gone
)

// Host identifies the place where processes can be looked at: containers share
// the first two, clones of a machine the first.
type Host struct {
	MachineID    string
	BootID       string
	PIDNamespace uint64 // inode of /proc/self/ns/pid
}

// SessionRecord is the cell node.N: the lease of one life of one node, and
// what is needed to prove that life's end.
type SessionRecord struct {
	Node      node.Name
	Session   Session
	Agent     Nonce // random per agent process
	State     SessionState
	Host      Host
	PID       int
	StartTime uint64        // of PID, in clock ticks after boot: pids are reused
	UID       int           // a proof by process inspection needs the same user
	Groups    string        // host-local file that lists the process groups of this life
	TTL       time.Duration // the stated lease: observers wait for the longer of theirs and this
	Seq       uint64        // counts renewals
	Since     int64         // Unix milliseconds, for people only
}

// Phase of an owned app.
type AppPhase string

// Phases of an owned app.
const (
	PhaseStarting AppPhase = "starting"
	PhaseRunning  AppPhase = "running"
)

// Want is what the cluster was last told about an app.
type Want string

// Wants.
const (
	WantRun     Want = "run"
	WantStopped Want = "stopped"
)

// First marks a record that was started from stopped (or created) and not
// claimed since.
type First string

// Values of First: FirstNone once claimed; FirstWait waits for better nodes
// that have not been told to start (OTP's first start); FirstGo counts only
// nodes that have the app started.
const (
	FirstNone First = ""
	FirstWait First = "wait"
	FirstGo   First = "go"
)

// Slot names a right given to one session: the owner's, or that of a node that
// asked, reserved or is on its way out.
type Slot struct {
	Node    node.Name
	Session Session
	SRev    Revision // a revision at which the writer knew its session cell to hold Session
	Nonce   Nonce
	Epoch   Epoch
	Command bool // asked for by command, not by priority
}

// Empty reports whether the slot names nobody.
func (s Slot) Empty() bool { return s.Node == "" }

// Ended is the only proof of death: given the cell of the slot's node, it
// reports whether the slot's session is over. Either that session is in the
// cell and not live, or another session is there at a revision higher than the
// one recorded in the slot. Both are stable, so an old read is as good as a
// new one. A cell that is absent or damaged proves nothing.
func (s Slot) Ended(c Cell) bool {
	if s.Empty() || c.Node == nil || c.Node.Node != s.Node {
		return false
	}
	if c.Node.Session == s.Session {
		return c.Node.State != SessionLive
	}
	return c.Rev > s.SRev
}

// AppRecord is the cell app.A: who has the right to run the app.
type AppRecord struct {
	App   App
	Owner Slot     // empty: free. Owner.Epoch and Owner.Nonce stay when released
	Phase AppPhase // of the owner's instance
	High  Epoch    // the highest epoch ever allotted, claims and reservations
	Next  Slot     // who takes over; Epoch only with overlap
	Prev  Slot     // who still has to stop; overlap only
	Want  Want
	First First

	From    node.Name // who released it last
	Payload []byte    // what the released instance handed over, until the next is running
	Pinned  bool      // placed by command: priority alone does not move it back
	Ended   []EndedNode

	// Spec is the version of the specification by which the owner was chosen:
	// a changed one moves nothing by itself (OTP rule A-7). Empty: not known.
	Spec string

	StartKind StartKind // what the owner's instance saw
	StartFrom node.Name
	Since     int64  // Unix milliseconds of the last change of owner, phase or want: for people only
	Error     string // why the last start failed, for people only
}

// EndedNode remembers a node that an app took down with it (a permanent app
// that terminated), so that the second one is the last.
type EndedNode struct {
	Node node.Name
	At   int64 // Unix milliseconds
}

// Key names a cell of the bucket.
type Key struct {
	Kind KeyKind
	Name string // App or node.Name
}

// KeyKind is the part of a key before the dot.
type KeyKind string

// Key kinds.
const (
	KeyApp    KeyKind = "app"
	KeyNode   KeyKind = "node"
	KeyPermit KeyKind = "permit"
	KeyConfig KeyKind = "config" // one key, without a name
)

// AppKey is the key of an app's ownership record.
func AppKey(a App) Key { return Key{KeyApp, string(a)} }

// NodeKey is the key of a node's session record.
func NodeKey(n node.Name) Key { return Key{KeyNode, string(n)} }

// PermitKey is the key of an app's persisted permissions.
func PermitKey(a App) Key { return Key{KeyPermit, string(a)} }

// ConfigKey is the key of the cluster's specification.
func ConfigKey() Key { return Key{Kind: KeyConfig} }

// String is the key as stored: kind, dot, token; the kind alone where there is
// one key of it.
func (k Key) String() string {
	if k.Kind == KeyConfig {
		return string(k.Kind)
	}
	return string(k.Kind) + "." + node.Token(k.Name)
}

// Cell is what one revision of one key held. At most one of Node, App, Permit
// and Config is set; all are nil when the key is absent (Rev 0) or its value
// can't be read (Damaged says why). Cells are values: whoever gets one must not
// change what it points to.
type Cell struct {
	Key     Key
	Rev     Revision
	Node    *SessionRecord
	App     *AppRecord
	Permit  *PermitRecord
	Config  *SpecRecord
	Damaged string
}

// Absent reports whether the key does not exist.
func (c Cell) Absent() bool { return c.Rev == 0 }

// Write is one compare-and-set: the record in Cell becomes the value of
// Cell.Key if the key's last revision is exactly Expect (0: it must not exist).
type Write struct {
	Cell   Cell // Rev is ignored
	Expect Revision
	ID     string // message id: a repeat of the identical request is answered, not applied again
	Alt    bool   // go through another server than usual
}

// Outcome is what is known after a Write.
type Outcome int

// Outcomes. Only OutcomeOK and OutcomeRefused say what happened.
const (
	OutcomeUnknown Outcome = iota // it may have been applied, or may yet be
	OutcomeOK                     // applied, at the revision in the reply
	OutcomeRefused                // the last revision was another one
)

func (o Outcome) String() string {
	return [...]string{"unknown", "ok", "refused"}[o]
}

// View is one update of a node's picture of the bucket. A Snapshot replaces
// everything known; a change follows without a gap what came before it; Lost
// says that the picture may be out of date until the next Snapshot.
type View struct {
	Snapshot bool
	Lost     string // why the picture is no longer current
	Identity Identity
	Seq      Revision // the picture is complete up to here
	Cells    []Cell   // all of them with Snapshot, else the one that changed
}
