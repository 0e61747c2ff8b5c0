package machine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

var noMemory = config(func(c *Config) { c.Memory = Memory{} })

func (r *rig) trusts() bool { return r.m.Status().Trusted }

func TestRule8BucketIdentity(t *testing.T) {
	t.Run("known from disk: at once", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		if !r.trusts() {
			t.Error("not trusted")
		}
	})
	for _, tc := range []struct {
		name   string
		memory Memory
	}{
		{"no memory", Memory{}},
		{"memory of another bucket", Memory{Identity: "another", Seq: 1}},
		{"its sequence is lower than remembered", Memory{Identity: bucketID, Seq: 1000}},
	} {
		t.Run(tc.name+": nothing for the longest lease and fence", func(t *testing.T) {
			r := bareRig(t, config(func(c *Config) { c.Memory = tc.memory }))
			r.unheard = true
			r.frozen(n3, func(s *policy.SessionRecord) { s.TTL = 7 * time.Second })
			r.snapshot()
			r.pass(7*time.Second + r.lease().Fence() - 20*time.Millisecond)
			r.noWrite()
			if w := r.m.Status().Waiting; len(w) != 1 || !strings.Contains(w[0], "--new-cluster") {
				t.Errorf("waiting = %q", w)
			}
			r.pass(50 * time.Millisecond)
			if len(r.writes) == 0 {
				t.Error("still waits")
			}
		})
	}
	t.Run("a lease that is remembered, of the bucket before", func(t *testing.T) {
		const theirs = 7 * time.Second
		r := newRig(t)
		r.frozen(n3, func(s *policy.SessionRecord) { s.TTL = theirs })
		mem := r.m.disk.durable
		if mem.Longest != theirs {
			t.Fatalf("memory = %+v", mem)
		}
		mem.Identity = "another"
		r = bareRig(t, config(func(c *Config) { c.Memory = mem }))
		r.snapshot()
		r.pass(theirs + r.lease().Fence() - 20*time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond)
		r.write(OpRegister)
		if got := r.m.disk.durable; got.Identity != bucketID || got.Longest != 0 {
			t.Errorf("memory = %+v, want none of the bucket before", got)
		}
	})
	t.Run("a live node that acts on it vouches", func(t *testing.T) {
		r := bareRig(t, noMemory)
		r.snapshot()
		p := r.join(n3)
		p.view = bucketID
		p.speak()
		r.noWrite() // it sees the same and does not act on it
		p.vouches, p.view = true, "another"
		p.speak()
		r.noWrite()
		p.view = bucketID
		p.speak()
		r.write(OpRegister)
	})
	t.Run("one that is not there does not", func(t *testing.T) {
		r := bareRig(t, noMemory)
		p := r.join(n3)
		p.vouches, p.view = true, bucketID
		p.speak()
		p.suspected()
		r.snapshot()
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("a true first boot: all heard, none remembers", func(t *testing.T) {
		r := bareRig(t, noMemory)
		r.snapshot()
		r.join(n1)
		r.noWrite()
		r.join(n3)
		r.write(OpRegister)
	})
	t.Run("no first boot when one remembers", func(t *testing.T) {
		r := bareRig(t, noMemory)
		r.snapshot()
		p := r.stranger(n1)
		p.memory = true
		p.register("s1")
		r.join(n3)
		r.pass(time.Second)
		r.noWrite()
		if w := r.m.Status().Waiting; !strings.Contains(w[0], "n1@h remembers another bucket") {
			t.Errorf("waiting = %q", w)
		}
	})
	t.Run("no first boot when this one does", func(t *testing.T) {
		r := bareRig(t, config(func(c *Config) { c.Memory = Memory{Identity: "another"} }))
		r.snapshot()
		r.join(n1)
		r.join(n3)
		r.pass(time.Second)
		r.noWrite()
		if w := r.m.Status().Waiting; !strings.Contains(w[0], "n2@h remembers another bucket") {
			t.Errorf("waiting = %q", w)
		}
	})
	t.Run("the operator says so", func(t *testing.T) {
		r := bareRig(t, noMemory, config(func(c *Config) { c.NewCluster = true }))
		r.snapshot()
		r.write(OpRegister)
	})
	t.Run("on disk before it is acted on", func(t *testing.T) {
		r := bareRig(t, noMemory, config(func(c *Config) { c.NewCluster = true }))
		r.ownDisk = true
		r.snapshot()
		r.noWrite()
		d := r.disk[0]
		if d.Memory.Identity != bucketID || d.Memory.Seq != r.rev {
			t.Errorf("memory = %+v", d.Memory)
		}
		r.disk = nil
		r.step(Remembered{Req: d.Req})
		r.pass(diskAgain - time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond)
		r.step(Remembered{Req: r.disk[0].Req, OK: true})
		r.write(OpRegister)
	})
	t.Run("nothing before the store answers", func(t *testing.T) {
		r := bareRig(t)
		r.pass(10 * time.Second)
		r.noWrite()
		if w := r.m.Status().Waiting; len(w) != 1 || w[0] != "the store to answer" {
			t.Errorf("waiting = %q", w)
		}
		r.step(Viewed{View: policy.View{Lost: "no responders"}})
		if w := r.m.Status().Waiting; w[0] != "the store: no responders" {
			t.Errorf("waiting = %q", w)
		}
	})
	// another shows an empty bucket of another identity.
	another := func(r *rig) { r.step(Viewed{View: policy.View{Snapshot: true, Identity: "another", Seq: 1}}) }
	t.Run("another bucket: run on until the deadline, claim nothing, then register", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		deadline := r.m.session.deadline
		seen := r.now
		another(r)
		r.cells = map[policy.Key]policy.Cell{}
		r.pass(deadline.Sub(r.now) - time.Millisecond)
		r.quiet()
		r.pass(time.Millisecond)
		if r.killed() != run {
			t.Error("killed another run")
		}
		r.step(Exited{Run: run})
		r.pass(seen.Add(r.lease().TTL+r.lease().Fence()).Sub(r.now) - time.Millisecond)
		r.noWrite()
		r.pass(time.Millisecond)
		if w := r.write(OpRegister); w.Write.Expect != 0 {
			t.Errorf("S1 = %+v", w.Write)
		}
	})
	t.Run("another bucket: what was open is nobody's", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		another(r)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: 99})
		r.pass(2 * time.Second)
		r.quiet()
	})
	t.Run("another bucket is no first boot", func(t *testing.T) {
		r := newRig(t, config(func(c *Config) { c.FirstBoot, c.NewCluster = nil, true }))
		another(r)
		r.pass(2 * time.Second)
		r.noWrite()
	})
	t.Run("the sequence went back: nothing is written, then all anew", func(t *testing.T) {
		r := newRig(t)
		run, _ := r.owns()
		r.step(Viewed{View: policy.View{Snapshot: true, Identity: bucketID, Seq: 2}})
		if w := r.m.Status().Waiting; len(w) != 1 || !strings.Contains(w[0], "went back") {
			t.Errorf("waiting = %q", w)
		}
		r.now = r.m.session.deadline
		r.step(Tick{})
		if r.killed() != run {
			t.Error("killed another run")
		}
		r.step(Exited{Run: run})
		r.noWrite()
		r.pass(r.lease().TTL + r.lease().Fence())
		r.step(Viewed{View: policy.View{Snapshot: true, Identity: bucketID, Seq: 3}})
		r.pass(r.lease().TTL + r.lease().Fence())
		if w := r.write(OpRegister); w.Write.Expect != 0 {
			t.Errorf("S1 = %+v", w.Write)
		}
	})
	// setBack is an owner whose store loses all from its claim on, and in which
	// somebody else has claimed since.
	setBack := func(t *testing.T, opts ...rigOption) (r *rig, run RunID, theirs policy.Cell) {
		r = newRig(t, opts...)
		p := r.stranger(n1)
		run, c := r.owns()
		rec := ownedBy(p, 5)
		theirs = policy.Cell{Key: c.Key, Rev: c.Rev - 1, App: &rec}
		r.cells[c.Key] = theirs
		return r, run, theirs
	}
	t.Run("the sequence went back and on, past where it was", func(t *testing.T) {
		r, run, _ := setBack(t)
		r.rev = 500
		r.snapshot()
		if r.trusts() {
			t.Error("acts on it")
		}
		if r.killed() != run {
			t.Error("killed another run")
		}
		r.step(Exited{Run: run})
		r.pass(r.lease().TTL + r.lease().Fence() - 20*time.Millisecond)
		r.noWrite()
		r.pass(50 * time.Millisecond) // and needs no other snapshot for that
		r.write(OpRegister)
	})
	t.Run("back, and then on by changes", func(t *testing.T) {
		r, run, theirs := setBack(t)
		r.step(Viewed{View: policy.View{Snapshot: true, Identity: bucketID, Seq: theirs.Rev, Cells: []policy.Cell{theirs}}})
		r.quiet() // it may be an old picture
		r.step(Viewed{View: policy.View{Identity: bucketID, Seq: 500}})
		if r.trusts() || r.killed() != run {
			t.Error("took it for an old picture")
		}
	})
	t.Run("a renewal gets a revision that was given before", func(t *testing.T) {
		r, run, _ := setBack(t, manualRenew)
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: r.rev})
		r.reread() // rule 9
		if r.trusts() || r.killed() != run {
			t.Error("goes on")
		}
	})
	t.Run("a claim that gets such a revision is no licence", func(t *testing.T) {
		r := newRig(t)
		w := r.claims()
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: r.rev})
		r.noStart()
	})
	t.Run("nobody vouches for a bucket that went back", func(t *testing.T) {
		r, _, theirs := setBack(t)
		p := r.standby(n3)
		p.vouches, p.view = true, bucketID
		r.cells[theirs.Key] = theirs
		r.rev = 500
		r.snapshot()
		p.says(func(*AppBeat) {})
		if r.trusts() {
			t.Error("acts on it")
		}
	})
	// forgets is a store that loses a record whose claim was acknowledged, and was
	// not yet in the picture.
	forgets := func(t *testing.T) (r *rig, run RunID, lost policy.Cell) {
		r = newRig(t)
		s, c := r.starting()
		r.step(Started{Run: s.Run})
		w := r.write(OpRunning)
		lost = r.commit(w)
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: lost.Rev})
		r.cells[c.Key] = c
		return r, s.Run, lost
	}
	t.Run("what was acknowledged is not in a picture that has come as far", func(t *testing.T) {
		r, run, lost := forgets(t)
		if !r.trusts() {
			t.Fatal("the echo is late, no more")
		}
		r.rev = lost.Rev - 1
		p := r.stranger(n3)
		p.rec.Session, p.rec.Agent = "s", "a"
		p.renew() // gets its revision
		if r.trusts() {
			t.Error("acts on it")
		}
		r.fenceNow()
		r.step(Exited{Run: run})
		r.pass(r.m.quarantine() + 50*time.Millisecond)
		if !slices.Contains(ops(r.writes), OpRegister) {
			t.Errorf("writes %v, and needs no snapshot for that", ops(r.writes))
		}
	})
	t.Run("nor in one that does not come as far for a lease and a fence", func(t *testing.T) {
		r, run, lost := forgets(t)
		r.ownRenew = true
		r.rev = lost.Rev - 1
		for r.now < r.m.bucket.aheadAt.Add(r.m.quarantine()) {
			if !r.trusts() {
				t.Fatal("too early")
			}
			r.pass(100 * time.Millisecond)
			r.writes = nil
		}
		if r.trusts() || r.killed() != run {
			t.Error("waits for ever")
		}
	})
	t.Run("where the picture is lost it is not expected to", func(t *testing.T) {
		r, _, _ := forgets(t)
		r.ownRenew = true
		r.step(Viewed{View: policy.View{Lost: "no connection"}})
		r.pass(3 * r.m.quarantine())
		if !r.trusts() {
			t.Error("does not act on it any more")
		}
	})
	t.Run("what was in no cell of a snapshot was not there", func(t *testing.T) {
		r := newRig(t)
		c := r.put(free(4))
		delete(r.cells, c.Key)
		r.rev++
		r.snapshot()
		if r.trusts() {
			t.Error("acts on it")
		}
	})
	t.Run("a permission that was forgotten", func(t *testing.T) {
		r := newRig(t)
		r.put(free(4))
		r.call(VerbPermit, permitted(false), func(c *Command) { c.Persist = true })
		w := r.write(OpPermit)
		rev := r.rev + 1
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: rev})
		p := r.stranger(n3)
		p.rec.Session, p.rec.Agent = "s", "a"
		p.renew()
		if r.trusts() {
			t.Error("acts on it")
		}
	})
	for name, catchUp := range map[string]func(r *rig){
		"snapshot": func(r *rig) { r.rev = 500; r.snapshot() },
		"change": func(r *rig) {
			for rev := range r.rev + 1 {
				for _, c := range r.cells {
					if c.Rev == rev {
						r.step(r.change(c))
					}
				}
			}
			r.step(Viewed{View: policy.View{Identity: bucketID, Seq: 500}})
		},
	} {
		t.Run("an old picture, caught up by a "+name, func(t *testing.T) {
			r := newRig(t)
			r.owns()
			r.step(Viewed{View: policy.View{Snapshot: true, Identity: bucketID, Seq: 2}})
			r.jump(10 * time.Millisecond)
			if r.trusts() {
				t.Error("trusted")
			}
			catchUp(r)
			if !r.trusts() {
				t.Error("not trusted again")
			}
			r.rev = 500
			r.pass(10 * time.Second)
			r.quiet()
		})
	}
}

// A vouching beat is one that acts on its bucket.
func TestRule8Vouching(t *testing.T) {
	r := bareRig(t, noMemory)
	r.snapshot()
	r.pass(2 * time.Second)
	if r.beat.Vouches || r.beat.Memory || r.beat.Identity != bucketID {
		t.Errorf("beat = %+v", r.beat)
	}
	r = newRig(t)
	if !r.beat.Vouches || !r.beat.Memory {
		t.Errorf("beat = %+v", r.beat)
	}
}
