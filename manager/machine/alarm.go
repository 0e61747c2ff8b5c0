package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// A double owner is what the protocol exists to prevent: one epoch given to two
// claims, epochs that go back, or an instance that runs although another one
// has its place. Nothing here prevents anything; it tells people at once what
// should be impossible, and the ledger keeps it.
//
// What is told is proved. Heartbeats are late, doubled and lost, and those of a
// dead life go on arriving, so that two of them that contradict each other mean
// nothing. A heartbeat counts only where it shows by itself that it was sent
// after the other instance was up: its sender had seen the bucket so far, or had
// heard one of our own heartbeats from after that moment. No clock is compared,
// and nothing is waited for.

// alarms is what is remembered of one app's claims, and of what was said.
type alarms struct {
	high   policy.Epoch    // the highest that the picture of the bucket has shown
	highIn policy.Identity // in this bucket
	highAt policy.Revision // at this revision
	claims []given         // the latest that records named, oldest first
	owner  policy.Nonce    // whose claim the picture names
	up     bool            // that owner was seen to run, and nobody to have to stop for it still
	upRev  policy.Revision // at which revision
	mark   uint64          // our heartbeats that were sent by then
	said   []string        // what was said already
	at     Instant         // when something was said last; 0: never
}

// given is one epoch and the claim that it was given to.
type given struct {
	epoch policy.Epoch
	slot  policy.Slot
}

const (
	claimsMax = 16 // claims of one app that are remembered
	saidMax   = 32 // alarms of one app that are remembered
	// alarmEvery is the least time between two alarms about one app, so that
	// whoever forges records can't fill the ledger. What goes on is said later.
	alarmEvery = Instant(time.Second)
)

// alarm says that an app has two owners, once for each key.
func (m *Machine) alarm(a *app, key string, h History) {
	l := &a.alarms
	if slices.Contains(l.said, key) || l.at != 0 && m.now < l.at+alarmEvery {
		return
	}
	l.at = m.now
	l.said = append(l.said, key)
	if len(l.said) > saidMax {
		l.said = l.said[1:]
	}
	h.Type, h.App = "double_owner", a.App
	m.emit(h)
}

// noteRecord looks at a record that was read, from wherever: was any of its
// epochs given to somebody else before?
func (m *Machine) noteRecord(a *app, rec *policy.AppRecord) {
	for _, s := range [...]policy.Slot{rec.Owner, rec.Next} {
		if s.Epoch != 0 && s.Nonce != "" {
			m.noteClaim(a, s)
		}
	}
}

// noteViewed looks at a record that the picture of the bucket shows. Revisions
// are compared here alone: what an acknowledgement or a read says may be of
// another bucket already than the one that the picture is of.
func (m *Machine) noteViewed(c policy.Cell) {
	a := m.appOf[policy.App(c.Key.Name)]
	if c.App == nil || a == nil || a.Spec == nil {
		return
	}
	l, rec := &a.alarms, c.App
	same := l.highIn == m.bucket.identity
	switch {
	case same && c.Rev <= l.highAt:
		return // an old picture, as a replica or a leader that was cut off shows it
	case l.highIn != "" && rec.High < l.high:
		m.epochsWentBack(a, rec)
	}
	if rec.High >= l.high {
		l.high, l.highIn, l.highAt = rec.High, m.bucket.identity, c.Rev
	}
	if l.owner != rec.Owner.Nonce || rec.Owner.Empty() {
		l.owner, l.up = rec.Owner.Nonce, false
	}
	if !rec.Owner.Empty() && rec.Phase == policy.PhaseRunning && rec.Prev.Empty() && !l.up {
		l.up, l.upRev, l.mark = true, c.Rev, m.beats.n
	}
}

// noteClaim remembers to whom an epoch was given, and notices that it is given
// again.
func (m *Machine) noteClaim(a *app, s policy.Slot) {
	l := &a.alarms
	i := slices.IndexFunc(l.claims, func(g given) bool { return g.epoch == s.Epoch })
	switch {
	case i < 0:
		l.claims = append(l.claims, given{s.Epoch, s})
		if len(l.claims) > claimsMax {
			l.claims = l.claims[1:]
		}
		return
	case l.claims[i].slot.Nonce == s.Nonce:
		if l.claims[i].slot.Empty() {
			l.claims[i].slot = s // a released one does not say whose it was
		}
		return
	}
	was := l.claims[i].slot
	m.alarm(a, fmt.Sprintf("epoch %d %s %s", s.Epoch, was.Nonce, s.Nonce), History{
		Node: s.Node, From: was.Node, Epoch: s.Epoch, Session: s.Session, Claim: s.Nonce,
		Detail: fmt.Sprintf("epoch %d was given to two claims", s.Epoch),
	})
}

// epochsWentBack: the picture of the bucket shows lower epochs than before, later in
// the same bucket or in one that replaced it.
func (m *Machine) epochsWentBack(a *app, rec *policy.AppRecord) {
	m.alarm(a, fmt.Sprintf("back from %d", a.alarms.high), History{
		Node: rec.Owner.Node, Epoch: rec.High, Session: rec.Owner.Session, Claim: rec.Owner.Nonce,
		Detail: fmt.Sprintf("its epoch went back from %d to %d", a.alarms.high, rec.High),
	})
}

// usurped: the record names another owner than this node, whose session is
// valid, which runs the app by an acknowledged claim and gave it to nobody.
func (m *Machine) usurped(a *app) {
	owner := a.rec.Owner
	if a.run.ordered || a.claim.provisional || owner.Empty() || m.mine(owner) || !m.session.valid(m.now) {
		return
	}
	m.alarm(a, "usurped "+string(owner.Nonce), History{
		Node: owner.Node, From: m.cfg.Self, Epoch: owner.Epoch, Session: owner.Session, Claim: owner.Nonce,
		Detail: fmt.Sprintf("its record names another owner while it runs on %s by epoch %d", m.cfg.Self, a.run.claimed),
	})
}

// noteRuns looks for instances that a full heartbeat tells of and that have no
// place beside the owner's.
func (m *Machine) noteRuns(mb *member, b *Beat) {
	for i := range b.Apps {
		ab := &b.Apps[i]
		if a := m.appOf[ab.App]; ab.Run != 0 && a != nil && a.Spec != nil && m.intrudes(a, b, ab) {
			owner := a.rec.Owner
			m.alarm(a, fmt.Sprintf("runs %s %d %s", b.Agent, ab.Run, owner.Nonce), History{
				Node: mb.name, From: owner.Node, Epoch: ab.Run, Session: b.Session,
				Detail: fmt.Sprintf("it runs on %s by epoch %d while %s runs it by epoch %d", mb.name, ab.Run, owner.Node, owner.Epoch),
			})
		}
	}
}

// intrudes reports whether a heartbeat proves that its sender had an instance
// of a claim that the record has left behind when the owner's was up.
func (m *Machine) intrudes(a *app, b *Beat, ab *AppBeat) bool {
	rec, l := a.rec, &a.alarms
	switch {
	case rec == nil || rec.Owner.Empty() || !l.up || l.owner != rec.Owner.Nonce || m.ended(rec.Owner):
		return false
	case named(rec, b.Node):
		return false // an owner, or one who comes or goes as declared
	case ab.Run >= rec.Owner.Epoch:
		return false // a later claim, or a reservation that has come to nothing
	case ab.Ending:
		return false // it may be gone already: a node that stood still hears that late
	}
	// One of the two that show that it was sent after the owner was up.
	seen := b.Identity != "" && b.Identity == m.bucket.identity && b.Seq >= l.upRev
	return seen || m.echoed(b) > l.mark
}

// named reports whether a record gives a node a place.
func named(rec *policy.AppRecord, n node.Name) bool {
	return rec.Owner.Node == n || rec.Next.Node == n || rec.Prev.Node == n
}

// echoed is the latest of our heartbeats that the sender had heard.
func (m *Machine) echoed(b *Beat) uint64 {
	for _, e := range b.Heard {
		if e.Agent == m.cfg.Agent {
			return e.N
		}
	}
	return 0
}

// echoes are the latest heartbeats that were heard. Only who runs something has
// to show when it said so.
func (m *Machine) echoes(apps []AppBeat) []Echo {
	if !slices.ContainsFunc(apps, func(ab AppBeat) bool { return ab.Run != 0 }) {
		return nil
	}
	var out []Echo
	for _, mb := range m.members {
		if mb.present() && len(out) < EchoesMax {
			out = append(out, Echo{Agent: mb.agent, N: mb.beat.N})
		}
	}
	return out
}
