package machine

import (
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// peer is another node, as far as one machine can see it: beats and a cell.
type peer struct {
	r       *rig
	name    node.Name
	agent   policy.Nonce
	session policy.Session
	n       uint64
	phase   BeatPhase
	app     AppBeat
	rec     policy.SessionRecord
	rev     policy.Revision
	renewed Instant

	memory  bool
	vouches bool
	view    policy.Identity
	silent  bool // neither beats nor renews
	mute    bool // renews only
	stuck   bool // beats only
}

// join brings a node up that has not started the app.
func (r *rig) join(n node.Name) *peer {
	r.t.Helper()
	p := r.stranger(n)
	p.register("s-" + string(n))
	return p
}

// standby brings a node up that has the app started.
func (r *rig) standby(n node.Name) *peer {
	r.t.Helper()
	p := r.stranger(n)
	p.app.Started, p.app.Type = true, policy.Temporary
	p.register("s-" + string(n))
	return p
}

// stranger is a node that has not said anything yet.
func (r *rig) stranger(n node.Name) *peer {
	p := &peer{
		r: r, name: n, agent: policy.Nonce("agent-" + string(n)), phase: BeatUp, app: AppBeat{App: theApp},
		rec: policy.SessionRecord{
			Node: n, State: policy.SessionLive, Host: policy.Host{MachineID: string(n)}, TTL: 3 * time.Second,
		},
		silent: true,
	}
	r.peers = append(r.peers, p)
	return p
}

// register stores a live session and tells of it.
func (p *peer) register(session string) {
	p.r.t.Helper()
	p.session, p.silent, p.phase = policy.Session(session), false, BeatUp
	p.rec.Session, p.rec.Agent, p.rec.State = p.session, p.agent, policy.SessionLive
	p.renew()
	p.speak()
}

func (p *peer) renew() {
	p.r.t.Helper()
	p.rec.Seq++
	p.renewed = p.r.now
	p.rev = p.r.putNode(p.rec).Rev
}

func (p *peer) speak() {
	p.r.t.Helper()
	p.n++
	b := Beat{Node: p.name, Agent: p.agent, Session: p.session, N: p.n, Phase: p.phase, Full: true, Digest: "d",
		Identity: p.view, Memory: p.memory, Vouches: p.vouches}
	if p.app != (AppBeat{App: theApp}) {
		b.Apps = []AppBeat{p.app}
	}
	p.r.step(Heard{Beat: b})
}

// says changes what it says of the app.
func (p *peer) says(change func(*AppBeat)) {
	p.r.t.Helper()
	change(&p.app)
	p.speak()
}

// live is what a living node does as time passes.
func (p *peer) live() {
	p.r.t.Helper()
	if p.silent || p.r.exit != nil {
		return
	}
	if !p.mute {
		p.speak()
	}
	if !p.stuck && p.rec.State == policy.SessionLive && p.r.now.Sub(p.renewed) >= 500*time.Millisecond {
		p.renew()
	}
}

// ends shows that its session is over; the node says no more.
func (p *peer) ends(state policy.SessionState) {
	p.r.t.Helper()
	p.silent = true
	p.rec.State = state
	p.rev = p.r.putNode(p.rec).Rev
}

// returns begins another life.
func (p *peer) returns() {
	p.r.t.Helper()
	p.agent += "'"
	p.n = 0
	p.register(string(p.session) + "'")
}

// suspected lets it fall silent for so long that it is suspected.
func (p *peer) suspected() {
	p.r.t.Helper()
	p.silent = true
	p.r.step(Disconnected{Node: p.name})
}

// slot is a right of this node's session.
func (p *peer) slot(epoch policy.Epoch) policy.Slot {
	return policy.Slot{Node: p.name, Session: p.session, SRev: p.rev, Nonce: policy.Nonce("claim-" + string(p.name)), Epoch: epoch}
}

// free is a record that nobody owns.
func free(high policy.Epoch) policy.AppRecord {
	return policy.AppRecord{App: theApp, High: high, Want: policy.WantRun}
}

// ownedBy is a record of a running owner.
func ownedBy(p *peer, epoch policy.Epoch) policy.AppRecord {
	return policy.AppRecord{
		App: theApp, High: epoch, Want: policy.WantRun, Owner: p.slot(epoch), Phase: policy.PhaseRunning,
		StartKind: policy.StartNormal,
	}
}

// follow makes the machine a standby of n1, which runs the app but is no
// candidate itself: what becomes free is for n2.
func (r *rig) follow() *peer {
	r.t.Helper()
	p := r.join(n1)
	r.put(ownedBy(p, 4))
	r.call(VerbStart)
	if err := r.answer(); err != nil {
		r.t.Fatal(err)
	}
	r.quiet()
	return p
}

// claims makes the machine claim a free record; the claim is still open.
func (r *rig) claims() Write {
	r.t.Helper()
	r.put(free(4))
	r.call(VerbStart)
	return r.write(OpClaim)
}

// starting makes the machine the owner whose app is starting.
func (r *rig) starting() (StartApp, policy.Cell) {
	r.t.Helper()
	c := r.ok(r.claims())
	return r.start(), c
}

// owns makes the machine the owner of a running app.
func (r *rig) owns() (RunID, policy.Cell) {
	r.t.Helper()
	s, _ := r.starting()
	r.step(Started{Run: s.Run})
	c := r.ok(r.write(OpRunning))
	r.replies = nil
	return s.Run, c
}

// edit stores the app's record with a change, as another node would write it.
func (r *rig) edit(change func(*policy.AppRecord)) policy.Cell {
	r.t.Helper()
	rec := *r.cells[policy.AppKey(theApp)].App
	change(&rec)
	return r.put(rec)
}
