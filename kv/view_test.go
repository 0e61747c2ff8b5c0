package kv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/policy"
)

// put writes app until its outcome is known, and demands that it is applied.
func put(t *testing.T, s *kv.Store, w policy.Write) policy.Revision {
	t.Helper()
	var rev policy.Revision
	await(t, "an acknowledgement of "+w.ID, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, outcome, err := s.CAS(ctx, w)
		if outcome == policy.OutcomeRefused {
			t.Fatalf("%s was refused: %v", w.ID, err)
		}
		rev = r
		return outcome == policy.OutcomeOK
	})
	return rev
}

func watched(t *testing.T, s *kv.Store) *kvtest.Observer {
	t.Helper()
	w := kvtest.Observe(t, s)
	w.Await(t, "a snapshot", func(o kvtest.Observed) bool { return o.Snapshots > 0 && o.Lost == "" })
	return w
}

func sees(app policy.App, rev policy.Revision) func(kvtest.Observed) bool {
	return func(o kvtest.Observed) bool {
		return o.Cells[policy.AppKey(app).String()].Rev == rev && o.Lost == ""
	}
}

func bucketOf(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	bucket, err := jetStream(t, nc).KeyValue(t.Context(), "regent_test")
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

func TestAWatchSurvivesTheLossOfItsServer(t *testing.T) {
	servers := startCluster(t, 3)
	writer := open(t, connect(t, servers[1:]))
	w := watched(t, open(t, connect(t, servers)))
	rev := put(t, writer, appWrite("app", 1, 0, "1"))
	w.Await(t, "the change", sees("app", rev))
	servers[0].Shutdown()
	rev = put(t, writer, appWrite("app", 2, rev, "2"))
	w.Await(t, "the change after the server's end", sees("app", rev))
	if o := w.Now(); o.Losses == 0 || o.Snapshots < 2 {
		t.Errorf("reconnected with %d losses and %d snapshots", o.Losses, o.Snapshots)
	}
}

func TestAWatchSurvivesChangesOfTheLeader(t *testing.T) {
	servers := startCluster(t, 3)
	s := open(t, connect(t, servers))
	w := watched(t, s)
	var rev policy.Revision
	for i, name := range []string{"s1", "s2", "s3", "s1"} {
		// The election of the wanted one may fail; it happens once, and is asked for again.
		await(t, "leader "+name, func() bool {
			_ = s.StepDown(t.Context(), name)
			leader, err := s.Leader(t.Context())
			return err == nil && leader == name
		})
		rev = put(t, s, appWrite("app", policy.Epoch(i+1), rev, name+fmt.Sprint(i)))
		w.Await(t, "the change under "+name, sees("app", rev))
	}
	if err := s.StepDown(t.Context(), "s1"); err != nil {
		t.Errorf("handing over to the one that leads: %v", err)
	}
	if err := s.StepDown(t.Context(), "nobody"); err == nil {
		t.Error("handing over to a server that isn't there has no error")
	}
}

func TestWithoutAQuorumThereIsNoSnapshot(t *testing.T) {
	servers := startCluster(t, 3)
	s := open(t, connect(t, servers))
	w := watched(t, s)
	for _, srv := range servers[1:] {
		srv.Shutdown()
	}
	nc := connect(t, servers[:1])
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "Lost", func(o kvtest.Observed) bool { return o.Lost != "" })
	if _, err := s.Probe(short(t)); err == nil {
		t.Error("a probe was acknowledged by one of three servers")
	}
	if q, err := s.Quorum(short(t)); q.OK || err == nil && q.Leader != "" && len(q.Peers) == 0 {
		t.Errorf("quorum of one of three: %+v, %v", q, err)
	}
	if o := w.Now(); o.Lost == "" {
		t.Error("a snapshot came from one of three servers")
	}
}

func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestAWatchSeesDamage(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	bucket := bucketOf(t, nc)
	put(t, s, appWrite("app", 1, 0, "1"))
	for _, key := range []string{"config", "permit.app", "app.no=app"} { // the last is no cell: it only moves the sequence
		if _, err := bucket.PutString(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Delete(t.Context(), "app.app"); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString(t.Context(), "node.n1=40h", "x"); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "the damage", func(o kvtest.Observed) bool { return o.Cells["node.n1=40h"].Damaged != "" })
	o := w.Now()
	if c := o.Cells["app.app"]; c.Damaged != "deleted" || c.Rev == 0 {
		t.Errorf("deleted cell: %+v", c)
	}
	if len(o.Cells) != 4 || o.Cells["config"].Damaged == "" || o.Cells["permit.app"].Damaged == "" || o.Losses != 0 {
		t.Errorf("%d cells, %d times lost", len(o.Cells), o.Losses)
	}
}

// A purge of the stream removes messages and stores none.
func TestAWatchNoticesKeysThatWereRemovedWithoutATrace(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	rev := put(t, s, appWrite("app", 1, 0, "1"))
	w.Await(t, "the change", sees("app", rev))
	stream, err := jetStream(t, nc).Stream(t.Context(), "KV_regent_test")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.regent_test.app.app")); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "a snapshot without the cell", func(o kvtest.Observed) bool { return o.Lost == "" && len(o.Cells) == 0 })
}

func TestAnIdentityThatIsMissingIsSeen(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	before := w.Now().Identity
	if before != s.Identity() {
		t.Errorf("identity %q in the view, %q in the store", before, s.Identity())
	}
	if err := bucketOf(t, nc).Delete(t.Context(), "identity"); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "a snapshot without identity", func(o kvtest.Observed) bool { return o.Lost == "" && o.Identity == "" })
	if err := s.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "another identity", func(o kvtest.Observed) bool {
		return o.Lost == "" && o.Identity == s.Identity() && o.Identity != before
	})
}

func TestABucketThatIsGoneIsLostUntilEnsured(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	before := w.Now().Identity
	if err := jetStream(t, nc).DeleteStream(t.Context(), "KV_regent_test"); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "Lost", func(o kvtest.Observed) bool { return o.Lost != "" })
	if err := s.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "another bucket", func(o kvtest.Observed) bool { return o.Lost == "" && o.Identity != before })
}

// Whoever may publish in this account can send what looks republished.
func TestAWatchIsNotMisledByMessagesOfOthers(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	rev := put(t, s, appWrite("app", 1, 0, "1"))
	w.Await(t, "the change", sees("app", rev))
	forged := func(seq string) *nats.Msg {
		m := nats.NewMsg("regent.test.kv.app.app")
		m.Header = nats.Header{"Nats-Stream": {"KV_regent_test"}, "Nats-Subject": {"$KV.regent_test.app.app"}, "Nats-Sequence": {seq}}
		return m
	}
	for _, m := range []*nats.Msg{
		{Subject: "regent.test.kv.app.app", Data: []byte("{}")},
		forged("x"), forged("0"), forged("1"), forged("99999"), forged("18446744073709551615"),
		{Subject: "regent.test.kv.app.app", Header: nats.Header{"Nats-Stream": {"OTHER"}, "Nats-Subject": {"$KV.regent_test.app.app"}, "Nats-Sequence": {"3"}}},
	} {
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	next := put(t, s, appWrite("app", 2, rev, "2"))
	w.Await(t, "the next change", sees("app", next))
	if c := w.Now().Cells["app.app"]; c.App == nil || c.App.Owner.Epoch != 2 {
		t.Errorf("cell after forged messages: %+v", c)
	}
}

// A stored message may carry headers of the same names as those that the
// stream adds when it republishes.
func TestHeadersOfTheMessageItselfDoNotCount(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	w := watched(t, s)
	m := nats.NewMsg("$KV.regent_test.app.app")
	m.Header = nats.Header{"Nats-Stream": {"OTHER"}, "Nats-Subject": {"$KV.regent_test.app.x"}, "Nats-Sequence": {"1"}}
	if _, err := nc.RequestMsg(m, patience); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "the change", func(o kvtest.Observed) bool { return o.Cells["app.app"].Damaged != "" })
	if o := w.Now(); o.Losses != 0 {
		t.Errorf("lost %d times", o.Losses)
	}
}

func TestAWatchEndsWhenItsConnectionIsClosed(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	err := s.Watch(t.Context(), func(policy.View) { nc.Close() })
	if !errors.Is(err, kv.ErrDisconnected) {
		t.Errorf("connection closed: %v", err)
	}
	if err := s.Watch(t.Context(), func(policy.View) {}); !errors.Is(err, kv.ErrDisconnected) {
		t.Errorf("begun on a closed connection: %v", err)
	}
}

func TestALargeBucketIsLoaded(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	const apps = 300
	for i := range apps {
		put(t, s, appWrite(policy.App(fmt.Sprintf("app%d", i)), 1, 0, fmt.Sprint(i)))
	}
	if o := watched(t, s).Now(); len(o.Cells) != apps {
		t.Errorf("%d cells of %d", len(o.Cells), apps)
	}
}

// A picture that isn't taken up makes no queue without bounds: what doesn't fit
// is a hole.
func TestASlowWatcherLosesAndLoadsAgain(t *testing.T) {
	srv := []*server.Server{startServer(t)}
	s := open(t, connect(t, srv, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})))
	flood := connect(t, srv)
	begun, goOn := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	views := make(chan policy.View, 20000)
	done := make(chan error, 1)
	go func() {
		first := true
		done <- s.Watch(ctx, func(v policy.View) {
			if first {
				first = false
				close(begun)
				<-goOn
			}
			views <- v
		})
	}()
	<-begun
	for range 9000 {
		if err := flood.Publish("$KV.regent_test.config", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := flood.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	var last policy.Revision
	await(t, "all of them to be stored", func() bool {
		rev, err := s.Probe(t.Context()) // unanswered while the server is busy
		last = rev
		return err == nil && rev > 9000
	})
	close(goOn)
	lost := false
	await(t, "a snapshot after the hole", func() bool {
		for len(views) > 0 {
			v := <-views
			lost = lost || v.Lost != ""
			if lost && v.Snapshot && v.Seq >= last {
				return true
			}
		}
		return false
	})
	cancel()
	<-done
}

// A store that comes back from an old copy has lost acknowledged writes, and
// gives their revisions again.
func TestAWatchSeesABucketThatWentBack(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	free := port.Free(t, 1)[0]
	start := func() *server.Server {
		return startServer(t, func(o *server.Options) { o.Port, o.StoreDir = free, dir })
	}
	stop := func(srv *server.Server) {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	srv := start()
	s := open(t, connect(t, []*server.Server{srv}))
	early := put(t, s, appWrite("app", 1, 0, "1"))
	stop(srv)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv = start()
	late := early
	for i := range 20 {
		late = put(t, s, appWrite("app", policy.Epoch(i+2), late, fmt.Sprint(i+2)))
	}
	w := watched(t, s)
	w.Await(t, "the last write", sees("app", late))
	before := w.Now()
	stop(srv)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	start()
	w.Await(t, "the old state", func(o kvtest.Observed) bool { return o.Lost == "" && o.Seq < before.Seq })
	if o := w.Now(); o.Identity != before.Identity || o.Cells["app.app"].Rev != early {
		t.Errorf("identity %q, before %q; cell at %d, it was at %d", o.Identity, before.Identity, o.Cells["app.app"].Rev, early)
	}
}
