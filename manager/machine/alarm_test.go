package machine

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// alarms are the lines about a double owner.
func (r *rig) alarms() (all []History) {
	for _, h := range r.history {
		if h.Type == "double_owner" {
			all = append(all, h)
		}
	}
	return all
}

func (r *rig) wantAlarms(n int) {
	r.t.Helper()
	if got := r.alarms(); len(got) != n {
		r.t.Fatalf("alarms %+v, want %d", got, n)
	}
}

// rivals are two other nodes: one that the record names as the running owner,
// and one that it named before.
func rivals(t *testing.T, opts ...rigOption) (r *rig, owner, before *peer) {
	r = newRig(t, opts...)
	before, owner = r.standby(n1), r.standby(n3)
	r.put(ownedBy(before, 4))
	r.put(ownedBy(owner, 5))
	r.pass(time.Second)
	return r, owner, before
}

// proofs make a beat show that it was sent now: its sender has seen the bucket so
// far, or has heard this machine so far.
var proofs = map[string]func(r *rig, b *Beat){
	"the bucket": func(r *rig, b *Beat) { b.Identity, b.Seq = bucketID, r.rev },
	"an echo":    func(r *rig, b *Beat) { b.Heard = []Echo{{Agent: "agent-2", N: r.m.beats.n}} },
}

// runs is a full beat about an instance.
func (p *peer) runs(epoch policy.Epoch, change func(*Beat)) {
	p.n++
	ab := p.app
	ab.Run = epoch
	b := Beat{Node: p.name, Agent: p.agent, Session: p.session, N: p.n, Phase: p.phase, Full: true, Digest: "d", Apps: []AppBeat{ab}}
	if change != nil {
		change(&b)
	}
	p.r.step(Heard{Beat: b})
}

func TestAlarmTwoRun(t *testing.T) {
	for name, proof := range proofs {
		t.Run("proved by "+name, func(t *testing.T) {
			r, owner, before := rivals(t)
			before.runs(4, func(b *Beat) { proof(r, b) })
			r.wantAlarms(1)
			if h := r.alarms()[0]; h.Node != before.name || h.From != owner.name || h.Epoch != 4 || h.Session != before.session {
				t.Errorf("alarm %+v", h)
			}
			for range 5 { // once per occurrence
				r.pass(2 * time.Second)
				before.runs(4, func(b *Beat) { proof(r, b) })
			}
			r.wantAlarms(1)
		})
		for what, change := range map[string]func(*Beat){
			"it was told to end":            func(b *Beat) { b.Apps[0].Ending = true },
			"it says nothing of it":         func(b *Beat) { b.Apps[0].Run = 0 },
			"by a later claim":              func(b *Beat) { b.Apps[0].Run = 6 },
			"of another bucket, no echo":    func(b *Beat) { b.Identity, b.Heard = "another", nil },
			"an echo of somebody else":      func(b *Beat) { b.Seq = 0; b.Heard = []Echo{{Agent: "agent-x", N: 99}} },
			"brief: it says nothing at all": func(b *Beat) { b.Full = false },
		} {
			t.Run("not when "+what+", "+name, func(t *testing.T) {
				r, _, before := rivals(t)
				before.runs(4, func(b *Beat) { proof(r, b); change(b) })
				r.wantAlarms(0)
			})
		}
	}
}

// What a dead or a slow node said earlier goes on arriving, however long.
func TestNoAlarmForLateBeats(t *testing.T) {
	r := newRig(t)
	before, owner := r.standby(n1), r.standby(n3)
	r.put(ownedBy(before, 4))
	sent := r.m.beats.n
	rev := r.rev
	r.put(ownedBy(owner, 5))
	for range 40 {
		before.runs(4, func(b *Beat) {
			b.Identity, b.Seq, b.Heard = bucketID, rev, []Echo{{Agent: "agent-2", N: sent}}
		})
		r.pass(500 * time.Millisecond)
	}
	r.wantAlarms(0)
}

// Both of an overlap takeover have their place, until the old one is gone; what
// it said before that may be heard after.
func TestNoAlarmForOverlap(t *testing.T) {
	r := newRig(t, overlap)
	before, owner := r.standby(n1), r.standby(n3)
	r.put(ownedBy(before, 4))
	rec := ownedBy(owner, 5)
	rec.Prev = before.slot(4)
	r.put(rec)
	now := func(b *Beat) {
		b.Identity, b.Seq, b.Heard = bucketID, r.rev, []Echo{{Agent: "agent-2", N: r.m.beats.n}}
	}
	before.runs(4, now)
	r.wantAlarms(0)
	before.n++ // sent now, and still under way
	said := Beat{Node: before.name, Agent: before.agent, Session: before.session, N: before.n, Phase: BeatUp, Full: true, Digest: "d", Apps: []AppBeat{{App: theApp, Run: 4}}}
	now(&said)
	r.edit(func(rec *policy.AppRecord) { rec.Prev = policy.Slot{} })
	r.step(Heard{Beat: said})
	r.wantAlarms(0)
	r.pass(time.Second)
	before.runs(4, now)
	r.wantAlarms(1)
}

// The instance of a reservation that was cleared may be heard of yet.
func TestNoAlarmForAReservationThatCameToNothing(t *testing.T) {
	r := newRig(t, overlap)
	reserver, owner := r.standby(n1), r.standby(n3)
	rec := ownedBy(owner, 5)
	rec.High = 6
	r.put(rec)
	r.pass(time.Second)
	for _, proof := range proofs {
		reserver.runs(6, func(b *Beat) { proof(r, b) })
	}
	r.wantAlarms(0)
}

func TestAlarmEpochGivenTwice(t *testing.T) {
	r, _, before := rivals(t)
	rec := ownedBy(before, 5)
	rec.Owner.Nonce = "another claim"
	r.put(rec)
	r.wantAlarms(1)
	if h := r.alarms()[0]; h.Node != n1 || h.From != n3 || h.Epoch != 5 || h.Claim != "another claim" {
		t.Errorf("alarm %+v", h)
	}
	r.put(rec)
	r.pass(time.Minute)
	r.put(rec)
	r.wantAlarms(1)
}

func TestAlarmEpochWentBack(t *testing.T) {
	r, _, before := rivals(t)
	r.put(ownedBy(before, 3))
	r.wantAlarms(1)
	if h := r.alarms()[0]; h.Node != n1 || h.Epoch != 3 {
		t.Errorf("alarm %+v", h)
	}
}

// A replica, or a leader that was cut off, shows old pictures; an old one of the
// same bucket proves nothing, whatever this node was acknowledged meanwhile.
func TestNoAlarmForAnOldPicture(t *testing.T) {
	r, owner, before := rivals(t)
	old := policy.View{Snapshot: true, Identity: bucketID, Seq: r.rev - 1, Cells: []policy.Cell{r.cells[policy.AppKey(theApp)]}}
	rec := ownedBy(before, 4)
	old.Cells[0].App, old.Cells[0].Rev = &rec, 3
	r.put(ownedBy(owner, 6))
	r.step(Viewed{View: old})
	r.wantAlarms(0)
	r.put(ownedBy(before, 4)) // later than all that was seen
	r.wantAlarms(1)
}

// Another bucket in which epochs begin again.
func TestAlarmBucketWithLowerEpochs(t *testing.T) {
	r, _, before := rivals(t)
	rec := ownedBy(before, 2)
	r.step(Viewed{View: policy.View{Snapshot: true, Identity: "another", Seq: 2, Cells: []policy.Cell{{Key: policy.AppKey(theApp), Rev: 2, App: &rec}}}})
	r.wantAlarms(1)
}

// Another owner in the record, although this node's session is valid and it gave
// the app to nobody.
func TestAlarmUsurped(t *testing.T) {
	r := newRig(t)
	p := r.standby(n3)
	r.owns()
	r.put(ownedBy(p, 20))
	r.killed()
	r.wantAlarms(1)
	if h := r.alarms()[0]; h.Node != n3 || h.From != n2 || h.Epoch != 20 {
		t.Errorf("alarm %+v", h)
	}
}

// Whoever can write records can't fill the ledger.
func TestAlarmsAreDamped(t *testing.T) {
	r, _, before := rivals(t)
	for i := range 100 {
		rec := ownedBy(before, 5)
		rec.Owner.Nonce = policy.Nonce(rune('a' + i%26))
		rec.Owner.SRev = policy.Revision(i)
		r.put(rec)
	}
	r.wantAlarms(1)
}

// A session that was read back and never renewed has no deadline. In another
// bucket it would be adrift for ever, and its node without a session.
func TestAdoptedSessionEndsWithItsBucket(t *testing.T) {
	r := bareRig(t, manualRenew)
	r.snapshot()
	w := r.write(OpRegister)
	r.commit(w)
	r.unknown(w)
	r.reread()
	r.write(OpRenew)
	r.cells = map[policy.Key]policy.Cell{}
	r.step(Viewed{View: policy.View{Snapshot: true, Identity: "another", Seq: 2}})
	r.pass(r.m.quarantine() + 100*time.Millisecond)
	r.write(OpRegister)
}
