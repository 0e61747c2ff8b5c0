package kv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func openLedger(t *testing.T, s *kv.Store) *kv.Ledger {
	t.Helper()
	l, err := kv.OpenLedger(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func event(typ kv.EventType, app policy.App, n, from node.Name) kv.Event {
	return kv.Event{Time: time.UnixMilli(1767366245123), Type: typ, App: app, Node: n, From: from, Epoch: 12, Detail: "why"}
}

func add(t *testing.T, l *kv.Ledger, e kv.Event, id string) uint64 {
	t.Helper()
	seq, err := l.Append(t.Context(), e, id)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func read(t *testing.T, l *kv.Ledger, f kv.EventFilter) []kv.Event {
	t.Helper()
	var events []kv.Event
	if err := l.Read(t.Context(), f, func(e kv.Event) error { events = append(events, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return events
}

func TestEventsAreReadAsTheyWereAppended(t *testing.T) {
	for name, servers := range map[string][]*server.Server{"one server": {startServer(t)}, "three servers": startCluster(t, 3)} {
		t.Run(name, func(t *testing.T) {
			l := openLedger(t, open(t, connect(t, servers)))
			if got := read(t, l, kv.EventFilter{}); got != nil {
				t.Errorf("an empty stream has %v", got)
			}
			want := event(kv.Failover, "my@app", "n2@h", "n1@h")
			seq := add(t, l, want, "1")
			if again := add(t, l, want, "1"); again != seq {
				t.Errorf("repeated at %d, the first is at %d", again, seq)
			}
			want.Schema, want.Seq, want.Time = 1, seq, want.Time.UTC()
			await(t, "the event", func() bool { return reflect.DeepEqual(read(t, l, kv.EventFilter{}), []kv.Event{want}) })
		})
	}
}

func TestEventsReadWellForOtherClients(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	l := openLedger(t, open(t, nc))
	seq := add(t, l, event(kv.Takeover, "my@app", "n2@h", "n1@h"), "")
	add(t, l, kv.Event{Type: kv.NodeUp, Node: "n2@h"}, "")
	add(t, l, kv.Event{Type: kv.Pause}, "")
	stream, err := jetStream(t, nc).Stream(t.Context(), "regent_test_events")
	if err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"regent.test.event.takeover.my=40app", "regent.test.event.node_up.n2=40h", "regent.test.event.pause._"} {
		msg, err := stream.GetMsg(t.Context(), seq+uint64(i))
		if err != nil || msg.Subject != subject {
			t.Fatalf("message %d: %v, %v, expected subject %s", i, msg, err, subject)
		}
	}
	msg, err := stream.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"time":"2026-01-02T15:04:05.123Z","type":"takeover","app":"my@app","node":"n2@h","from":"n1@h","epoch":12,"detail":"why"}`
	if string(msg.Data) != want {
		t.Errorf("stored\n     %s\nwant %s", msg.Data, want)
	}
	c := stream.CachedInfo().Config
	if c.MaxAge != 30*24*time.Hour || c.MaxBytes != 64<<20 || c.Description == "" {
		t.Errorf("settings: %+v", c)
	}
	out, err := json.Marshal(read(t, l, kv.EventFilter{App: "my@app"})[0])
	printed := `{"schema":1,"time":"2026-01-02T15:04:05.123Z","seq":1,"type":"takeover","app":"my@app","node":"n2@h","from":"n1@h","epoch":12,"detail":"why"}`
	if err != nil || string(out) != printed {
		t.Errorf("printed\n     %s\nwant %s", out, printed)
	}
}

func TestEventsAreSelected(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	l := openLedger(t, open(t, nc))
	add(t, l, event(kv.Claimed, "a", "n1@h", ""), "")
	add(t, l, event(kv.Failover, "a", "n2@h", "n1@h"), "")
	add(t, l, event(kv.Claimed, "b", "n2@h", ""), "")
	add(t, l, kv.Event{Type: kv.NodeDown, Node: "n1@h"}, "")
	if _, err := jetStream(t, nc).Publish(t.Context(), "regent.test.event.junk.a", []byte("{")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		filter kv.EventFilter
		want   []uint64
	}{
		{kv.EventFilter{}, []uint64{1, 2, 3, 4}},
		{kv.EventFilter{App: "a"}, []uint64{1, 2}},
		{kv.EventFilter{App: "c"}, nil},
		{kv.EventFilter{Node: "n1@h"}, []uint64{1, 2, 4}},
		{kv.EventFilter{App: "a", Node: "n2@h"}, []uint64{2}},
		{kv.EventFilter{Since: time.Now().Add(-time.Hour)}, []uint64{1, 2, 3, 4}},
		{kv.EventFilter{Since: time.Now().Add(time.Hour)}, nil},
	} {
		var got []uint64
		for _, e := range read(t, l, tt.filter) {
			got = append(got, e.Seq)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %v, expected %v", tt.filter, got, tt.want)
		}
	}
}

func TestReadGoesOnAfterAFullBatchAndStopsWhenTold(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	l := openLedger(t, open(t, nc))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const n = 600
	for range n {
		if _, err := js.PublishAsync("regent.test.event.claimed.a", []byte(`{"schema":1,"type":"claimed","app":"a"}`)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	if got := len(read(t, l, kv.EventFilter{})); got != n {
		t.Errorf("%d events of %d", got, n)
	}
	enough := errors.New("enough")
	count := 0
	err = l.Read(t.Context(), kv.EventFilter{}, func(kv.Event) error {
		if count++; count == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || count != 5 {
		t.Errorf("%d events, %v", count, err)
	}
}

func TestFollowSeesWhatWasAndWhatComes(t *testing.T) {
	servers := startCluster(t, 3)
	s := open(t, connect(t, servers[1:]))
	l := openLedger(t, s)
	add(t, l, event(kv.Claimed, "a", "n1@h", ""), "")
	follower := kv.BindLedger(open(t, connect(t, servers)))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	got := make(chan kv.Event, 100)
	done := make(chan error, 1)
	go func() {
		done <- follower.Follow(ctx, kv.EventFilter{App: "a"}, func(e kv.Event) error { got <- e; return nil })
	}()
	expect := func(seq uint64) {
		t.Helper()
		select {
		case e := <-got:
			if e.Seq != seq {
				t.Fatalf("event %d, expected %d", e.Seq, seq)
			}
		case <-time.After(patience):
			t.Fatalf("event %d does not come", seq)
		}
	}
	expect(1)
	add(t, l, event(kv.Claimed, "b", "n1@h", ""), "")
	add(t, l, event(kv.AppStarted, "a", "n1@h", ""), "")
	expect(3)
	servers[0].Shutdown()
	var seq uint64
	await(t, "an append after the loss of a server", func() bool {
		var err error
		seq, err = l.Append(t.Context(), event(kv.AppExited, "a", "n1@h", ""), "exit")
		return err == nil
	})
	expect(seq)
	cancel(enough)
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("Follow returned %v", err)
	}
}

func TestReadWithoutAStream(t *testing.T) {
	l := kv.BindLedger(open(t, connect(t, []*server.Server{startServer(t)})))
	if err := l.Read(t.Context(), kv.EventFilter{}, func(kv.Event) error { return nil }); !errors.Is(err, kv.ErrNoBucket) {
		t.Errorf("no stream: %v", err)
	}
}

func TestAForeignEventStreamIsRefused(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	if _, err := jetStream(t, nc).CreateStream(t.Context(), jetstream.StreamConfig{Name: "regent_test_events", Subjects: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.OpenLedger(t.Context(), s); !errors.Is(err, kv.ErrForeignBucket) {
		t.Errorf("foreign stream: %v", err)
	}
}

func TestHints(t *testing.T) {
	for _, err := range []error{
		kv.ErrNoAnswer, kv.ErrDisconnected, kv.ErrNoQuorum, kv.ErrNoJetStream, kv.ErrNoRights, kv.ErrNoBucket,
		kv.ErrForeignBucket, kv.ErrOtherCookie, kv.ErrTooFewServers, kv.ErrNoSpace, kv.ErrTooLarge,
	} {
		if kv.Hint(fmt.Errorf("x: %w", err)) == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if h := kv.Hint(errors.New("x")); h != "" {
		t.Errorf("hint %q for an unknown error", h)
	}
}
