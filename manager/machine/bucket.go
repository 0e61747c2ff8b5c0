package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// bucket is what is known of the store as a whole, and whether it may be acted
// on: a bucket that lost its memory would give epochs and rights twice.
type bucket struct {
	ready    bool   // a picture was seen since the last identity
	lost     string // why the picture is not current; empty when it is
	identity policy.Identity
	seq      policy.Revision // of the picture
	most     policy.Revision // the highest that was seen in any way
	since    Instant         // when this identity was first seen, or last went back
	trusted  bool
	before   bool // trusted before its sequence went back
	regress  bool // its sequence went back, as it seems
	setBack  bool // it did: what was acknowledged is gone
	later    bool // not the first bucket of this agent's life

	// What the store holds as far as it is told: what is known otherwise, by
	// answers, is newer or is not true any more. nil: it has told nothing yet.
	picture map[policy.Key]policy.Cell
	at      policy.Revision // of that picture

	ahead   policy.Revision // known otherwise, and not in the picture yet; 0: nothing
	aheadAt Instant         // since when it is awaited
	awaited []policy.Cell   // what answers told of above the picture: its keys and revisions, as they came
}

func (m *Machine) viewed(v policy.View) {
	b := &m.bucket
	if v.Lost != "" {
		b.lost = v.Lost
		m.touch() // somebody may wait for what can't be read now
		return
	}
	if v.Identity != "" && v.Identity != b.identity {
		m.newBucket(v.Identity)
	}
	if v.Snapshot {
		m.snapshot(v)
	} else {
		m.changed(v)
	}
	b.seq = max(b.seq, v.Seq)
	b.saw(v.Seq, m.now)
	for _, c := range v.Cells {
		m.learn(c)
		m.noteViewed(c)
	}
}

func (b *bucket) paint(v policy.View) {
	for _, c := range v.Cells {
		b.picture[c.Key] = c
	}
	b.at = v.Seq
}

// saw notes that a revision has been given, whoever said so; the picture has to
// come to it.
func (b *bucket) saw(rev policy.Revision, now Instant) {
	b.most = max(b.most, rev)
	switch {
	case b.seq >= b.most:
		b.ahead = 0
	case b.seq >= b.ahead:
		b.ahead, b.aheadAt = b.most, now
	}
}

// answered: a write or a read has told of a value that the picture may not have
// yet.
func (b *bucket) answered(k policy.Key, rev policy.Revision, now Instant) {
	b.saw(rev, now)
	if rev > b.seq {
		b.awaited = append(b.awaited, policy.Cell{Key: k, Rev: rev})
	}
}

func (m *Machine) snapshot(v policy.View) {
	b := &m.bucket
	b.lost = ""
	m.touch()
	b.picture = map[policy.Key]policy.Cell{}
	b.paint(v)
	switch {
	case v.Seq < b.seq && !b.regress:
		// Either a read from a leader that has been cut off, or a store that
		// was set back. Nothing but renewals is written until one of them is
		// certain: a renewal that is accepted shows that the store still has
		// its own last revision.
		b.before, b.regress, b.trusted, b.since = b.trusted, true, false, m.now
		m.emit(History{Type: "config", Node: m.cfg.Self, Detail: fmt.Sprintf("the store went back from %d to %d", b.seq, v.Seq)})
	case v.Seq >= b.seq:
		m.caughtUp()
	}
	b.awaited = slices.DeleteFunc(b.awaited, func(c policy.Cell) bool { return c.Rev <= v.Seq })
	b.ready = true
	for _, a := range m.apps {
		a.looked = true
	}
}

// changed takes the picture one change further.
func (m *Machine) changed(v policy.View) {
	b := &m.bucket
	if b.picture == nil || v.Seq <= b.at {
		return
	}
	b.paint(v)
	switch {
	case b.regress && v.Seq >= b.seq:
		m.caughtUp()
	case !b.regress && m.overtaken():
		m.wentBack()
	}
}

// overtaken reports whether the picture has come to what an answer told of, and
// has something else there.
func (m *Machine) overtaken() bool {
	b := &m.bucket
	for len(b.awaited) > 0 && b.awaited[0].Rev <= b.at {
		k := b.awaited[0].Key
		b.awaited = b.awaited[1:]
		if m.gone(k) {
			return true
		}
	}
	return false
}

// caughtUp: the picture has come to what had been seen before. If it shows all of
// that, one that looked like a store that went back was an old one. A store that
// was set back may have gone on past the point where it had been, in another
// direction.
func (m *Machine) caughtUp() {
	b := &m.bucket
	if m.forgotten() {
		m.wentBack()
		return
	}
	if b.regress {
		b.regress, b.trusted = false, b.before
		m.touch()
	}
}

// forgotten reports whether something is known at a revision that the picture
// has reached, and is not in the picture.
func (m *Machine) forgotten() bool {
	for _, a := range m.apps {
		if m.gone(policy.AppKey(a.App)) || m.gone(policy.PermitKey(a.App)) {
			return true
		}
	}
	for _, mb := range m.members {
		if m.gone(policy.NodeKey(mb.name)) {
			return true
		}
	}
	return m.gone(policy.NodeKey(m.cfg.Self)) || m.gone(policy.ConfigKey())
}

func (m *Machine) gone(k policy.Key) bool {
	known, b := m.knownCell(k), &m.bucket
	return known.Rev > 0 && known.Rev <= b.at && replacedBy(known, b.picture[k])
}

// knownCell is the newest known value of a key, its revision alone if it could
// not be read.
func (m *Machine) knownCell(k policy.Key) policy.Cell {
	switch k.Kind {
	case policy.KeyApp:
		if a := m.appOf[policy.App(k.Name)]; a != nil {
			return policy.Cell{Key: k, Rev: a.rev, App: a.rec}
		}
	case policy.KeyNode:
		n := node.Name(k.Name)
		mb := m.memberOf[n]
		if n == m.cfg.Self {
			mb = m.self
		}
		if mb != nil && mb.rev == mb.cell.Rev {
			return mb.cell
		} else if mb != nil {
			return policy.Cell{Key: k, Rev: mb.rev}
		}
	case policy.KeyPermit:
		if s := m.permits[policy.App(k.Name)]; s != nil {
			return s.known(k)
		}
	case policy.KeyConfig:
		return m.spec.known(k)
	}
	return policy.Cell{Key: k}
}

// replacedBy reports whether the store, which has c, can't be one in which the
// known value was written: c is older, or another value of that revision.
func replacedBy(known, c policy.Cell) bool {
	switch {
	case c.Rev != known.Rev:
		return c.Rev < known.Rev
	case known.Node != nil && c.Node != nil:
		o, n := known.Node, c.Node
		return o.Session != n.Session || o.State != n.State || o.Seq != n.Seq
	case known.App != nil && c.App != nil:
		o, n := known.App, c.App
		return o.Owner.Session != n.Owner.Session || o.Owner.Nonce != n.Owner.Nonce || o.Next.Session != n.Next.Session ||
			o.High != n.High || o.Want != n.Want
	case known.Config != nil && c.Config != nil:
		o, n := known.Config, c.Config
		return o.Session != n.Session || o.Digest != n.Digest || !slices.EqualFunc(o.Loaded, n.Loaded, sameTerm)
	case known.Permit != nil && c.Permit != nil:
		return !slices.Equal(known.Permit.Nodes, c.Permit.Nodes)
	}
	return false
}

func sameTerm(a, b policy.Spec) bool { return a.App == b.App && a.Term() == b.Term() }

// wentBack: the store was set back for certain. Every revision is forgotten, as
// if it were another bucket; what runs goes on until its deadline, or until a
// record is seen that names somebody else: the records of what runs are read.
func (m *Machine) wentBack() {
	b := m.bucket
	m.emit(History{Type: "config", Node: m.cfg.Self, Detail: "the store was set back: what had been acknowledged is gone"})
	m.newBucket(b.identity)
	m.bucket.setBack, m.bucket.lost = true, b.lost
	if b.picture != nil {
		m.repaint(&b)
	}
	for _, a := range m.apps {
		if a.claim != nil && a.rev == 0 {
			m.confirm(a)
		}
	}
}

// givenAgain: a write was acknowledged at a revision that had been seen before it
// was sent. A picture that has come as far without it is of the time before.
func (m *Machine) givenAgain(c policy.Cell) {
	if b := &m.bucket; b.at >= c.Rev && replacedBy(c, b.picture[c.Key]) {
		b.picture = nil
	}
	m.wentBack()
}

// repaint takes the picture of a bucket that went back for all that is known.
func (m *Machine) repaint(old *bucket) {
	b := &m.bucket
	b.seq, b.most, b.ready = old.at, old.at, true
	b.picture, b.at = old.picture, old.at
	m.learn(b.picture[policy.ConfigKey()])
	for _, a := range m.apps {
		a.looked = true
		m.learn(b.picture[policy.AppKey(a.App)])
		m.learn(b.picture[policy.PermitKey(a.App)])
	}
	for _, mb := range m.members {
		m.learn(b.picture[policy.NodeKey(mb.name)])
	}
	m.learn(b.picture[policy.NodeKey(m.cfg.Self)])
}

// newBucket forgets every revision: they mean nothing in another bucket. What
// runs goes on until its deadline.
func (m *Machine) newBucket(id policy.Identity) {
	later := m.bucket.identity != ""
	m.bucket = bucket{identity: id, since: m.now, later: later}
	if m.session.id != "" && m.session.deadline == 0 {
		// One that was read back and never renewed gives no right, so nothing
		// runs by it; without a deadline it would be adrift for ever.
		m.session = session{fenced: m.session.fenced, seq: m.session.seq, why: "the bucket is another one"}
	}
	m.session.adrift = m.session.id != ""
	for _, a := range m.apps {
		a.forgetRecord(m)
	}
	for _, mb := range m.members {
		mb.forgetCell(m)
	}
	m.self.forgetCell(m)
	m.forgetShared()
	m.beats.changed = true
	m.touch()
}

// decideTrust answers rule 8: may this bucket be acted on?
func (m *Machine) decideTrust() {
	b := &m.bucket
	if !b.ready {
		return
	}
	if b.trusted {
		if b.ahead > 0 && b.lost == "" && m.passed(b.aheadAt.Add(m.quarantine())) {
			m.wentBack() // what is not there after so long will not come
		}
		return
	}
	if b.regress {
		if m.quarantined() {
			m.wentBack()
		}
		return
	}
	if b.setBack && (b.lost != "" || !m.quarantined()) {
		return // nobody can vouch for what nobody may have noticed
	}
	if m.knowsBucket() || m.vouched() || m.firstBoot() || m.quarantined() {
		b.trusted = true
		m.disk.trust(b.identity, b.seq)
		for _, mb := range m.members {
			if n := mb.cell.Node; n != nil {
				m.noteLease(n.TTL)
			}
		}
		m.beats.changed = true
		m.touch()
	}
}

func (m *Machine) knowsBucket() bool {
	b, mem := &m.bucket, m.cfg.Memory
	return !b.later && b.identity == mem.Identity && b.seq >= mem.Seq
}

// vouched: a live node that has acted on this identity knows more than we do.
func (m *Machine) vouched() bool {
	for _, mb := range m.members {
		if mb.present() && mb.known && mb.beat.Vouches && mb.beat.Identity == m.bucket.identity {
			return true
		}
	}
	return false
}

// firstBoot: every node that could remember is heard and none does.
func (m *Machine) firstBoot() bool {
	b := &m.bucket
	if b.later {
		return false
	}
	if m.cfg.NewCluster {
		return true
	}
	return len(m.unheardFirst()) == 0
}

// unheardFirst names what stands against a true first boot.
func (m *Machine) unheardFirst() []string {
	var out []string
	for _, n := range m.cfg.FirstBoot {
		if n == m.cfg.Self {
			if m.disk.remembers() {
				out = append(out, string(n)+" remembers another bucket")
			}
			continue
		}
		switch mb := m.member(n); {
		case !mb.present() || !mb.known:
			out = append(out, string(n))
		case mb.beat.Memory:
			out = append(out, string(n)+" remembers another bucket")
		}
	}
	return out
}

// quarantined: whatever ran by the old bucket has been fenced.
func (m *Machine) quarantined() bool {
	return m.passed(m.bucket.since.Add(m.quarantine()))
}

// quarantine is the longest lease ever seen plus the fence: after it nothing
// runs by what another bucket said.
func (m *Machine) quarantine() time.Duration { return m.longest + m.cfg.Lease.Fence() }

// mayWrite: the bucket is trusted, and that it is has been made durable.
func (m *Machine) mayWrite() bool {
	return m.bucket.trusted && m.disk.durable.Identity == m.bucket.identity
}
