package kv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

func appWrite(app policy.App, epoch policy.Epoch, expect policy.Revision, id string) policy.Write {
	return policy.Write{
		Cell: policy.Cell{Key: policy.AppKey(app), App: &policy.AppRecord{
			App: app, Owner: policy.Slot{Node: "n1@h", Session: "s", Nonce: "n", Epoch: epoch}, High: epoch, Want: policy.WantRun,
		}},
		Expect: expect, ID: id,
	}
}

func TestTheOutcomeIsUnknownWhenNothingAnswers(t *testing.T) {
	srv := startServer(t)
	nc := connect(t, []*server.Server{srv})
	s := open(t, nc)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, outcome, err := s.CAS(ended, appWrite("app", 1, 0, "1")); outcome != policy.OutcomeUnknown || !errors.Is(err, kv.ErrNoAnswer) {
		t.Errorf("context ended: %v, %v", outcome, err)
	}
	if err := jetStream(t, nc).DeleteStream(t.Context(), "KV_regent_test"); err != nil {
		t.Fatal(err)
	}
	if _, outcome, err := s.CAS(t.Context(), appWrite("app", 1, 0, "1")); outcome != policy.OutcomeUnknown || !errors.Is(err, kv.ErrNoQuorum) {
		t.Errorf("no bucket: %v, %v", outcome, err)
	}
	if _, err := s.Read(t.Context(), policy.AppKey("app")); !errors.Is(err, kv.ErrNoBucket) {
		t.Errorf("read without a bucket: %v", err)
	}
	srv.Shutdown()
	await(t, "the disconnect", func() bool { return !nc.IsConnected() })
	if _, outcome, err := s.CAS(t.Context(), appWrite("app", 1, 0, "1")); outcome != policy.OutcomeUnknown || !errors.Is(err, kv.ErrDisconnected) {
		t.Errorf("disconnected: %v, %v", outcome, err)
	}
	if _, err := s.Read(t.Context(), policy.AppKey("app")); !errors.Is(err, kv.ErrDisconnected) {
		t.Errorf("read disconnected: %v", err)
	}
}

func TestWhatCanNotBeStoredIsNotSent(t *testing.T) {
	s := open(t, connect(t, []*server.Server{startServer(t)}))
	large := appWrite("app", 1, 0, "1")
	large.Cell.App.Payload = make([]byte, kv.MaxValue)
	if _, outcome, err := s.CAS(t.Context(), large); outcome != policy.OutcomeUnknown || !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("too large: %v, %v", outcome, err)
	}
	other := appWrite("app", 1, 0, "1")
	other.Cell.Key = policy.AppKey("other")
	if _, outcome, err := s.CAS(t.Context(), other); outcome != policy.OutcomeUnknown || !errors.Is(err, kv.ErrNoRecord) {
		t.Errorf("record of another key: %v, %v", outcome, err)
	}
}

func TestTheLargestValueCanBeReadBack(t *testing.T) {
	s := open(t, connect(t, []*server.Server{startServer(t)}))
	value := make([]byte, kv.MaxValue)
	rev, outcome, err := s.CASKey(t.Context(), "config", value, 0, "1")
	if outcome != policy.OutcomeOK {
		t.Fatal(outcome, err)
	}
	got, at, err := s.ReadKey(t.Context(), "config")
	if err != nil || at != rev || len(got) != len(value) {
		t.Errorf("%d bytes at %d, %v", len(got), at, err)
	}
}

func TestAlternateServer(t *testing.T) {
	servers := startCluster(t, 3)
	other := connect(t, servers[1:])
	asked := 0
	s := open(t, connect(t, servers), func(o *kv.Options) {
		o.Alternate = func() *nats.Conn {
			if asked++; asked == 1 {
				return nil // none yet: the usual one is taken
			}
			return other
		}
	})
	for i := range 2 {
		before := other.Stats().OutMsgs
		w := appWrite("app", 1, 0, fmt.Sprint(i))
		w.Alt = true
		_, outcome, err := s.CAS(t.Context(), w)
		if want := []policy.Outcome{policy.OutcomeOK, policy.OutcomeRefused}[i]; outcome != want {
			t.Fatalf("write %d: %v, %v, expected %v", i, outcome, err, want)
		}
		if used := other.Stats().OutMsgs > before; used != (i == 1) {
			t.Errorf("write %d used the other connection: %v", i, used)
		}
	}
}

// A replicated stream refuses a write for a moment although its revision is
// right, when the one before it is acknowledged but not quite finished.
func TestABusyKeyIsNoRefusal(t *testing.T) {
	s := open(t, connect(t, startCluster(t, 3)))
	const writers, writes = 8, 40
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			var rev policy.Revision
			for i := range writes {
				w := appWrite(policy.App(fmt.Sprintf("app%d", n)), policy.Epoch(i+1), rev, fmt.Sprintf("%d-%d", n, i))
				next, outcome, err := s.CAS(t.Context(), w)
				if outcome != policy.OutcomeOK {
					t.Errorf("write %d at the revision of its own last one: %v, %v", i, outcome, err)
					return
				}
				rev = next
			}
		})
	}
	wg.Wait()
}

// What timed out here lands later: the repetition is told where.
func TestARequestThatTimedOutMayHaveLanded(t *testing.T) {
	for name, servers := range map[string][]*server.Server{"one server": {startServer(t)}, "three servers": startCluster(t, 3)} {
		t.Run(name, func(t *testing.T) {
			nc := connect(t, servers)
			s := open(t, nc)
			w := appWrite("app", 1, 0, "1")
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Microsecond)
				_, outcome, _ := s.CAS(ctx, w)
				cancel()
				if outcome == policy.OutcomeRefused {
					t.Fatal("the same request was refused")
				}
			}
			rev, outcome, err := s.CAS(t.Context(), w)
			if outcome != policy.OutcomeOK {
				t.Fatal(outcome, err)
			}
			if c, err := s.Read(t.Context(), w.Cell.Key); err != nil || c.Rev != rev || c.App == nil {
				t.Errorf("acknowledged at %d, read at %d, %v", rev, c.Rev, err)
			}
		})
	}
}

func TestProbeIsLaterThanWhatWasAcknowledged(t *testing.T) {
	s := open(t, connect(t, []*server.Server{startServer(t)}))
	rev, _, err := s.CAS(t.Context(), appWrite("app", 1, 0, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := s.Probe(t.Context()); err != nil || at <= rev {
		t.Errorf("probe at %d after %d, %v", at, rev, err)
	}
}

func TestRemovedCellsAreDamagedNotAbsent(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	bucket, err := jetStream(t, nc).KeyValue(t.Context(), "regent_test")
	if err != nil {
		t.Fatal(err)
	}
	key := policy.AppKey("app")
	for _, remove := range []struct {
		how  func() error
		want string
	}{
		{func() error { return bucket.Delete(t.Context(), key.String()) }, "deleted"},
		{func() error { return bucket.Purge(t.Context(), key.String()) }, "deleted (purged)"},
		{func() error { _, err := bucket.PutString(t.Context(), key.String(), "x"); return err }, "not a record: invalid character 'x' looking for beginning of value"},
	} {
		if err := remove.how(); err != nil {
			t.Fatal(err)
		}
		c, err := s.Read(t.Context(), key)
		if err != nil || c.Rev == 0 || c.Damaged != remove.want || c.App != nil {
			t.Errorf("expected %q: %+v, %v", remove.want, c, err)
		}
		if _, outcome, err := s.CAS(t.Context(), appWrite("app", 1, c.Rev, remove.want)); outcome != policy.OutcomeOK {
			t.Errorf("writing over it at its revision: %v, %v", outcome, err)
		}
	}
}
