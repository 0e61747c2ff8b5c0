package kv_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

// TestNames: who has a global name is decided by compare-and-set, and the epoch
// outlives the holder and the record.
func TestNames(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	ctx := t.Context()
	n, rev, err := s.ReadName(ctx, "my.name")
	if err != nil || rev != 0 || n != (kv.GlobalName{Name: "my.name"}) {
		t.Fatalf("%+v %d %v", n, rev, err)
	}
	want := kv.GlobalName{Name: "my.name", Node: "n1@h", PID: "<n1@h/l/1>", SRev: 3, Epoch: 1}
	if outcome, err := s.WriteName(ctx, want, 0); outcome != policy.OutcomeOK || err != nil {
		t.Fatalf("%v %v", outcome, err)
	}
	if outcome, err := s.WriteName(ctx, want, 0); outcome != policy.OutcomeRefused || err != nil {
		t.Errorf("second at the same revision: %v %v", outcome, err)
	}
	if n, rev, err = s.ReadName(ctx, "my.name"); err != nil || n != want || rev == 0 {
		t.Errorf("%+v %d %v", n, rev, err)
	}
	// A record that is no record has no holder, and its epochs don't begin anew.
	if _, outcome, err := s.CASKey(ctx, "name.my=2Ename", []byte("junk"), rev, ""); outcome != policy.OutcomeOK || err != nil {
		t.Fatalf("%v %v", outcome, err)
	}
	junk, at, err := s.ReadName(ctx, "my.name")
	if err != nil || junk.PID != "" || at <= rev || uint64(junk.Epoch) < uint64(want.Epoch) {
		t.Errorf("%+v %d %v", junk, at, err)
	}
	if _, outcome, err := s.CASKey(ctx, "name.my=2Ename", []byte(`{"name":"my.name","v":99}`), at, ""); outcome != policy.OutcomeOK || err != nil {
		t.Fatalf("%v %v", outcome, err)
	}
	if _, _, err := s.ReadName(ctx, "my.name"); err == nil {
		t.Error("a record of a newer version was read")
	}
}
