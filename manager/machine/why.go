package machine

import (
	"slices"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Cause is why an app runs where it runs, or does not run.
type Cause string

// Causes. Those about an app that runs come first.
const (
	CauseBest      Cause = "best"           // the best node that can run it does
	CauseEqual     Cause = "equal"          // its owner is as good as any: apps are not moved among equals
	CausePinned    Cause = "pinned"         // a better node can run it, but a command put it where it is
	CauseChanged   Cause = "respecified"    // its list was changed while it ran: nothing moves by itself
	CauseNever     Cause = "takeover_never" // a better node can run it, but takeover is never
	CauseHandOver  Cause = "handing_over"   // another node has asked for it
	CauseLeaving   Cause = "leaving"        // its owner may or can no longer run it
	CauseRestarted Cause = "restarted"      // it was stopped and started again, and comes down first
	CauseStarting  Cause = "starting"       // its owner is starting it
	CauseLocal     Cause = "local"          // no distributed entry: it runs wherever it is started
	CauseStopping  Cause = "stopping"       // it was told to stop, and does
	CauseStopped   Cause = "stopped"        // it was told to stop
	CauseUnstarted Cause = "not_started"    // nobody was told to start it
	CauseStore     Cause = "store"          // the records can't be read or acted on here
	CauseDamaged   Cause = "damaged"        // its record can't be used until nothing can run by what it said
	CauseProof     Cause = "proof"          // its owner is silent, and not proved dead
	CauseTimeout   Cause = "timeout"        // its owner is dead, and its Timeout is not over
	CauseInfinite  Cause = "infinity"       // its owner is dead, and its Timeout never ends
	CauseAwaited   Cause = "first_start"    // a better node that is there has not started it
	CauseReserved  Cause = "reserved"       // another node has precedence
	CauseFailed    Cause = "failed"         // it can't start on any node that was told to (B-7)
	CauseNobody    Cause = "nobody"         // no node that is there may and can run it
	CauseClaiming  Cause = "claiming"       // the node chosen is about to claim it
)

// Standing is why one node of an app's list runs the app, or does not.
type Standing string

// Standings: what keeps a node from being a candidate (B-4), and what makes
// another candidate the better one.
const (
	StandingRuns      Standing = "runs"
	StandingChosen    Standing = "chosen"  // the best of those that could run it now
	StandingAbsent    Standing = "absent"  // not heard, or ended
	StandingSyncing   Standing = "syncing" // in its barrier
	StandingClosing   Standing = "closing" // stopping
	StandingHidden    Standing = "hidden"
	StandingNoSession Standing = "no_session" // there, and without a lease
	StandingUnstarted Standing = "not_started"
	StandingDenied    Standing = "not_permitted"
	StandingFailed    Standing = "failed"
	StandingPriority  Standing = "priority"    // a node of higher priority is there
	StandingOwner     Standing = "owner_stays" // as good as the owner, and apps are not moved among equals
	StandingWeight    Standing = "weight"      // an equal has fewer apps
	StandingName      Standing = "name"        // an equal with as many apps has the lesser name
	StandingBetter    Standing = "better"      // better than the owner: the cause says why it does not have it
)

// Verdict is the standing of one node of an app's list.
type Verdict struct {
	Node     node.Name
	Standing Standing
	Weight   int    // apps it owns
	Error    string // with StandingFailed
}

// explain says why an app runs where it runs, for people. It decides nothing,
// and asks the same questions as the decisions do.
func (m *Machine) explain(a *app, load weights) (Cause, []Verdict) {
	if a.Spec == nil {
		return CauseLocal, nil
	}
	next := m.preferred(a, load)
	cause := m.cause(a, next)
	var vs []Verdict
	for _, n := range a.Spec.Nodes() {
		v := Verdict{Node: n, Weight: load[n]}
		v.Standing, v.Error = m.standing(a, n, next, load)
		vs = append(vs, v)
	}
	return cause, vs
}

// preferred is the node that should run the app now, the owner staying among
// equals.
func (m *Machine) preferred(a *app, load weights) node.Name {
	var cs []policy.Candidate
	for _, n := range a.Spec.Nodes() {
		if m.candidate(a, n) {
			cs = append(cs, policy.Candidate{Node: n, Weight: load[n]})
		}
	}
	return policy.Place(a.Spec, cs, m.liveOwner(a))
}

// liveOwner is who runs the app by its record, as far as is heard.
func (m *Machine) liveOwner(a *app) node.Name {
	if a.rec == nil || a.rec.Owner.Empty() || m.ended(a.rec.Owner) || !m.mine(a.rec.Owner) && !m.ownerHeard(a) {
		return ""
	}
	return a.rec.Owner.Node
}

func (m *Machine) cause(a *app, next node.Name) Cause {
	rec := a.rec
	switch owner := m.liveOwner(a); {
	case !a.looked || m.bucket.lost != "":
		return CauseStore
	case rec == nil && (a.damaged != "" || a.rev > 0 || a.seen > 0):
		return CauseDamaged
	case rec == nil && len(m.startedOn(a)) == 0:
		return CauseUnstarted
	case rec == nil:
		return CauseStore
	case rec.Want == policy.WantStopped && owner != "":
		return CauseStopping
	case rec.Want == policy.WantStopped:
		return CauseStopped
	case owner != "":
		return m.causeOwned(a, owner, next)
	case !rec.Owner.Empty() && !m.ended(rec.Owner):
		return CauseProof
	}
	return m.causeFree(a, next)
}

// causeOwned: a live node has the app.
func (m *Machine) causeOwned(a *app, owner, next node.Name) Cause {
	rec := a.rec
	better := next != "" && a.Spec.Better(next, owner)
	_, listed := a.Spec.Priority(owner)
	switch {
	case rec.First != policy.FirstNone:
		return CauseRestarted
	case listed && !m.candidate(a, owner):
		return CauseLeaving
	case !rec.Next.Empty() && !m.ended(rec.Next):
		return CauseHandOver
	case rec.Phase == policy.PhaseStarting:
		return CauseStarting
	case !listed:
		return CauseChanged // it was, when it was claimed
	case better && a.Spec.Takeover == policy.Never:
		return CauseNever
	case better && rec.Pinned:
		return CausePinned
	case better && a.respecified():
		return CauseChanged
	case better:
		return CauseHandOver
	case m.hasEqual(a, owner):
		return CauseEqual
	}
	return CauseBest
}

// hasEqual: another node of the owner's tuple could run the app as well.
func (m *Machine) hasEqual(a *app, owner node.Name) bool {
	return slices.ContainsFunc(a.Spec.Nodes(), func(n node.Name) bool {
		return n != owner && !a.Spec.Better(n, owner) && !a.Spec.Better(owner, n) && m.candidate(a, n)
	})
}

// causeFree: nobody has it, or its owner is proved dead.
func (m *Machine) causeFree(a *app, next node.Name) Cause {
	rec := a.rec
	dead := !rec.Owner.Empty() && rec.First == policy.FirstNone
	switch {
	case len(m.startedOn(a)) == 0:
		return CauseUnstarted
	case m.allFailed(a):
		return CauseFailed
	case dead && a.Spec.Timeout == policy.Infinite:
		return CauseInfinite
	case dead && !m.timeoutOver(a):
		return CauseTimeout
	case m.awaitedFirst(a, next):
		return CauseAwaited
	case next == "":
		return CauseNobody
	case !rec.Next.Empty() && !m.ended(rec.Next) && rec.Next.Node != next:
		return CauseReserved
	}
	return CauseClaiming
}

// awaitedFirst: on a first start a better node is there and permitted, and has
// not started the app. Unlike awaitsStart it looks from no node in particular.
func (m *Machine) awaitedFirst(a *app, next node.Name) bool {
	return a.rec.First == policy.FirstWait && slices.ContainsFunc(a.Spec.Nodes(), func(n node.Name) bool {
		if next != "" && !a.Spec.Better(n, next) {
			return false
		}
		if n == m.cfg.Self {
			return m.life == lifeUp && a.permitted && !a.started && a.failed == ""
		}
		return m.unstarted(a, n)
	})
}

// standing is what there is to say about one node, next being the one that
// should run the app.
func (m *Machine) standing(a *app, n, next node.Name, load weights) (Standing, string) {
	owner := m.liveOwner(a)
	if n == owner {
		return StandingRuns, ""
	}
	if s, why := m.inability(a, n); s != "" {
		return s, why
	}
	if owner != "" && m.cause(a, next) == CauseLeaving {
		owner = "" // the others are compared with who comes
	}
	switch {
	case owner != "" && a.Spec.Better(n, owner):
		return StandingBetter, ""
	case owner != "" && !a.Spec.Better(owner, n):
		return StandingOwner, ""
	case owner != "":
		return StandingPriority, ""
	case n == next:
		return StandingChosen, ""
	case a.Spec.Better(next, n):
		return StandingPriority, ""
	case load[next] < load[n]:
		return StandingWeight, ""
	}
	return StandingName, ""
}

// inability is why a node can't run the app now; empty: it can.
func (m *Machine) inability(a *app, n node.Name) (Standing, string) {
	if n == m.cfg.Self {
		return m.ownInability(a)
	}
	mb := m.memberOf[n]
	if mb == nil || !mb.present() {
		return StandingAbsent, ""
	}
	ab := mb.apps[a.App]
	switch {
	case mb.beat.Hidden:
		return StandingHidden, ""
	case mb.beat.Phase == BeatSyncing:
		return StandingSyncing, ""
	case mb.beat.Phase == BeatClosing:
		return StandingClosing, ""
	case !ab.Started:
		return StandingUnstarted, ""
	case ab.Denied:
		return StandingDenied, ""
	case a.failedThere(ab):
		return StandingFailed, ab.Error
	case mb.beat.Session == "":
		return StandingNoSession, ""
	}
	return "", ""
}

func (m *Machine) ownInability(a *app) (Standing, string) {
	switch {
	case m.cfg.Hidden:
		return StandingHidden, ""
	case m.life == lifeSyncing:
		return StandingSyncing, ""
	case m.life != lifeUp:
		return StandingClosing, ""
	case !a.started:
		return StandingUnstarted, ""
	case !a.permitted:
		return StandingDenied, ""
	case a.failed != "":
		return StandingFailed, a.failed
	case !m.session.valid(m.now):
		return StandingNoSession, ""
	}
	return "", ""
}
