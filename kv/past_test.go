package kv_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/policy"
)

// The revisions of the apps' records that the bucket keeps are read in order,
// with those that can't be read, and nothing else.
func TestPastOfRecords(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	var rev policy.Revision
	for i := range policy.Epoch(12) {
		rec := policy.AppRecord{App: "a", High: i + 1, Want: policy.WantRun}
		var outcome policy.Outcome
		var err error
		if rev, outcome, err = s.CAS(t.Context(), policy.Write{Cell: policy.Cell{Key: policy.AppKey("a"), App: &rec}, Expect: rev}); outcome != policy.OutcomeOK {
			t.Fatal(outcome, err)
		}
	}
	if _, _, err := s.CASKey(t.Context(), "app.b", []byte("garbage"), 0, ""); err != nil {
		t.Fatal(err)
	}
	var highs []policy.Epoch
	damaged := 0
	var last policy.Revision
	if err := s.Past(t.Context(), func(c policy.Cell) error {
		if c.Rev <= last {
			t.Errorf("revision %d after %d", c.Rev, last)
		}
		if last = c.Rev; c.Damaged != "" {
			damaged++
			return nil
		}
		highs = append(highs, c.App.High)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(highs) != 10 || highs[0] != 3 || highs[9] != 12 || damaged != 1 {
		t.Errorf("read %v, %d damaged", highs, damaged)
	}
	enough := errors.New("enough")
	if err := s.Past(t.Context(), func(policy.Cell) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}
