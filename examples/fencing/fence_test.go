package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
)

// writer is an instance of an epoch, on a server of the test.
func writer(epoch uint64) environment {
	e := environment{app: "ledger", cluster: "test", node: "n@h", epoch: epoch}
	e.args.Replicas = 1
	return e
}

func connectTo(t *testing.T, s *embedded.Server) jetstream.JetStream {
	t.Helper()
	opts, err := s.Authority().ConnOptions(cred.App, "test")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.ClientURL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestOldWritersAreRefused: by a higher epoch, by the same one, and not by one
// that is lower, which is refused itself.
func TestOldWritersAreRefused(t *testing.T) {
	s := embeddedtest.Start(t)
	ctx, js := limited(t), connectTo(t, s)
	open := func(epoch uint64) *ledger {
		t.Helper()
		l, err := openLedger(ctx, js, writer(epoch))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	add := func(l *ledger, want uint64) {
		t.Helper()
		if e, err := l.add(ctx); err != nil || e.N != want {
			t.Fatalf("entry %+v, %v, want number %d", e, err, want)
		}
	}
	refused := func(l *ledger) {
		t.Helper()
		if e, err := l.add(ctx); !errors.Is(err, errFenced) {
			t.Fatalf("entry %+v of an old writer: %v", e, err)
		}
	}
	first := open(5)
	add(first, 1)
	add(first, 2)
	second := open(7)
	refused(first)
	add(second, 3)
	refused(first)
	if _, err := openLedger(ctx, js, writer(6)); !errors.Is(err, errFenced) {
		t.Errorf("the fence was lowered: %v", err)
	}
	add(second, 4)
	restarted := open(7)
	refused(second)
	add(restarted, 5)
	checkHistory(t, readHistory(t, js, "regent_test_app_ledger"))

	// It is the fence that refuses: without it the old writer gets through.
	text := `{"n":6,"epoch":5}`
	unguarded := &nats.Msg{Subject: first.subject, Data: []byte(text)}
	if _, err := js.PublishMsg(ctx, unguarded); err != nil {
		t.Fatal(err)
	}
	if h := readHistory(t, js, "regent_test_app_ledger"); faults(h) == nil {
		t.Error("an unguarded write of the old instance is not noticed")
	}
}

// TestTwoRaiseAtOnce: of two that have read the same mark the one with the
// higher epoch ends up with the fence, whoever came first.
func TestTwoRaiseAtOnce(t *testing.T) {
	s := embeddedtest.Start(t)
	ctx, js := limited(t), connectTo(t, s)
	for epoch := uint64(1); epoch < 40; epoch += 2 {
		results := make(chan error, 2)
		var ledgers [2]*ledger
		for i := range 2 {
			go func() {
				var err error
				ledgers[i], err = openLedger(ctx, js, writer(epoch+uint64(i)))
				results <- err
			}()
		}
		for range 2 {
			if err := <-results; err != nil && !errors.Is(err, errFenced) {
				t.Fatal(err)
			}
		}
		if _, err := ledgers[1].add(ctx); err != nil {
			t.Fatalf("the higher epoch: %v", err)
		}
		if ledgers[0] != nil {
			if _, err := ledgers[0].add(ctx); !errors.Is(err, errFenced) {
				t.Fatalf("the lower epoch: %v", err)
			}
		}
	}
	checkHistory(t, readHistory(t, js, "regent_test_app_ledger"))
}

// TestManyWriters: one after the other takes over while those before write on, on
// three servers among which the stream's leadership moves all the time.
func TestManyWriters(t *testing.T) {
	var servers []*embedded.Server
	voters := embeddedtest.Voters(t, 3)
	for i := range voters {
		o := embeddedtest.Options(t, voters[i].Name)
		o.Voters, o.ClusterListen = voters, voters[i].ClusterAddr
		servers = append(servers, embeddedtest.StartWith(t, o))
	}
	for _, s := range servers {
		embeddedtest.WaitReady(t, s)
	}
	ctx, js := limited(t), connectTo(t, servers[0])
	const last = 12
	newest, stop := context.WithCancel(ctx) // nobody takes over from the newest
	var writers sync.WaitGroup
	refused := make(chan error, last)
	for epoch := range uint64(last) {
		e := writer(epoch + 1)
		e.args.Replicas = 3
		l, err := openLedger(ctx, connectTo(t, servers[epoch%3]), e)
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			var err error
			for err == nil && (e.epoch < last || newest.Err() == nil) {
				_, err = l.add(ctx)
			}
			refused <- err
		})
		for range 5 { // it writes beside the old ones for a while
			_, _ = js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+e.stream(), nil, 200*time.Millisecond)
			sleep(ctx, 20*time.Millisecond)
		}
	}
	stop()
	writers.Wait()
	close(refused)
	fenced := 0
	for err := range refused {
		if errors.Is(err, errFenced) {
			fenced++
		} else if err != nil {
			t.Error(err)
		}
	}
	h := readHistory(t, js, "regent_test_app_ledger")
	checkHistory(t, h)
	t.Logf("%d messages of %d epochs, %d writers were refused", len(h), h[len(h)-1].Epoch, fenced)
	if fenced != last-1 {
		t.Errorf("%d writers of %d were refused", fenced, last-1)
	}
}

// TestRepeatsAreStoredOnce: what was sent again because no answer came is one
// entry.
func TestRepeatsAreStoredOnce(t *testing.T) {
	s := embeddedtest.Start(t)
	ctx := limited(t)
	deaf := &deafOnce{JetStream: connectTo(t, s)}
	l, err := openLedger(ctx, deaf, writer(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.add(ctx); err != nil {
			t.Fatal(err)
		}
	}
	h := readHistory(t, deaf, "regent_test_app_ledger")
	checkHistory(t, h)
	if len(h) != 4 || deaf.lost != 4 {
		t.Errorf("%d messages of 4, %d answers lost", len(h), deaf.lost)
	}
}

// deafOnce does not hear the first answer to any message.
type deafOnce struct {
	jetstream.JetStream
	seen map[string]bool
	lost int
}

func (d *deafOnce) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.JetStream.PublishMsg(ctx, m, opts...)
	id := m.Header.Get(jetstream.MsgIDHeader)
	if err == nil && !d.seen[id] {
		if d.seen == nil {
			d.seen = map[string]bool{}
		}
		d.seen[id] = true
		d.lost++
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

// stored is a message of the stream: a mark on the fence, or an entry.
type stored struct {
	mark bool
	entry
}

// readHistory is everything that the stream has, in its order.
func readHistory(t *testing.T, js jetstream.JetStream, stream string) (h []stored) {
	t.Helper()
	ctx := limited(t)
	s, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for seq := uint64(0); seq < last; {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		at, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		seq = at.Sequence.Stream
		e := stored{mark: strings.HasSuffix(m.Subject(), ".fence")}
		if err := json.Unmarshal(m.Data(), &e.entry); err != nil {
			t.Fatal(err)
		}
		h = append(h, e)
	}
	return h
}

// checkHistory demands what fencing is for: epochs never go back, every entry
// is of the author whose mark stands before it, and the ledger has no gap and
// no line twice.
func checkHistory(t *testing.T, h []stored) {
	t.Helper()
	for _, f := range faults(h) {
		t.Error(f)
	}
}

func faults(h []stored) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	var epoch, n uint64
	for i, e := range h {
		switch {
		case e.Epoch < epoch:
			say("message %d has epoch %d after %d", i+1, e.Epoch, epoch)
		case !e.mark && e.Epoch != epoch:
			say("message %d has epoch %d under the mark of %d", i+1, e.Epoch, epoch)
		case !e.mark && e.N != n+1:
			say("message %d is entry %d after entry %d", i+1, e.N, n)
		}
		epoch = max(epoch, e.Epoch)
		if !e.mark {
			n = e.N
		}
	}
	if n == 0 {
		say("there is no entry: the test looks for the wrong thing")
	}
	return list
}

// TestFaultsAreNoticed: what the tests look for would be seen.
func TestFaultsAreNoticed(t *testing.T) {
	mark := func(epoch uint64) stored { return stored{true, entry{Epoch: epoch}} }
	line := func(n, epoch uint64) stored { return stored{false, entry{N: n, Epoch: epoch}} }
	good := []stored{mark(1), line(1, 1), mark(3), mark(3), line(2, 3)}
	if list := faults(good); len(list) > 0 {
		t.Errorf("%v", list)
	}
	for _, more := range [][]stored{{line(3, 1)}, {mark(2)}, {line(3, 4)}, {line(2, 3)}, {line(4, 3)}} {
		if faults(append(slices.Clone(good), more...)) == nil {
			t.Errorf("nothing is wrong with %+v", more)
		}
	}
	if faults(good[:1]) == nil {
		t.Error("an empty ledger is well")
	}
}
