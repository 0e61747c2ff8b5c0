package kvtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConforms(t *testing.T) {
	kvtest.Conformance(t, func(*testing.T) kvtest.Adapter {
		m := kvtest.New()
		return kvtest.Adapter{
			Store: m,
			Deaf: func(f func()) {
				m.Deaf(true)
				f()
				m.Deaf(false)
				m.Check()
			},
			Recreate: m.Recreate,
		}
	})
}

func session(n string, id string, expect policy.Revision) policy.Write {
	rec := &policy.SessionRecord{Node: "n1@h", Session: policy.Session(n), State: policy.SessionLive}
	return policy.Write{Cell: policy.Cell{Key: policy.NodeKey("n1@h"), Node: rec}, Expect: expect, ID: id}
}

func TestUnknownOutcomesLandNotAtAllAtOnceOrLate(t *testing.T) {
	key := policy.NodeKey("n1@h")
	tests := []struct {
		fault          kvtest.Fault
		atOnce, landed policy.Revision
	}{
		{kvtest.FaultNoRequest, 0, 0},
		{kvtest.FaultNoReply, 1, 1},
		{kvtest.FaultLate, 0, 1},
	}
	for _, tt := range tests {
		m := kvtest.New()
		m.Script(func(policy.Write) kvtest.Fault { return tt.fault })
		if _, outcome, err := m.CAS(t.Context(), session("a", "1", 0)); outcome != policy.OutcomeUnknown || err == nil {
			t.Errorf("fault %d: %v, %v, expected unknown and an error", tt.fault, outcome, err)
		}
		if c, _ := m.Read(t.Context(), key); c.Rev != tt.atOnce {
			t.Errorf("fault %d: revision %d at once, expected %d", tt.fault, c.Rev, tt.atOnce)
		}
		m.Land()
		if c, _ := m.Read(t.Context(), key); c.Rev != tt.landed {
			t.Errorf("fault %d: revision %d in the end, expected %d", tt.fault, c.Rev, tt.landed)
		}
	}
}

func TestALateWriteIsVoidedByALaterOne(t *testing.T) {
	m := kvtest.New()
	m.Script(func(w policy.Write) kvtest.Fault {
		if w.ID == "late" {
			return kvtest.FaultLate
		}
		return kvtest.FaultNone
	})
	_, _, _ = m.CAS(t.Context(), session("late", "late", 0))
	if _, outcome, _ := m.CAS(t.Context(), session("next", "next", 0)); outcome != policy.OutcomeOK {
		t.Fatalf("the next write: %v", outcome)
	}
	if n := m.Land(); n != 0 {
		t.Errorf("%d late writes landed on a cell that had changed", n)
	}
}

func TestStaleReads(t *testing.T) {
	m := kvtest.New()
	for i, s := range []string{"a", "b", "c"} {
		if _, outcome, _ := m.CAS(t.Context(), session(s, s, policy.Revision(i))); outcome != policy.OutcomeOK {
			t.Fatal(outcome)
		}
	}
	m.Stale(2)
	if c, _ := m.Read(t.Context(), policy.NodeKey("n1@h")); c.Rev != 1 || c.Node.Session != "a" {
		t.Errorf("two revisions ago: %d %v", c.Rev, c.Node)
	}
	m.Stale(3)
	if c, _ := m.Read(t.Context(), policy.NodeKey("n1@h")); !c.Absent() {
		t.Errorf("before the first revision: %d", c.Rev)
	}
}

func TestRollbackTakesBackWritesAndGivesTheirRevisionsAgain(t *testing.T) {
	m := kvtest.New()
	_, _, _ = m.CAS(t.Context(), session("a", "1", 0))
	_, _, _ = m.CAS(t.Context(), session("b", "2", 1))
	w := kvtest.Observe(t, m)
	w.Await(t, "a snapshot", func(o kvtest.Observed) bool { return o.Seq == 2 })
	m.Rollback(1)
	w.Await(t, "the lower sequence", func(o kvtest.Observed) bool { return o.Seq == 1 && o.Lost == "" })
	if rev, outcome, _ := m.CAS(t.Context(), session("b", "2", 1)); rev != 2 || outcome != policy.OutcomeOK {
		t.Errorf("the same write again: %d, %v; its id must be forgotten too", rev, outcome)
	}
}

func TestDownAndUpAgain(t *testing.T) {
	m := kvtest.New()
	w := kvtest.Observe(t, m)
	w.Await(t, "a snapshot", func(o kvtest.Observed) bool { return o.Snapshots == 1 })
	m.Down(true)
	w.Await(t, "Lost", func(o kvtest.Observed) bool { return o.Lost != "" })
	if _, err := m.Read(t.Context(), policy.NodeKey("n1@h")); err == nil {
		t.Error("a read while the store is down has no error")
	}
	m.Down(false)
	w.Await(t, "another snapshot", func(o kvtest.Observed) bool { return o.Snapshots == 2 })
}

func TestDamageIsSeen(t *testing.T) {
	m := kvtest.New()
	w := kvtest.Observe(t, m)
	rev := m.Damage(policy.AppKey("app"), "deleted")
	w.Await(t, "the damaged cell", func(o kvtest.Observed) bool { return o.Cells["app.app"].Rev == rev })
	if c := w.Now().Cells["app.app"]; c.Damaged != "deleted" || c.App != nil {
		t.Errorf("damaged cell: %+v", c)
	}
}
