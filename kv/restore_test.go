package kv_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

// Entries of one bucket are restored into another: records of apps without an
// owner, other keys as they were, sessions not at all. A second restore has
// nothing to do, and a plan does nothing.
func TestBackupAndRestore(t *testing.T) {
	from := open(t, connect(t, []*server.Server{startServer(t)}))
	for _, c := range []policy.Cell{
		{Key: policy.AppKey("a"), App: &policy.AppRecord{App: "a", High: 5, Want: policy.WantRun, Owner: policy.Slot{Node: "n1@h", Session: "s", Epoch: 5}, Phase: policy.PhaseRunning}},
		{Key: policy.NodeKey("n1@h"), Node: &policy.SessionRecord{Node: "n1@h", Session: "s", State: policy.SessionLive}},
	} {
		if _, outcome, err := from.CAS(t.Context(), policy.Write{Cell: c, ID: uuid.NewString()}); outcome != policy.OutcomeOK {
			t.Fatal(outcome, err)
		}
	}
	if _, outcome, err := from.CASKey(t.Context(), "permit.a", []byte(`{"v":1}`), 0, uuid.NewString()); outcome != policy.OutcomeOK {
		t.Fatal(outcome, err)
	}
	entries, err := from.Entries(t.Context())
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}

	to := open(t, connect(t, []*server.Server{startServer(t)}))
	for i, plan := range []bool{true, false, false} {
		restored, err := to.Restore(t.Context(), entries, plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range restored {
			want := i < 2 && r.Key != "node.n1=40h"
			if r.Changed != want {
				t.Errorf("restore %d, plan %v: %+v, want changed: %v", i, plan, r, want)
			}
		}
	}
	cell, err := to.Read(t.Context(), policy.AppKey("a"))
	if err != nil || cell.App == nil || !cell.App.Owner.Empty() || cell.App.High != 5 || cell.App.Want != policy.WantRun {
		t.Errorf("restored: %+v, %v", cell.App, err)
	}
	if value, _, err := to.ReadKey(t.Context(), "permit.a"); string(value) != `{"v":1}` || err != nil {
		t.Errorf("restored: %s, %v", value, err)
	}
	if cell, err := to.Read(t.Context(), policy.NodeKey("n1@h")); err != nil || !cell.Absent() {
		t.Errorf("a session was restored: %+v, %v", cell, err)
	}
}

// The replicas of a bucket that was made by fewer voters grow to those of the
// options; a bucket with more is another matter.
func TestGrow(t *testing.T) {
	servers := startCluster(t, 3)
	nc := connect(t, servers)
	one, err := tryOpen(t, nc, patience, kv.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.OpenLedger(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	three, err := tryOpen(t, nc, patience, kv.Options{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // repeating does no harm
		await(t, "grown", func() bool { return three.Grow(t.Context()) == nil })
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"KV_" + three.Bucket(), three.Bucket() + "_events"} {
		await(t, name+" is at three servers", func() bool {
			stream, err := js.Stream(t.Context(), name)
			if err != nil {
				return false
			}
			c := stream.CachedInfo().Cluster
			return len(c.Replicas) == 2 && c.Replicas[0].Current && c.Replicas[1].Current
		})
	}
	if _, err := tryOpen(t, nc, patience, kv.Options{Replicas: 1}); err == nil {
		t.Error("a bucket with more replicas than voters was taken")
	}
}
