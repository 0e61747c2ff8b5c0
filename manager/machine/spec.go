package machine

import (
	"fmt"
	"slices"

	"github.com/seed7529eb29/regent/policy"
)

// spec is the specification that this node goes by, and the cell config, in
// which the cluster has it.
type spec struct {
	shared

	current policy.SpecRecord // its own files' at first, then what was adopted
	kept    bool              // there is such a cell
	joined  bool              // this life had a session, or adopted: it follows what is applied
	adopted policy.Revision   // of the cell's value that current agrees with; 0: of none yet
	changes []*specChange     // what commands want, the oldest first
}

// specChange is a change of the specification that a command asks for.
type specChange struct {
	apply  *policy.SpecRecord // config
	load   *policy.Spec       // load/2
	detail string             // for the history
	by     policy.Revision    // the cell that has it; 0: not written yet
}

func newSpec(own *policy.SpecRecord) spec {
	s := spec{}
	if own != nil {
		s.current, s.kept = *own, true
	}
	return s
}

// settled: the cluster's specification is known and held to. Without it nothing
// is claimed.
func (s *spec) settled() bool { return !s.kept || s.adopted > 0 }

func (s *spec) forget(m *Machine) {
	s.shared.forget(m)
	if s.adopted > 0 {
		s.adopted = 1 // settled once, and written anew where it was lost
	}
	for _, c := range m.calls {
		if c.spec != nil && c.spec.by > 0 {
			c.spec.by = 1 // revisions begin again: whoever goes by it will say so by a new one
		}
	}
}

// record is the newest readable value of the cell; nil: there is none.
func (s *spec) record() *policy.SpecRecord { return s.cell.Config }

// agrees: the cell says what this node's files say.
func (s *spec) agrees(m *Machine) bool {
	rec := s.record()
	return rec != nil && rec.Digest == m.cfg.Digest
}

func (m *Machine) learnSpec(c policy.Cell) {
	if m.spec.take(m, c) && m.spec.cell.Config != nil {
		m.spec.noteChange(m)
	}
}

// noteChange: the newest value is the one that a command asked for, or not any
// more.
func (s *spec) noteChange(m *Machine) {
	rec := s.record()
	if len(s.changes) == 0 || s.rev != s.cell.Rev || !s.changes[0].holds(rec) {
		return
	}
	detail := s.changes[0].detail
	s.written()
	if rec.Session == m.session.id && rec.Node == m.cfg.Self { // or somebody else said the same
		m.emit(History{Type: "config", Node: m.cfg.Self, Detail: detail})
	}
}

// written: the cell has the oldest change.
func (s *spec) written() {
	s.changes[0].by = s.cell.Rev
	s.changes = s.changes[1:]
}

// holds reports whether a value of the cell has the change.
func (c *specChange) holds(rec *policy.SpecRecord) bool {
	if c.load != nil {
		have := rec.Spec(c.load.App)
		return have != nil && have.Term() == c.load.Term() // all that load/2 says
	}
	return rec.Applied && rec.Digest == c.apply.Digest
}

// decideSpec holds this node to the cluster's specification: one that joins with
// another is refused, one that is there follows what is applied, the first
// writes its own (B-10, A-7).
func (m *Machine) decideSpec() {
	if m.decideDigest(); m.life == lifeOver || !m.spec.kept {
		return
	}
	s := &m.spec
	s.joined = s.joined || m.session.id != ""
	if !m.ready(&s.shared) {
		return
	}
	rec := s.record()
	switch {
	case s.rev > s.cell.Rev: // damaged or deleted
		m.repairSpec()
	case rec != nil && s.movesVoters(m, rec):
		m.decideOwnSpec(rec)
	case rec != nil && rec.Digest != m.cfg.Digest && rec.Applied && !s.joined && !m.cfg.Hidden:
		m.exit(exitDigest, "the specification differs from the one applied by "+string(rec.Node), digestHint)
	case rec != nil && (rec.Digest == m.cfg.Digest || rec.Applied):
		m.adopt(rec)
		m.decideChange()
	default:
		m.decideOwnSpec(rec)
	}
}

// movesVoters: the cluster's specification was applied, and this node's files
// say the same but for the voters. What was applied binds those who come later,
// voters only as long as a node is there that goes by them: for others all nodes
// are restarted.
func (s *spec) movesVoters(m *Machine, rec *policy.SpecRecord) bool {
	return rec.Applied && rec.Digest != m.cfg.Digest && s.adopted == 0 && !m.cfg.Hidden &&
		!slices.Equal(rec.Voters, s.current.Voters) && sameSpecs(rec.Specs, s.current.Specs)
}

func sameSpecs(a, b []policy.Spec) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s policy.Spec) bool {
		other := policy.FindSpec(b, s.App)
		return other == nil || other.Canonical() != s.Canonical()
	})
}

const digestHint = "compare the files with: regent config check FILE...; while nodes run, regent config apply FILE... makes one the cluster's"

// decideOwnSpec writes this node's specification where there is none, or one
// that no live node goes by any more.
func (m *Machine) decideOwnSpec(rec *policy.SpecRecord) {
	if !m.session.valid(m.now) || m.life != lifeUp {
		return
	}
	if rec != nil {
		stands, unheard := m.specStands(rec)
		if stands {
			m.exit(exitDigest, "the specification differs from that of "+string(rec.Node), digestHint)
		}
		if stands || unheard {
			return
		}
	}
	m.writeOwnSpec()
}

func (m *Machine) writeOwnSpec() {
	own := m.spec.current
	if rec := m.spec.record(); rec != nil && m.spec.movesVoters(m, rec) {
		own.Applied, own.Loaded = true, rec.Loaded
	}
	own.Node, own.Session = m.cfg.Self, m.session.id
	m.put(&m.spec.shared, OpSpec, policy.Cell{Key: policy.ConfigKey(), Config: &own})
}

// repairSpec writes anew what can't be read any more. Who went by it before
// knows best; one that did not leaves it to them.
func (m *Machine) repairSpec() {
	others := slices.ContainsFunc(m.members, (*member).able)
	if m.session.valid(m.now) && m.life == lifeUp && (m.spec.adopted > 0 || !others) {
		m.writeOwnSpec()
	}
}

// specStands: a live node goes by the record. unheard: one that may is not
// heard, and its session has not ended.
func (m *Machine) specStands(rec *policy.SpecRecord) (stands, unheard bool) {
	for _, mb := range m.members {
		switch {
		case mb.liveCell() == nil:
		case !mb.able() || !mb.known:
			unheard = true
		case mb.beat.Digest == rec.Digest:
			stands = true
		}
	}
	return stands, unheard
}

// adopt goes by a value of the cell from now on.
func (m *Machine) adopt(rec *policy.SpecRecord) {
	s := &m.spec
	if s.adopted == s.cell.Rev {
		return
	}
	s.adopted, s.joined = s.cell.Rev, true
	s.current = *rec
	m.cfg.Digest = rec.Digest
	m.respecify(rec.Effective())
	m.beats.changed = true
	m.touch()
}

// respecify gives every app its specification. Nothing moves by that: who owns
// an app keeps it.
func (m *Machine) respecify(specs []policy.Spec) {
	for _, a := range m.apps {
		if a.Spec != nil && policy.FindSpec(specs, a.App) == nil {
			m.drop(a)
		}
	}
	for i := range specs {
		m.specify(&specs[i])
	}
}

func (m *Machine) specify(s *policy.Spec) {
	a := m.appOf[s.App]
	if a == nil {
		a = m.addApp(AppConfig{App: s.App, Type: policy.Temporary})
		if p := m.permits[s.App]; p != nil {
			if permitted, said := p.cell.Permit.Of(m.cfg.Self); said {
				a.permitted = permitted
			}
		}
	}
	a.dropped = false
	switch {
	case a.Spec == nil:
		a.started, a.pending = false, s
		m.distribute(a)
	case a.Spec.Canonical() != s.Canonical():
		a.Spec = s
	}
}

// distribute makes a local app a distributed one, once nothing of it runs here.
func (m *Machine) distribute(a *app) {
	if a.run != nil {
		return
	}
	a.Spec, a.pending, a.failed, a.hold = a.pending, nil, "", 0
	a.looked = m.bucket.ready
	if c, stray := m.strays[a.App]; stray {
		delete(m.strays, a.App)
		m.learnApp(c)
	}
	m.beats.changed = true
	m.touch()
}

// keepStray keeps the newest record of an app that is not described here: it
// may be, later.
func (m *Machine) keepStray(c policy.Cell) {
	name := policy.App(c.Key.Name)
	if old, known := m.strays[name]; !known || c.Rev > old.Rev {
		m.strays[name] = c
	}
}

// drop takes an app out of the specification. Only what is stopped can be taken
// out; should a start have come in between, it is stopped here.
func (m *Machine) drop(a *app) {
	if a.dropped {
		return
	}
	a.dropped, a.started, a.starting, a.take = true, false, policy.FirstNone, takeNone
	for _, v := range []Verb{VerbStart, VerbStop, VerbTakeover, VerbPermit} {
		m.refuseCalls(a, v, &Refusal{RefuseNotLoaded, fmt.Sprintf("%s was taken out of distributed", a.App)})
	}
	m.beats.changed = true
}

// respecified: the app was placed by another specification than the one that
// holds now.
func (a *app) respecified() bool { return a.rec.Spec != "" && a.rec.Spec != a.Spec.Version() }

// commandSpec is config and load/2.
func (m *Machine) commandSpec(c Command) {
	ch := &specChange{apply: c.Apply, load: c.Spec, detail: c.Detail}
	if refusal := m.refuseChange(ch); refusal != nil {
		m.reply(c.ID, refusal)
		return
	}
	m.spec.changes = append(m.spec.changes, ch)
	m.calls = append(m.calls, &call{id: c.ID, verb: c.Verb, spec: ch})
	m.touch()
}

// refuseChange: what runs, or is to run, keeps what a change could not take from
// it safely: its being distributed, and whether two may run for a moment. load/2
// changes nothing of an app that is in use.
func (m *Machine) refuseChange(ch *specChange) *Refusal {
	if !m.spec.kept {
		return &Refusal{RefuseNoVerb, "this node keeps no specification"}
	}
	if ch.load != nil {
		return m.refuseLoad(ch.load)
	}
	if now := m.spec.current.Voters; !slices.Equal(now, ch.apply.Voters) {
		return &Refusal{RefuseVoters, fmt.Sprintf("voters: %v of the running nodes, %v asked for; name them with servers, or stop all nodes first", now, ch.apply.Voters)}
	}
	for _, a := range m.apps {
		s := policy.FindSpec(ch.apply.Specs, a.App)
		what := ""
		switch {
		case a.dropped || !m.inUse(a):
		case s == nil && policy.FindSpec(m.spec.current.Loaded, a.App) != nil:
			// What was loaded stays.
		case s == nil && a.Spec != nil:
			what = "can't be taken out of distributed"
		case s == nil:
		case a.Spec == nil:
			what = "runs as a local app and can't become distributed"
		case a.exclusive() != (s.Takeover != policy.Overlap):
			what = fmt.Sprintf("can't change its takeover from %s to %s", a.Spec.Takeover, s.Takeover)
		}
		if what != "" {
			return &Refusal{RefuseInUse, fmt.Sprintf("%s %s and %s; stop it first: regent stop %[1]s --all", a.App, m.use(a), what)}
		}
	}
	return nil
}

func (m *Machine) refuseLoad(s *policy.Spec) *Refusal {
	a := m.appOf[s.App]
	if a == nil || a.dropped || !m.inUse(a) || a.Spec != nil && a.Spec.Term() == s.Term() {
		return nil
	}
	if a.Spec == nil {
		return &Refusal{RefuseInUse, fmt.Sprintf("%s runs as a local app; stop it first", s.App)}
	}
	return &Refusal{RefuseMismatch, fmt.Sprintf("%s is started by %s, asked for is %s", s.App, a.Spec.Term(), s.Term())}
}

// inUse: somebody has it started, or runs it, as far as its record can say.
func (m *Machine) inUse(a *app) bool {
	owned := func(rec *policy.AppRecord) bool { return rec != nil && !rec.Owner.Empty() && !m.ended(rec.Owner) }
	return len(m.startedOn(a)) > 0 || a.run != nil || owned(a.rec) || owned(a.behind) || m.mayRunUnseen(a)
}

func (m *Machine) use(a *app) string {
	if m.mayRunUnseen(a) && len(m.startedOn(a)) == 0 && a.run == nil {
		return "may run still, since its record is lost or damaged,"
	}
	return "is started"
}

// mayRunUnseen: the record is lost or damaged, and what ran by it may not be over
// yet.
func (m *Machine) mayRunUnseen(a *app) bool {
	if a.Spec == nil || a.rec != nil || a.rev == 0 && a.seen == 0 && m.heardEpoch(a) == 0 {
		return false
	}
	return a.missing == 0 || m.now < a.missing.Add(m.quarantine())
}

// decideChange writes what a command asked for over the newest value.
func (m *Machine) decideChange() {
	s := &m.spec
	if len(s.changes) == 0 || m.life != lifeUp {
		return
	}
	ch := s.changes[0]
	if ch.holds(s.record()) && !s.open {
		s.written()
		m.touch()
		return
	}
	rec := *s.record()
	rec.Node, rec.Session = m.cfg.Self, m.session.id
	rec.Loaded = slices.Clone(rec.Loaded)
	if ch.load != nil {
		rec.Loaded = policy.PutSpec(rec.Loaded, *ch.load)
	} else {
		rec.Applied, rec.Digest, rec.Voters, rec.Specs = true, ch.apply.Digest, ch.apply.Voters, ch.apply.Specs
		rec.Loaded = slices.DeleteFunc(rec.Loaded, func(s policy.Spec) bool { return policy.FindSpec(rec.Specs, s.App) != nil })
	}
	m.put(&s.shared, OpSpec, policy.Cell{Key: policy.ConfigKey(), Config: &rec})
}

// specSettled: every node that is there goes by it.
func (m *Machine) specSettled(c *call) (bool, *Refusal) {
	ch := c.spec
	switch {
	case ch == nil: // load/1
		return true, nil
	case ch.by == 0 || m.spec.adopted < ch.by || m.behind(ch.by) || m.undistributed():
		return false, nil
	case !ch.holds(&m.spec.current):
		return true, &Refusal{RefuseOvertaken, "another specification was applied"}
	}
	return true, nil
}

// behind: a node that is there does not go by this revision of the cell yet.
func (m *Machine) behind(rev policy.Revision) bool {
	return slices.ContainsFunc(m.members, func(mb *member) bool {
		return mb.able() && (!mb.known || mb.beat.Spec < rev)
	})
}

// undistributed: a local app that is to be distributed still runs here.
func (m *Machine) undistributed() bool {
	return slices.ContainsFunc(m.apps, func(a *app) bool { return a.pending != nil })
}
