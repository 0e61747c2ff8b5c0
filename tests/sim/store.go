package sim

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/sim/checkers"
)

// store is the bucket: one value per key, changed by compare-and-set, with a
// revision that counts all writes, and a short memory of message ids.
type store struct {
	identity policy.Identity
	era      uint64 // how often it was set back
	seq      policy.Revision
	keys     []*register // sorted by nothing: in order of their creation
	log      []entry     // the latest writes, by revision modulo logLen
	ids      map[string]policy.Revision
	idAge    []idSeen
}

// register is one key: its value and those before it, so that stale reads are
// possible.
type register struct {
	key    policy.Key
	values []value
}

type value struct {
	cell policy.Cell
	at   Time
}

// entry is one write as its watchers are told of it.
type entry struct {
	rev    policy.Revision
	era    uint64
	cell   policy.Cell
	viewed machine.Event
}

type idSeen struct {
	id string
	at Time
}

const (
	logLen    = 1 << 10         // a watcher that is further behind has a hole
	dedupeFor = 2 * time.Minute // as the bucket's stream is configured
	staleMax  = 10 * time.Second
)

func newStore(identity string) store {
	return store{identity: policy.Identity(identity), log: make([]entry, logLen), ids: map[string]policy.Revision{}}
}

func (s *store) register(k policy.Key) *register {
	for _, r := range s.keys {
		if r.key == k {
			return r
		}
	}
	r := &register{key: k}
	s.keys = append(s.keys, r)
	return r
}

// asOf is what the register held at a time, which must not be long ago.
func (r *register) asOf(t Time) policy.Cell {
	for i := len(r.values) - 1; i >= 0; i-- {
		if r.values[i].at <= t {
			return r.values[i].cell
		}
	}
	return policy.Cell{Key: r.key}
}

func (r *register) last() policy.Revision {
	if n := len(r.values); n > 0 {
		return r.values[n-1].cell.Rev
	}
	return 0
}

// cas is the only way to change anything. A repeated message id is answered
// with the revision that it got at first.
func (s *store) cas(w *policy.Write, now Time) (policy.Revision, policy.Outcome) {
	if rev, ok := s.ids[w.ID]; ok {
		return rev, policy.OutcomeOK
	}
	r := s.register(w.Cell.Key)
	if r.last() != w.Expect {
		return 0, policy.OutcomeRefused
	}
	s.seq++
	cell := w.Cell
	cell.Rev = s.seq
	r.push(value{cell, now})
	s.remember(w.ID, now)
	view := policy.View{Identity: s.identity, Seq: s.seq, Cells: []policy.Cell{cell}}
	s.log[s.seq%logLen] = entry{s.seq, s.era, cell, machine.Viewed{View: view}}
	return s.seq, policy.OutcomeOK
}

// push drops the values that no read can see any more.
func (r *register) push(v value) {
	old := 0
	for old+1 < len(r.values) && r.values[old+1].at < v.at-staleMax {
		old++
	}
	r.values = append(r.values[:0], append(r.values[old:], v)...)
}

func (s *store) remember(id string, now Time) {
	s.ids[id] = s.seq
	s.idAge = append(s.idAge, idSeen{id, now})
	for len(s.idAge) > 0 && s.idAge[0].at < now-dedupeFor {
		delete(s.ids, s.idAge[0].id)
		s.idAge = s.idAge[1:]
	}
}

// setBack loses all that was written after a time, which must not be long ago:
// revisions will be given again.
func (s *store) setBack(t Time) {
	s.era++
	s.seq = 0
	for _, r := range s.keys {
		r.values = slices.DeleteFunc(r.values, func(v value) bool { return v.at > t })
		s.seq = max(s.seq, r.last())
	}
	for i := range s.log {
		if s.log[i].rev > s.seq {
			s.log[i] = entry{}
		}
	}
	for len(s.idAge) > 0 && s.idAge[len(s.idAge)-1].at > t {
		delete(s.ids, s.idAge[len(s.idAge)-1].id)
		s.idAge = s.idAge[:len(s.idAge)-1]
	}
}

// snapshot is the whole bucket as it was at a time.
func (s *store) snapshot(t Time) policy.View {
	v := policy.View{Snapshot: true, Identity: s.identity}
	for _, r := range s.keys {
		if c := r.asOf(t); !c.Absent() {
			v.Cells = append(v.Cells, c)
			v.Seq = max(v.Seq, c.Rev)
		}
	}
	return v
}

// request is a write or read on its way.
type request struct {
	agent   *agent
	life    checkers.Life
	req     machine.RequestID
	op      machine.Op
	write   policy.Write
	key     policy.Key // of a read
	sent    Time
	giveUp  Time // when the client stops waiting
	told    bool // the agent was told something
	willEnd bool // giving up is scheduled
	rev     policy.Revision
	outcome policy.Outcome
	cell    policy.Cell
}

func (w *World) request(a *agent, req machine.RequestID) *request {
	giveUp := a.host.clock.when(a.host.clock.read(w.now).Add(a.lease.Request))
	return &request{agent: a, life: a.life, req: req, sent: w.now, giveUp: giveUp}
}

func (w *World) send(a *agent, act machine.Write) {
	w.Stats.Writes++
	w.check.Sent(a.life, act.Op, act.Req, &act.Write)
	r := w.request(a, act.Req)
	r.op, r.write = act.Op, act.Write
	w.dispatchRequest(a, r, kindWrite, a.unreachable(act.Write.Alt))
}

func (w *World) read(a *agent, act machine.Read) {
	r := w.request(a, act.Req)
	r.key = act.Key
	w.dispatchRequest(a, r, kindRead, a.unreachable(false))
}

// unreachable says that nothing that the agent sends gets to the store.
func (a *agent) unreachable(alt bool) bool { return a.storeTo && (!alt || a.storeAlt) }

// unanswerable says that nothing that the store sends gets to the agent.
func (a *agent) unanswerable(alt bool) bool { return a.storeBy && (!alt || a.storeAlt) }

// dispatchRequest sends a request on its way: it may be lost, or arrive long
// after its sender has given it up.
func (w *World) dispatchRequest(a *agent, r *request, k kind, cut bool) {
	if cut || w.stores.happens(w.round.lose) {
		w.giveUpAt(r)
		return
	}
	d := w.hop()
	if w.stores.happens(w.round.straggle) {
		d = w.stores.upTo(10 * a.lease.Request)
		if w.stores.happens(0.3) {
			r.giveUp = min(r.giveUp, w.now+w.stores.upTo(a.lease.Request)) // the connection broke
		}
	}
	if w.now+d >= r.giveUp {
		w.giveUpAt(r)
	}
	w.schedule(event{at: w.now + d, kind: k, node: nobody, what: r})
}

// hop is the delay of one way to or from the store.
func (w *World) hop() time.Duration {
	if w.round.slow > 0 && w.stores.happens(0.2) {
		return w.stores.upTo(w.round.slow)
	}
	return time.Millisecond/4 + w.stores.upTo(3*time.Millisecond)
}

func (w *World) giveUpAt(r *request) {
	if r.willEnd {
		return
	}
	r.willEnd = true
	w.schedule(event{at: r.giveUp, kind: kindGiveUp, node: r.agent.index, life: r.life, what: r})
}

// standsStill: a store without a leader answers nothing. What reaches it then
// is lost, or waits for the next leader.
func (w *World) standsStill(r *request, k kind) bool {
	if w.now >= w.round.outage {
		return false
	}
	w.giveUpAt(r)
	if at := w.round.outage + w.hop(); at < r.sent+10*r.agent.lease.Request && w.stores.happens(0.5) {
		w.schedule(event{at: at, kind: k, node: nobody, what: r})
	}
	return true
}

func (w *World) writeArrives(r *request) {
	if w.standsStill(r, kindWrite) {
		return
	}
	before := w.store.seq
	r.rev, r.outcome = w.store.cas(&r.write, w.now)
	if w.trace.on {
		w.trace.applied(w, r, w.store.seq != before)
	}
	if w.store.seq != before {
		w.applied(r)
	}
	w.answer(r)
}

func (w *World) applied(r *request) { w.change(r.life, &r.write, r.rev, r.op) }

// change tells everybody of a write.
func (w *World) change(by checkers.Life, write *policy.Write, rev policy.Revision, op machine.Op) {
	cell := &write.Cell
	w.mix(uint64(rev))
	switch op {
	case machine.OpExpire:
		w.Stats.Expired++
	case machine.OpCertify:
		w.Stats.Certified++
	case machine.OpClose:
		w.Stats.Closed++
	}
	if cell.App != nil {
		w.round.written = w.now
		w.mix(uint64(cell.App.Owner.Epoch))
	}
	w.check.Applied(by, write, rev)
	w.publish(rev)
}

func (w *World) readArrives(r *request) {
	if w.standsStill(r, kindRead) {
		return
	}
	at := w.now
	if w.stores.happens(w.round.stale) {
		at -= w.stores.upTo(staleMax)
	}
	r.cell, r.outcome = w.store.register(r.key).asOf(at), policy.OutcomeOK
	w.answer(r)
}

// answer sends the answer back, which may be lost or come too late.
func (w *World) answer(r *request) {
	a := r.agent
	if r.life != a.life {
		return
	}
	if a.unanswerable(r.write.Alt) || w.stores.happens(w.round.loseReply) {
		w.giveUpAt(r)
		return
	}
	d := w.hop()
	if w.stores.happens(w.round.straggle) {
		d = w.stores.upTo(5 * a.lease.Request)
	}
	if w.now+d >= r.giveUp {
		w.giveUpAt(r)
	}
	w.schedule(event{at: w.now + d, kind: kindAnswer, node: a.index, life: r.life, what: r})
}

func (w *World) gaveUp(a *agent, r *request) {
	if r.told {
		return
	}
	r.told = true
	w.Stats.Unknown++
	if r.op == "" {
		w.step(a, machine.ReadDone{Req: r.req})
		return
	}
	w.step(a, machine.Wrote{Req: r.req, Outcome: policy.OutcomeUnknown})
}

// answered delivers an answer; one that comes after the sender gave up is
// delivered too.
func (w *World) answered(a *agent, r *request) {
	late := r.told
	r.told = true
	if late {
		w.Stats.Late++
	}
	if r.op == "" {
		w.check.Saw(a.life, r.cell)
		w.step(a, machine.ReadDone{Req: r.req, OK: true, Cell: r.cell})
		return
	}
	switch r.outcome {
	case policy.OutcomeOK:
		w.check.Acknowledged(a.life, r.op, r.req, &r.write, late)
	case policy.OutcomeRefused:
		w.Stats.Refused++
	}
	w.step(a, machine.Wrote{Req: r.req, Outcome: r.outcome, Rev: r.rev})
}
