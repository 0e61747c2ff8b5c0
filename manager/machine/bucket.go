package machine

import (
	"fmt"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// bucket is what is known of the store as a whole, and whether it may be acted
// on: a bucket that lost its memory would give epochs and rights twice.
type bucket struct {
	ready    bool   // a picture was seen since the last identity
	lost     string // why the picture is not current; empty when it is
	identity policy.Identity
	seq      policy.Revision
	since    Instant // when this identity was first seen, or last went back
	trusted  bool
	before   bool // trusted before its sequence went back
	regress  bool // its sequence went back
	later    bool // not the first bucket of this agent's life
}

func (m *Machine) viewed(v policy.View) {
	b := &m.bucket
	if v.Lost != "" {
		b.lost = v.Lost
		return
	}
	if v.Identity != "" && v.Identity != b.identity {
		m.newBucket(v.Identity)
	}
	if v.Snapshot {
		m.snapshot(v)
	} else if b.regress && v.Seq >= b.seq {
		b.caughtUp(m)
	}
	b.seq = max(b.seq, v.Seq)
	for _, c := range v.Cells {
		m.learn(c)
	}
}

func (m *Machine) snapshot(v policy.View) {
	b := &m.bucket
	b.lost = ""
	m.touch()
	switch {
	case v.Seq < b.seq && !b.regress:
		// Either a read from a leader that has been cut off, or a store that
		// was set back. Nothing but renewals is written until one of them is
		// certain: a renewal that is accepted shows that the store still has
		// its own last revision.
		b.before, b.regress, b.trusted, b.since = b.trusted, true, false, m.now
		m.emit(History{Type: "config", Node: m.cfg.Self, Detail: fmt.Sprintf("the store went back from %d to %d", b.seq, v.Seq)})
	case v.Seq >= b.seq && b.regress:
		b.caughtUp(m)
	}
	b.ready = true
	for _, a := range m.apps {
		a.looked = true
	}
}

// caughtUp: what looked like a store that went back was an old picture.
func (b *bucket) caughtUp(m *Machine) {
	b.regress, b.trusted = false, b.before
	m.touch()
}

// newBucket forgets every revision: they mean nothing in another bucket. What
// runs goes on until its deadline.
func (m *Machine) newBucket(id policy.Identity) {
	later := m.bucket.identity != ""
	m.bucket = bucket{identity: id, since: m.now, later: later}
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
	if b.trusted || !b.ready {
		return
	}
	if b.regress {
		if m.quarantined() {
			m.newBucket(b.identity)
		}
		return
	}
	if m.knowsBucket() || m.vouched() || m.firstBoot() || m.quarantined() {
		b.trusted = true
		m.disk.trust(b.identity, b.seq)
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
