package checkers

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// app is what has been seen of one app.
type app struct {
	spec     *policy.Spec
	record   policy.AppRecord
	exists   bool
	allotted map[policy.Epoch]policy.Nonce
	started  policy.Epoch                  // the highest epoch that was started under
	ranOn    map[node.Name]policy.Epoch    // likewise on each node, which has it on disk whatever becomes of the store
	ever     map[policy.Epoch]policy.Nonce // allotted, whatever became of the bucket
	highest  policy.Epoch                  // likewise
	broken   string                        // why its history may not be that of one owner at a time; empty: it is
}

// right is a claim or reservation that an agent knows to have been applied, or
// has at least sent.
type right struct {
	app      policy.App
	req      machine.RequestID // that asked for it
	session  policy.Session
	epoch    policy.Epoch
	nonce    policy.Nonce
	known    bool // acknowledged or read
	latest   bool // no later claim was sent
	reserved bool // began as a reservation (overlap)
	started  bool
	givenUp  bool
	lost     bool            // the store was set back behind it
	until    machine.Instant // with that: when its node must have noticed
	bucket   int             // how many buckets had been lost when it was asked for
	bygone   bool            // its bucket was lost
}

// rightsMax bounds how many claims of one agent are remembered, per app: older
// ones can only be stragglers.
const rightsMax = 32

// instance is one app process from the order to start it until it is gone.
type instance struct {
	life     Life
	node     node.Name
	run      machine.RunID
	app      policy.App
	session  policy.Session
	epoch    policy.Epoch
	reserved bool
	restart  bool
	up       bool // its start is complete
	frozen   bool // alive, but not executing
	shaken   bool // the store was set back behind its claim or its lease
	until    machine.Instant
	excused  bool // what ends it in time is lost, as the documents say it may be
	bucket   int  // how many had been lost when its right was asked for
	bygone   bool // started by a right of a bucket that was lost
	unknown  bool // its lease was of such a bucket, and longer than somebody could know
}

// unknowable: rule 8 waits for the longest lease that a node knows of. One whose
// life began when o's bucket was lost already has read of no lease in it, and o may
// run by a longer one than its own, and than those on its disk: until that is over,
// as I4 says.
func (c *Checker) unknowable(o, in *instance) bool {
	of, by := &c.lives[o.life], &c.lives[in.life]
	return o.app == in.app && o.bucket < by.bucket && of.lease.TTL > by.longest
}

func (in *instance) name() string {
	return fmt.Sprintf("%s@%s run %d epoch %d", in.app, in.node, in.run, in.epoch)
}

// claimSent keeps the rights of an agent in step with what it asks for.
func (c *Checker) claimSent(l Life, op machine.Op, req machine.RequestID, w *policy.Write) {
	a, rec := &c.lives[l], w.Cell.App
	switch op {
	case machine.OpClaim, machine.OpRecreate:
		c.claims(a, rec.App, req, rec.Owner, false)
	case machine.OpReassert:
		going := slices.ContainsFunc(a.rights, func(r right) bool { return r.app == rec.App && r.latest && r.started && !r.givenUp })
		if r := c.claims(a, rec.App, req, rec.Owner, false); r != nil {
			r.started = going // what runs goes on by it: the next start is one in place
		}
	case machine.OpReserve:
		c.claims(a, rec.App, req, rec.Next, true)
	case machine.OpRelease, machine.OpClearNext, machine.OpClearPrev:
		for i := range a.rights {
			if r := &a.rights[i]; r.app == rec.App && r.latest {
				r.givenUp = true
			}
		}
	}
}

// claims returns the new right; nil: it is an old one.
func (c *Checker) claims(a *agent, app policy.App, req machine.RequestID, s policy.Slot, reserved bool) *right {
	for i := range a.rights {
		r := &a.rights[i]
		if r.app == app && r.epoch == s.Epoch && r.nonce == s.Nonce {
			return nil // a repeat
		}
	}
	if len(a.rights) >= rightsMax*(1+len(c.apps)) {
		a.rights = slices.Delete(a.rights, 0, 1)
	}
	for i := range a.rights {
		if a.rights[i].app == app {
			a.rights[i].latest = false
		}
	}
	a.rights = append(a.rights, right{bucket: c.buckets, app: app, req: req, session: s.Session, epoch: s.Epoch, nonce: s.Nonce, latest: true, reserved: reserved})
	return &a.rights[len(a.rights)-1]
}

func (c *Checker) learnRight(l Life, rec *policy.AppRecord) {
	a := &c.lives[l]
	for i := range a.rights {
		r := &a.rights[i]
		if r.app != rec.App || r.known {
			continue
		}
		for _, s := range [2]policy.Slot{rec.Owner, rec.Next} {
			if s.Session == r.session && s.Epoch == r.epoch && s.Nonce == r.nonce {
				r.known = true
			}
		}
	}
}

// confirmRight: an acknowledged write that is no claim shows that the claim it
// carries is the record's still, and voids one that was sent before it and
// refused or never answered.
func (c *Checker) confirmRight(l Life, op machine.Op, req machine.RequestID, rec *policy.AppRecord) {
	switch op {
	case machine.OpClaim, machine.OpReserve, machine.OpReassert, machine.OpRecreate:
		return
	}
	a := &c.lives[l]
	newer := func(r right) bool { return r.app == rec.App && r.req > req }
	confirmed := slices.IndexFunc(a.rights, func(r right) bool {
		return r.app == rec.App && r.session == rec.Owner.Session && r.nonce == rec.Owner.Nonce
	})
	if confirmed < 0 || slices.ContainsFunc(a.rights, newer) {
		return
	}
	for i := range a.rights {
		if a.rights[i].app == rec.App {
			a.rights[i].latest = i == confirmed
		}
	}
}

// Starting says that an agent has ordered an instance to start. It reports
// whether that is a restart in place, and whether another instance is alive.
func (c *Checker) Starting(l Life, run machine.RunID, name policy.App, s policy.Session, e policy.Epoch) (restart, beside bool) {
	a := &c.lives[l]
	in := instance{life: l, node: a.node, run: run, app: name, session: s, epoch: e}
	c.checkBarrier(a, &in)
	c.checkRight(a, &in)
	c.checkEpoch(c.apps[name], &in)
	beside = c.checkTogether(c.apps[name].spec, &in)
	c.instances = append(c.instances, in)
	return in.restart, beside
}

// Up says that an instance's start is complete.
func (c *Checker) Up(l Life, run machine.RunID) {
	if i := c.find(l, run); i >= 0 {
		c.instances[i].up = true
	}
}

func (c *Checker) find(l Life, run machine.RunID) int {
	return slices.IndexFunc(c.instances, func(in instance) bool { return in.life == l && in.run == run })
}

// checkBarrier is I7.
func (c *Checker) checkBarrier(a *agent, in *instance) {
	b := &a.barrier
	if !b.Defined {
		return
	}
	missing := func(names []node.Name) bool {
		return slices.ContainsFunc(names, func(n node.Name) bool { return n != a.node && !slices.Contains(a.heard, n) })
	}
	early := b.Timeout == policy.Infinite || c.clock(in.life) < a.born.Add(time.Duration(b.Timeout))
	if missing(b.Mandatory) || early && missing(b.Optional) {
		c.Fail("I7", "%s started before its barrier", in.name())
	}
}

// checkRight is I2.
func (c *Checker) checkRight(a *agent, in *instance) {
	if at, ok := c.Deadline(in.session); !ok || c.clock(in.life) >= at {
		c.Fail("I2", "%s started in session %s that is not valid", in.name(), in.session)
	}
	i := slices.IndexFunc(a.rights, func(r right) bool {
		return r.app == in.app && r.session == in.session && r.epoch == in.epoch
	})
	if i < 0 {
		c.Fail("I2", "%s started without a claim in session %s", in.name(), in.session)
		return
	}
	r := &a.rights[i]
	switch {
	case !r.known:
		c.Fail("I2", "%s started although its claim is not known to be applied", in.name())
	case !r.latest:
		c.Fail("I2", "%s started under an old claim", in.name())
	case r.givenUp:
		c.Fail("I2", "%s started under a claim that was given up", in.name())
	}
	in.restart, in.reserved, in.bucket, in.bygone = r.started, r.reserved, r.bucket, r.bygone
	if r.lost {
		in.shaken, in.until = true, r.until
	} else if s := c.sessions[in.session]; s != nil && s.shaken {
		in.shaken, in.until = true, s.until
	}
	r.started = true
}

// checkEpoch is I3 for starts.
func (c *Checker) checkEpoch(a *app, in *instance) {
	if in.restart {
		return
	}
	if e := a.ranOn[in.node]; in.epoch <= e {
		c.Fail("I3", "%s started, and its node has started it with epoch %d", in.name(), e)
	}
	a.ranOn[in.node] = in.epoch
	if e := c.lives[in.life].read[in.app]; in.epoch < e.high {
		c.Fail("I3", "%s started, and its node has read of epoch %d", in.name(), e.high)
	}
	if in.shaken || in.bygone {
		return // its epoch says nothing about those of the store that there is now
	}
	if in.epoch <= a.started {
		c.Fail("I3", "%s started after epoch %d", in.name(), a.started)
	}
	a.started = max(a.started, in.epoch)
}

// checkTogether is I1.
func (c *Checker) checkTogether(s *policy.Spec, in *instance) bool {
	others := 0
	for i := range c.instances {
		o := &c.instances[i]
		if c.unknowable(o, in) {
			o.unknown = true
			c.apps[in.app].breaks("the bucket was lost, and with it how long a lease is")
		}
		if o.app != in.app || o.frozen || o.excused || o.unknown || c.tolerated(o) || in.shaken {
			continue
		}
		others++
		declared := s.Takeover == policy.Overlap && o.node != in.node && (in.reserved || o.reserved && in.restart)
		if others > 1 || !declared {
			c.Fail("I1", "%s started beside %s", in.name(), o.name())
		}
	}
	return others > 0
}

// Gone says that an instance's processes do not exist any more. Of one that
// stood still and never executed again, at is when it stopped executing.
func (c *Checker) Gone(l Life, run machine.RunID, at machine.Instant) {
	i := c.find(l, run)
	if i < 0 {
		return
	}
	c.checkFence(&c.instances[i], at)
	c.instances = slices.Delete(c.instances, i, i+1)
}

// checkFence is I4.
func (c *Checker) checkFence(in *instance, at machine.Instant) {
	deadline, ok := c.Deadline(in.session)
	lease := &c.lives[in.life].lease
	if limit := deadline.Add(lease.Kill + lease.Late); !in.excused && (!ok || at > limit) {
		c.Fail("I4", "%s was alive %v after its fence", in.name(), at.Sub(deadline))
	}
}

// Sweep checks I4 for what is alive and executing now.
func (c *Checker) Sweep() {
	for i := range c.instances {
		if in := &c.instances[i]; !in.frozen {
			c.checkFence(in, c.clock(in.life))
		}
	}
}

// Froze says that the instances of a life stopped executing.
func (c *Checker) Froze(l Life) {
	for i := range c.instances {
		if c.instances[i].life == l {
			c.instances[i].frozen = true
		}
	}
}

// Wiped says that a node has lost its disk, and what it remembered.
func (c *Checker) Wiped(n node.Name) {
	for _, a := range c.apps {
		delete(a.ranOn, n)
	}
}

// tolerated: the store had forgotten this instance's right. It ends when its
// node notices, at the latest with the lease that was renewed once more.
func (c *Checker) tolerated(in *instance) bool {
	if in.shaken && c.clock(in.life) > in.until {
		c.Fail("rule 9", "%s runs although the store was set back behind it, %v after it should have been noticed", in.name(), c.clock(in.life).Sub(in.until))
	}
	return in.shaken
}

// SetBack says that the store was set back, and what it holds now.
func (c *Checker) SetBack(cells []policy.Cell) {
	was := c.nodes
	c.nodes = map[node.Name]policy.SessionRecord{}
	for _, a := range c.apps {
		a.record, a.exists = policy.AppRecord{}, false
	}
	c.restore(cells)
	for _, cell := range cells {
		switch {
		case cell.Node != nil:
			c.nodes[cell.Node.Node] = *cell.Node
		case cell.App != nil:
			a := c.apps[cell.App.App]
			a.record, a.exists = *cell.App, true
		}
	}
	for _, a := range c.apps {
		a.started = min(a.started, a.record.High) // what is above may be given again
		for e := range a.allotted {
			if e > a.record.High {
				delete(a.allotted, e)
			}
		}
	}
	for id, s := range c.sessions {
		l := &c.lives[s.life]
		if l.over || s.shaken {
			continue
		}
		if now := c.nodes[l.node]; now.Session != id || now.Seq != was[l.node].Seq || now.State != was[l.node].State {
			s.shaken, s.until = true, c.noticed(s.life)
		}
	}
	for i := range c.lives {
		for j := range c.lives[i].rights {
			if r := &c.lives[i].rights[j]; !r.lost && !c.apps[r.app].holds(r.session, r.epoch) {
				r.lost, r.until = true, c.noticed(Life(i))
			}
		}
	}
	for i := range c.instances {
		in := &c.instances[i]
		if s := c.sessions[in.session]; s != nil && (s.shaken || !c.apps[in.app].holds(in.session, in.epoch)) {
			c.unsettle(in)
		}
	}
}

// restore makes what a store that was set back holds the values of its keys. Those
// that are so again may be known to anybody.
func (c *Checker) restore(cells []policy.Cell) {
	var seq policy.Revision
	now := map[policy.Key]*held{}
	for _, cell := range cells {
		if cell.Absent() {
			continue
		}
		seq = max(seq, cell.Rev)
		if h := c.cells[cell.Key]; h != nil && h.cell.Rev == cell.Rev {
			now[cell.Key] = h
		} else {
			now[cell.Key] = &held{cell: cell, told: map[Life]bool{}, common: true}
		}
	}
	c.cells = now
	c.given(seq)
}

// unsettle: the store has forgotten by what an instance runs.
func (c *Checker) unsettle(in *instance) {
	if !in.shaken {
		in.shaken, in.until = true, c.noticed(in.life)
	}
	c.apps[in.app].breaks("the store was set back behind an instance")
}

// noticed is by when a life knows, at the latest, that the store has forgotten its
// lease or a claim: its lease is over then, renewed once more before it was.
func (c *Checker) noticed(l Life) machine.Instant {
	lease := c.lives[l].lease
	return c.clock(l).Add(2*lease.Fence() + lease.Late + lease.Kill)
}

// shake: the store no longer has a session, which its node can't know yet.
func (c *Checker) shake(id policy.Session) {
	s := c.sessions[id]
	if s == nil {
		return
	}
	if !s.shaken {
		s.shaken, s.until = true, c.noticed(s.life)
	}
	for i := range c.instances {
		if in := &c.instances[i]; in.session == id {
			c.unsettle(in)
		}
	}
}

// renewed: the store has a session again that was set back, and so what runs by
// claims that it has, too, is as good as before.
func (c *Checker) renewed(id policy.Session) {
	s := c.sessions[id]
	if s == nil || !s.shaken {
		return
	}
	s.shaken = false
	for i := range c.instances {
		if in := &c.instances[i]; in.session == id && c.apps[in.app].holds(id, in.epoch) {
			in.shaken = false
		}
	}
}

func (a *app) holds(s policy.Session, e policy.Epoch) bool { return holds(&a.record, s, e) }

func holds(rec *policy.AppRecord, s policy.Session, e policy.Epoch) bool {
	for _, slot := range [...]policy.Slot{rec.Owner, rec.Next, rec.Prev} {
		if slot.Session == s && slot.Epoch == e {
			return true
		}
	}
	return false
}

// restored: a claim that is applied is not lost, whatever happened before.
func (c *Checker) restored(now *policy.AppRecord) {
	for _, slot := range [2]policy.Slot{now.Owner, now.Next} {
		s := c.sessions[slot.Session]
		if s == nil {
			continue
		}
		rights := c.lives[s.life].rights
		for i := range rights {
			if r := &rights[i]; r.lost && r.app == now.App && r.nonce == slot.Nonce {
				r.lost = false
			}
		}
	}
}

// Slept says that a host which could not know how long it was paused goes on:
// what is left there of its lives' sessions is over, and notices it now.
func (c *Checker) Slept(on func(Life) bool) {
	for _, s := range c.sessions {
		if on(s.life) && !c.lives[s.life].over {
			s.slept, s.woke = true, c.clock(s.life)
		}
	}
	for i := range c.instances {
		if in := &c.instances[i]; on(in.life) {
			in.excused = true
			c.apps[in.app].breaks("the host of an instance was paused")
		}
	}
}

// Excuse says that nobody is left who would end an instance in time: it is no
// argument against what others do by its lease. A certificate still needs its
// end.
func (c *Checker) Excuse(l Life, run machine.RunID) {
	if i := c.find(l, run); i >= 0 {
		c.instances[i].excused = true
		c.apps[c.instances[i].app].breaks("nobody is left who would end an instance")
	}
}

// ThawedRest says that what is left of dead lives on a host executes again.
func (c *Checker) ThawedRest(on func(Life) bool) {
	for i := range c.instances {
		if in := &c.instances[i]; in.frozen && on(in.life) {
			in.frozen = false
		}
	}
}

// Thawed says that what is left of a life's instances executes again.
func (c *Checker) Thawed(l Life) {
	for i := range c.instances {
		in := &c.instances[i]
		if in.life != l {
			continue
		}
		in.frozen = false
		for j := range c.instances {
			o := &c.instances[j]
			if j != i && o.app == in.app && !o.frozen && !in.excused && !o.excused && !in.unknown && !o.unknown && !c.tolerated(in) && !c.tolerated(o) && c.apps[in.app].spec.Takeover != policy.Overlap {
				c.Fail("I1", "%s woke up beside %s", in.name(), o.name())
			}
		}
	}
}

// appApplied checks I3 for claims, and that nobody gives away or takes a right
// whose instance still executes. A stray write may do so: rule 9 ends who has lost
// his right by it, and what it says of epochs is of the store before.
func (c *Checker) appApplied(now *policy.AppRecord, stray bool) {
	a := c.apps[now.App]
	was := a.record
	a.record, a.exists = *now, true
	a.follow(now)
	c.restored(now)
	if stray {
		c.strayed(a, &was)
		return
	}
	if now.High < was.High || now.Owner.Epoch > now.High || now.Next.Epoch > now.High {
		c.Fail("I3", "%s: highest epoch %d after %d (owner %d, next %d)", now.App, now.High, was.High, now.Owner.Epoch, now.Next.Epoch)
	}
	c.allot(a, now.Owner)
	if a.spec.Takeover == policy.Overlap {
		c.allot(a, now.Next)
	}
	if now.Owner.Session == was.Owner.Session || was.Owner.Empty() {
		return
	}
	for i := range c.instances {
		in := &c.instances[i]
		if in.app == now.App && in.session == was.Owner.Session && !in.frozen && !in.excused && !in.shaken && now.Prev.Session != in.session {
			c.Fail("A1/A3", "%s: owner %s replaced by %q while %s is alive", now.App, was.Owner.Node, now.Owner.Node, in.name())
		}
	}
}

// strayed: the rights that were in a record were written over.
func (c *Checker) strayed(a *app, was *policy.AppRecord) {
	over := func(s policy.Session, e policy.Epoch) bool { return holds(was, s, e) && !a.holds(s, e) }
	a.breaks("a write from before the store was set back found its revision given again")
	a.started = min(a.started, a.record.High)
	for _, s := range [2]policy.Slot{a.record.Owner, a.record.Next} {
		if s.Epoch != 0 && !s.Empty() {
			a.allotted[s.Epoch] = s.Nonce
		}
	}
	for i := range c.lives {
		for j := range c.lives[i].rights {
			if r := &c.lives[i].rights[j]; r.app == a.spec.App && !r.lost && over(r.session, r.epoch) {
				r.lost, r.until = true, c.noticed(Life(i))
			}
		}
	}
	for i := range c.instances {
		if in := &c.instances[i]; in.app == a.spec.App && over(in.session, in.epoch) {
			c.unsettle(in)
		}
	}
}

// follow keeps what an alarm is judged by: that a lost bucket makes epochs come
// again breaks no rule of the store, and is what an alarm is for.
func (a *app) follow(now *policy.AppRecord) {
	if now.High < a.highest {
		a.breaks(fmt.Sprintf("highest epoch %d after %d", now.High, a.highest))
	}
	a.highest = max(a.highest, now.High)
	for _, s := range [2]policy.Slot{now.Owner, now.Next} {
		if s.Epoch == 0 || s.Nonce == "" {
			continue
		}
		if n, ok := a.ever[s.Epoch]; ok && n != s.Nonce {
			a.breaks(fmt.Sprintf("epoch %d was given to two claims", s.Epoch))
		}
		a.ever[s.Epoch] = s.Nonce
	}
}

// breaks notes the first thing after which two may run.
func (a *app) breaks(why string) {
	if a.broken == "" {
		a.broken = why
	}
}

// Broken reports whether the history of an app may be that of more than one
// owner at a time, as after the loss of a bucket or the pause of a host.
func (c *Checker) Broken(name policy.App) bool {
	return c.apps[name] != nil && c.apps[name].broken != ""
}

// Alarmed judges an alarm: a node says that an app has two owners.
func (c *Checker) Alarmed(n node.Name, name policy.App, why string) {
	if c.apps[name].broken == "" {
		c.Fail("alarm", "%s raises an alarm for nothing: %s: %s", n, name, why)
	}
}

func (c *Checker) allot(a *app, s policy.Slot) {
	if s.Empty() || s.Epoch == 0 {
		return
	}
	if n, ok := a.allotted[s.Epoch]; ok && n != s.Nonce {
		c.Fail("I3", "%s: epoch %d was allotted to two claims", a.spec.App, s.Epoch)
	}
	a.allotted[s.Epoch] = s.Nonce
}
