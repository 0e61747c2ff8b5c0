package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// member is another node, or another life of this one: what its heartbeats
// say, and what its cell says. The first may be wrong, the second never is.
type member struct {
	name node.Name

	// From heartbeats.
	agent   policy.Nonce   // whose beats count now
	former  []policy.Nonce // lives that a later one has replaced: their stragglers count for nothing
	beat    Beat           // the latest; its Full part is of the latest full one
	known   bool           // a full beat of this agent was heard
	heard   Instant        // when the latest beat came
	first   Instant        // when the first beat of this agent came
	count   int            // beats of this agent
	suspect bool
	apps    map[policy.App]AppBeat // of the latest full beat
	turned  turnedAway
	refused bool // it answers, but does not accept our credentials

	// From the bucket.
	cell    policy.Cell     // the newest readable value
	rev     policy.Revision // the newest revision, readable or not
	seen    Instant         // when that readable revision was first seen
	changes int             // how often a foreign agent's live cell was seen to change
	req     *request
	hold    Instant

	proveAt Instant
	proving policy.Nonce // a Prove for this agent is under way
	proved  policy.Nonce // this agent is confirmed gone
}

// present reports whether the node counts as there: heard, not suspected, not
// gone.
func (mb *member) present() bool {
	return mb.agent != "" && !mb.suspect && mb.beat.Phase != BeatLeft
}

// able reports whether the node could own an app now.
func (mb *member) able() bool {
	return mb.present() && mb.beat.Phase == BeatUp && mb.beat.Session != "" && !mb.beat.Hidden
}

func (mb *member) forgetCell(m *Machine) {
	mb.cell, mb.rev, mb.seen = policy.Cell{}, 0, m.now
	if mb.req != nil {
		m.forget(mb.req)
	}
}

// liveCell is the cell's value if it names a live session.
func (mb *member) liveCell() *policy.SessionRecord {
	if n := mb.cell.Node; n != nil && n.State == policy.SessionLive {
		return n
	}
	return nil
}

func (m *Machine) heard(b Beat) {
	if b.Agent == m.cfg.Agent || b.Node == "" || b.Agent == "" {
		return
	}
	mb := m.member(b.Node)
	old := b.Agent == mb.agent && b.N <= mb.beat.N
	if (old || mb.pretended(b)) && !m.insists(mb, b) {
		return
	}
	if b.Agent != mb.agent || old {
		m.newLife(mb, b)
	}
	if mb.suspect || mb.beat.Session != b.Session || mb.beat.Phase != b.Phase || mb == m.self {
		m.touch()
	}
	mb.suspect, mb.refused = false, false
	mb.heard = m.now
	mb.count++
	mb.take(b, m)
	if b.Full {
		m.noteRuns(mb, &b)
	}
}

// pretended reports whether a beat is not of the node's present life: a
// straggler of one that was replaced, or another life of the name while the one
// that holds the session is heard. Whoever holds the session comes back from
// having been taken for replaced.
func (mb *member) pretended(b Beat) bool {
	holder := mb.liveCell()
	if holder != nil && holder.Agent == b.Agent {
		return false
	}
	return slices.Contains(mb.former, b.Agent) ||
		holder != nil && b.Agent != mb.agent && holder.Agent == mb.agent && mb.present()
}

// insistMin is how many beats, each newer than the last, show that what was
// taken for a straggler lives.
const insistMin = 3

// insists reports whether beats that were turned away go on coming while the
// life that was believed is silent: then that one was made up, or its count was,
// by somebody who knows the cookie. Stragglers come to an end.
func (m *Machine) insists(mb *member, b Beat) bool {
	r := &mb.turned
	if r.agent == b.Agent && b.N == r.n {
		return false // the same once more
	}
	if r.agent != b.Agent || b.N < r.n {
		*r = turnedAway{agent: b.Agent, n: b.N, first: m.now, count: 1}
		return false
	}
	r.n = b.N
	r.count++
	long := m.now.Sub(r.first) > m.cfg.Lease.Suspicion()
	if r.count < insistMin || !long || mb.present() {
		return false
	}
	*r = turnedAway{}
	return true
}

// turnedAway are the beats of one agent that were not believed.
type turnedAway struct {
	agent policy.Nonce
	n     uint64
	first Instant
	count int
}

// formerMax bounds how many replaced lives of one node are remembered.
const formerMax = 8

func (m *Machine) newLife(mb *member, b Beat) {
	back := slices.Contains(mb.former, b.Agent)
	mb.former = slices.DeleteFunc(mb.former, func(a policy.Nonce) bool { return a == b.Agent })
	if mb.agent != "" && !back { // one that stood in for the holder may yet become a life of the node
		mb.former = append(mb.former, mb.agent)
		if len(mb.former) > formerMax {
			mb.former = mb.former[1:]
		}
	}
	mb.agent, mb.first, mb.count = b.Agent, m.now, 0
	mb.known, mb.apps, mb.beat = false, nil, Beat{}
	m.beats.changed = true // it should learn soon what we are
	m.touch()
}

// take keeps what a brief beat leaves out.
func (mb *member) take(b Beat, m *Machine) {
	if !b.Full {
		brief := b
		b = mb.beat
		b.Node, b.Agent, b.Session, b.N, b.Phase, b.Hidden = brief.Node, brief.Agent, brief.Session, brief.N, brief.Phase, brief.Hidden
		mb.beat = b
		return
	}
	if !mb.known || !slices.Equal(mb.beat.Apps, b.Apps) || mb.beat.Identity != b.Identity || mb.beat.Vouches != b.Vouches ||
		mb.beat.Spec != b.Spec || mb.beat.Digest != b.Digest {
		mb.apps = make(map[policy.App]AppBeat, len(b.Apps))
		for _, ab := range b.Apps {
			mb.apps[ab.App] = ab
		}
		m.touch()
	}
	mb.known = true
	mb.beat = b
}

func (m *Machine) disconnected(n node.Name) {
	if mb := m.memberOf[n]; mb != nil && mb.present() {
		m.suspected(mb, "its connection ended")
	}
}

// certified takes a hint: the node is suspected, and its cell is read from the
// leader. A certificate of another life than the one that the cell names, made
// up or late, is counted and changes nothing.
func (m *Machine) certified(ev Certified) {
	mb := m.memberOf[ev.Node]
	if mb == nil || mb.rev >= ev.Rev {
		m.certsIgnored++
		return
	}
	if rec := mb.liveCell(); rec == nil || rec.Session != ev.Session || rec.Agent != ev.Agent {
		m.certsIgnored++
		return
	}
	if mb.present() && mb.agent == ev.Agent {
		m.suspected(mb, "its warden says that it is gone")
	}
	if mb.req == nil {
		mb.req = &request{op: opConfirm, member: mb, settled: true, write: policy.Write{
			Cell: policy.Cell{Key: policy.NodeKey(mb.name)}, Expect: ^policy.Revision(0),
		}}
		m.touch()
	}
}

func (m *Machine) refusedBy(n node.Name) {
	if n != m.cfg.Self {
		m.member(n).refused = true
		m.touch()
	}
}

func (m *Machine) suspected(mb *member, why string) {
	mb.suspect = true
	m.touch()
	if m.reports() {
		m.emit(History{Type: "node_suspect", Node: mb.name, Detail: why})
	}
}

// reports picks one of the nodes that are there to write down what all see.
func (m *Machine) reports() bool {
	for _, mb := range m.members {
		if mb.able() && mb.name < m.cfg.Self {
			return false
		}
	}
	return m.life == lifeUp
}

// learnNode takes a value of a node's cell. Any change restarts the
// observation, one to a lower revision included; a value that can't be read is
// no change: its node did not write it.
func (m *Machine) learnNode(c policy.Cell) {
	n := node.Name(c.Key.Name)
	mb := m.member(n)
	switch {
	case c.Absent() || c.Rev == mb.rev && !mb.rewritten(c):
		return
	case c.Rev < mb.rev:
		mb.seen = m.now
		return
	}
	mb.rev = c.Rev
	m.touch()
	if c.Node == nil {
		return
	}
	old := mb.cell
	mb.cell, mb.seen = c, m.now
	m.noteLease(c.Node.TTL)
	m.noteEnd(mb, old)
	m.noteDeath(mb)
	if mb == m.self {
		m.ownCell(old)
	}
}

// rewritten: the store went back and has given this revision to another value.
// To take that for the one that is known would certify, and overwrite, a life
// that has registered since.
func (mb *member) rewritten(c policy.Cell) bool {
	old := mb.cell
	return old.Rev == c.Rev && old.Node != nil && c.Node != nil && *old.Node != *c.Node
}

// noteDeath: a certificate is about the agent itself, so that nobody waits for
// that to be silent for long, or for the end of its connection: it would be the
// candidate for its own apps until then. What is told beside the cell, by the
// warden, may come later or never.
func (m *Machine) noteDeath(mb *member) {
	if rec := mb.cell.Node; rec.State == policy.SessionDead && rec.Agent == mb.agent && mb.present() {
		m.suspected(mb, "its death is certified")
	}
}

// noteEnd tells the apps that wait for a better node to be started that this
// one's session has ended: they wait for it no more.
func (m *Machine) noteEnd(mb *member, old policy.Cell) {
	if old.Node == nil || old.Node.State != policy.SessionLive {
		return
	}
	if now := mb.cell.Node; now.Session == old.Node.Session && now.State == policy.SessionLive {
		return
	}
	for _, a := range m.apps {
		if a.waiting && !slices.Contains(a.unawaited, mb.name) {
			a.unawaited = append(a.unawaited, mb.name)
		}
	}
}

// decideMembers suspects the silent, expires what has not changed for a lease
// and certifies what is proved gone.
func (m *Machine) decideMembers() {
	for _, mb := range m.members {
		if mb.present() && m.passed(mb.heard.Add(m.cfg.Lease.Suspicion())) {
			m.suspected(mb, fmt.Sprintf("silent for %v", m.now.Sub(mb.heard)))
		}
		m.decideCell(mb)
	}
	m.decideCell(m.self)
}

func (m *Machine) decideCell(mb *member) {
	if mb.req != nil {
		m.drive(mb.req)
		if mb.req != nil {
			return
		}
	}
	rec := mb.liveCell()
	if rec == nil || rec.Agent == m.cfg.Agent || m.life == lifeSyncing || !m.mayWrite() || !m.passed(mb.hold) {
		return
	}
	switch {
	case mb.proved != "" && mb.proved == rec.Agent:
		m.endSession(mb, OpCertify, policy.SessionDead)
	case m.passed(mb.seen.Add(max(m.cfg.Lease.TTL, rec.TTL))):
		m.endSession(mb, OpExpire, policy.SessionExpired)
	default:
		m.askProof(mb, rec)
	}
}

// endSession is S3 and S4. The value that is replaced is the one that was
// observed (S3) or that names the proved agent (S4): exactly that revision, so
// that a renewal in between refuses it.
func (m *Machine) endSession(mb *member, op Op, state policy.SessionState) {
	rec := *mb.cell.Node
	rec.State = state
	mb.req = m.send(request{op: op, member: mb, write: policy.Write{
		Cell: policy.Cell{Key: policy.NodeKey(mb.name), Node: &rec}, Expect: mb.rev,
	}})
	mb.req.member = mb
}

// proveAgain is the pause between two looks at the processes of a node on
// this host.
const proveAgain = 50 * time.Millisecond

// askProof looks at the processes of a silent node of this very host.
func (m *Machine) askProof(mb *member, rec *policy.SessionRecord) {
	if mb != m.self && mb.present() && mb.agent == rec.Agent {
		return
	}
	if m.cfg.Host == (policy.Host{}) || rec.Host != m.cfg.Host || rec.UID != m.cfg.UID || mb.proving == rec.Agent {
		return
	}
	if !m.passed(mb.proveAt) {
		return
	}
	mb.proving = rec.Agent
	m.do(Prove{Record: *rec})
}

func (m *Machine) proved(ev Proved) {
	mb := m.member(ev.Node)
	if mb.proving != ev.Agent {
		return
	}
	mb.proving = ""
	mb.proveAt = m.now.Add(proveAgain)
	if ev.Gone {
		mb.proved = ev.Agent
	}
	m.touch()
}

// decideDigest refuses to join nodes that were told something else (B-10):
// whoever has a session stays.
func (m *Machine) decideDigest() {
	if m.session.id != "" || m.cfg.Hidden || m.life == lifeClosing || m.spec.agrees(m) {
		return
	}
	for _, mb := range m.members {
		if mb.able() && mb.known && mb.beat.Digest != "" && mb.beat.Digest != m.cfg.Digest {
			m.exit(exitDigest, "the specification differs from that of "+string(mb.name), digestHint)
			return
		}
	}
}

// Exit codes that the machine decides on.
const (
	exitMandatory = 3
	exitDigest    = 6
	exitDuplicate = 7
	exitApp       = 8
)
