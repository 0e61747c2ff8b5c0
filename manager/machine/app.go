package machine

import (
	"fmt"
	"slices"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// app is all that this node knows and has to do about one app.
type app struct {
	AppConfig
	kind      policy.RestartType // given by the latest start
	permitted bool
	barred    Instant // since when not, if that came in this life
	told      bool    // permit was called in this life: what is persisted no longer counts
	persist   *bool   // a permission that is not in its cell yet

	// What the specification says beside Spec.
	dropped bool         // no longer in it: not loaded here
	pending *policy.Spec // a local app becomes distributed as soon as nothing of it runs

	// The record, as the newest value that was read.
	rec     *policy.AppRecord // nil: absent or damaged
	rev     policy.Revision   // of the newest value, readable or not
	since   Instant           // when that revision was first seen
	damaged string            // why the newest value can't be used
	behind  *policy.AppRecord // it can be read, but its epochs went back
	looked  bool              // a whole picture of the bucket has been seen: no record means absent
	missing Instant           // since when the record is absent or damaged

	// Epochs.
	seen     policy.Epoch // highest read or acknowledged
	allotted policy.Epoch // highest put into any request
	durable  policy.Epoch // highest that the disk knows

	// What this node was told.
	started  bool         // start was called here (OTP: started)
	starting policy.First // a start that is not in the record yet: how it is to begin
	stopping bool         // a stop that is not in the record yet
	take     takeIntent
	askAfter Instant // no new takeover before: the last instance ended at once
	failed   string  // why it can't start here; empty: it may

	// What this node does.
	claim  *claim
	run    *run
	req    *request
	open   []Op    // own writes to the current revision that may still land
	hold   Instant // no new write before
	cleans bool    // a claim of this node cleared first and its start has not ended yet

	// What this node waits for.
	suspect   policy.Session // the owner's session that the Timeout runs for
	suspected Instant        // since when
	bereft    policy.Session // the owner's session that was not heard any more when the app was started or permitted here
	waiting   bool           // for a better node to be started (first = wait)
	awaited   node.Name      // which
	unawaited []node.Name    // ended while waited for

	ends   []Instant // when it ended by itself, for the restart limit
	alarms alarms
}

// takeIntent is a takeover that this node has a reason to begin.
type takeIntent int

const (
	takeNone    takeIntent = iota
	takeEdge               // start or permit was called here: even a pinned app is asked for
	takeCommand            // takeover was called here: whatever the priority
)

// claim is an acknowledged right: an ownership or a reservation.
type claim struct {
	epoch   policy.Epoch
	nonce   policy.Nonce
	session policy.Session
	kind    policy.StartKind
	from    node.Name
	payload []byte

	provisional bool   // a reservation (overlap), not yet the owner
	anew        bool   // over a dead owner, and yet a start and no failover
	givenUp     bool   // a release was sent: nothing starts under it again
	over        *ended // how its last run ended
	restart     Instant
	begun       bool // a run was started under it
	rewritten   bool // A10: the record says starting again
}

// ended is how a run ended.
type ended struct {
	ordered bool // it was told to
	failed  bool // it never started
	normal  bool
	reason  string
	payload []byte
	final   bool // no restart in place follows
}

// run is one instance of the app's processes on this node. It exists until
// all of them are confirmed gone.
type run struct {
	id      RunID
	nonce   policy.Nonce // of the claim it was started under
	epoch   policy.Epoch
	claimed policy.Epoch // of the latest claim that it runs by: asserted again or not
	session policy.Session
	up      bool
	ordered bool // told to stop
	killed  bool
}

func (a *app) exclusive() bool { return a.Spec.Takeover != policy.Overlap }

func (a *app) forgetRecord(m *Machine) {
	a.rec, a.rev, a.damaged, a.looked, a.open, a.behind = nil, 0, "", false, nil, nil
	a.alarms.owner, a.alarms.up = "", false // its revisions mean nothing any more
	if a.req != nil {
		m.forget(a.req)
	}
}

// learnApp takes a value of an app's record.
func (m *Machine) learnApp(c policy.Cell) {
	a := m.appOf[policy.App(c.Key.Name)]
	if a == nil || a.Spec == nil {
		m.keepStray(c)
		return
	}
	if c.Rev <= a.rev {
		return
	}
	a.rev, a.since, a.open, a.behind = c.Rev, m.now, nil, nil
	m.touch()
	if c.App != nil {
		m.noteRecord(a, c.App)
	}
	a.damaged = a.unusable(c)
	if a.damaged != "" {
		if a.rec != nil || a.missing == 0 {
			a.missing = m.now
		}
		a.rec, a.behind = nil, c.App
		return
	}
	a.rec, a.missing = c.App, 0
	a.see(m, c.App.High)
	if c.App.First != policy.FirstNone && !a.owns(m) && !m.mine(c.App.Next) && a.failed != "" {
		a.failed, m.beats.changed = "", true // started again since: a new chance
	}
	if c.App.First != policy.FirstWait {
		a.unawaited = nil
	}
	if a.claim != nil && a.claim.provisional && a.owns(m) && a.rec.Owner.Nonce == a.claim.nonce {
		m.taken(a) // a take of unknown outcome had landed
	}
	if a.req != nil && a.req.op == OpReassert && a.owns(m) && a.rec.Owner.Nonce == a.req.claim.nonce {
		m.reasserted(a, a.req) // its echo came before its answer: what runs, runs by it
	}
}

// unusable says why a value can't be a record of this app: it is not readable,
// or its epochs went back.
func (a *app) unusable(c policy.Cell) string {
	switch {
	case c.Damaged != "":
		return c.Damaged
	case c.App == nil:
		return "no record"
	case c.App.High < a.seen:
		return fmt.Sprintf("its epoch went back from %d to %d", a.seen, c.App.High)
	}
	return ""
}

// see remembers an epoch that a record allots.
func (a *app) see(m *Machine, e policy.Epoch) {
	if e > a.seen {
		a.seen = e
		a.allotted = max(a.allotted, e)
		m.disk.note(a.App, a.seen, a.allotted)
		m.beats.changed = true
	}
}

// allot gives the next epoch: above everything that was ever allotted, as far
// as anybody knows.
func (a *app) allot(m *Machine) policy.Epoch {
	if a.rec != nil {
		a.allotted = max(a.allotted, a.rec.High)
	}
	a.allotted = max(a.allotted, m.heardEpoch(a)) + 1
	m.disk.note(a.App, a.seen, a.allotted)
	m.touch()
	return a.allotted
}

// heardEpoch is the highest epoch of an app that any live node remembers.
func (m *Machine) heardEpoch(a *app) policy.Epoch {
	var e policy.Epoch
	for _, mb := range m.members {
		if mb.present() {
			e = max(e, mb.apps[a.App].Epoch)
		}
	}
	return e
}

// owns reports whether the record names this very session as the owner.
func (a *app) owns(m *Machine) bool { return a.rec != nil && m.mine(a.rec.Owner) }

// ownsByClaim reports whether the record names the claim that was acknowledged
// to this node, not merely its session.
func (a *app) ownsByClaim(m *Machine) bool {
	return a.owns(m) && a.claim != nil && !a.claim.provisional && a.claim.nonce == a.rec.Owner.Nonce
}

// decideApps takes the apps in name order; each tentative placement counts for
// those after it.
func (m *Machine) decideApps() {
	for _, a := range m.apps {
		if a.Spec == nil {
			m.decideLocal(a)
			if a.Spec == nil {
				continue
			}
		}
		m.supervise(a)
		m.decideApp(a)
	}
}

// decideApp sends at most one write, chosen by what the record says.
func (m *Machine) decideApp(a *app) {
	m.watchOwner(a)
	if a.req != nil {
		m.drive(a.req)
	}
	m.forgetClaim(a)
	m.startOwned(a)
	if a.req != nil || !m.mayClaim() || !m.passed(a.hold) {
		return
	}
	switch rec := a.rec; {
	case rec == nil:
		m.decideMissing(a)
	case a.stopping:
		m.requestStop(a)
	case a.starting != policy.FirstNone && !m.overHere(a):
		m.requestStart(a)
	case m.outdated(a):
		m.reassert(a)
	case m.mine(rec.Owner):
		m.decideOwned(a)
	case m.mine(rec.Prev):
		m.decidePrev(a)
	case m.mine(rec.Next):
		m.decideNext(a)
	case m.claimable(a) && m.chosen(a):
		m.sendClaim(a)
	default:
		m.decideTakeover(a)
	}
}

// mayClaim reports whether this node may write ownership records at all.
func (m *Machine) mayClaim() bool {
	return m.session.valid(m.now) && !m.session.adrift && m.mayWrite() && m.life == lifeUp && m.spec.settled()
}

// forgetClaim drops a claim that the record no longer names, once nothing runs
// by it: the acknowledgement of what ended it may have been lost.
func (m *Machine) forgetClaim(a *app) {
	c := a.claim
	if c == nil || a.run != nil || a.req != nil || a.rec == nil || m.named(a) || m.mine(a.rec.Prev) && a.rec.Prev.Nonce == c.nonce {
		return
	}
	a.claim = nil
}

// write sends a new value of the app's record. change edits a copy.
func (m *Machine) write(a *app, op Op, change func(*policy.AppRecord)) *request {
	rec := policy.AppRecord{App: a.App, Want: policy.WantRun}
	if a.rec != nil {
		rec = *a.rec
		rec.Ended = slices.Clone(rec.Ended)
	}
	old := rec
	change(&rec)
	a.req = m.send(request{op: op, app: a, old: old, write: policy.Write{
		Cell: policy.Cell{Key: policy.AppKey(a.App), App: &rec}, Expect: a.rev,
	}})
	return a.req
}

// slot names the session of this node, for a claim or a request.
func (m *Machine) slot() policy.Slot {
	return policy.Slot{Node: m.cfg.Self, Session: m.session.id, SRev: m.session.rev}
}

// dropClaim forgets a right and kills what runs by it.
func (m *Machine) dropClaim(a *app, why string) {
	a.claim, a.cleans = nil, false
	if a.req != nil {
		m.forget(a.req)
	}
	m.kill(a, why)
}

func (m *Machine) killAll(why string) {
	for _, a := range m.apps {
		m.kill(a, why)
	}
}
