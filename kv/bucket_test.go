package kv_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

// tryOpen opens the bucket of cluster "test" with a deadline.
func tryOpen(t *testing.T, nc *nats.Conn, within time.Duration, opts kv.Options) (*kv.Store, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	opts.Cluster = "test"
	return kv.Open(ctx, nc, opts)
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestTheBucketIsAKVBucketForOtherClients(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	write := appWrite("my@app", 1, 0, "id-1")
	rev, outcome, err := s.CAS(t.Context(), write)
	if outcome != policy.OutcomeOK {
		t.Fatal(outcome, err)
	}
	js := jetStream(t, nc)
	bucket, err := js.KeyValue(t.Context(), "regent_test")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := bucket.Get(t.Context(), "app.my=40app")
	if err != nil {
		t.Fatal(err)
	}
	if entry.Revision() != uint64(rev) || !strings.HasPrefix(string(entry.Value()), `{"owner":"n1@h","epoch":1,`) {
		t.Errorf("revision %d: %s", entry.Revision(), entry.Value())
	}
	status, err := bucket.Status(t.Context())
	if err != nil || status.History() != 10 {
		t.Errorf("history %d, %v, expected 10", status.History(), err)
	}
	info, err := js.Stream(t.Context(), "KV_regent_test")
	if err != nil {
		t.Fatal(err)
	}
	if c := info.CachedInfo().Config; c.AllowDirect || c.RePublish == nil || c.Description == "" || c.Replicas != 1 || !c.AllowAtomicPublish {
		t.Errorf("settings of the stream: %+v", c)
	}
}

func TestIdentityIsWrittenOnceAndKept(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	var stores [4]*kv.Store
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = tryOpen(t, nc, patience, kv.Options{Node: "n1@h"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		if s == nil || s.Identity() == "" || s.Identity() != stores[0].Identity() {
			t.Fatal("several nodes that open a bucket at once see different identities")
		}
	}
	value, rev, err := stores[0].ReadKey(t.Context(), "identity")
	var id struct {
		ID        string `json:"id"`
		CreatedBy string `json:"created_by"`
	}
	if err != nil || rev == 0 || json.Unmarshal(value, &id) != nil || id.CreatedBy != "n1@h" || !strings.HasSuffix(string(stores[0].Identity()), id.ID) {
		t.Errorf("key identity at %d: %s, %v", rev, value, err)
	}
}

func TestAnIdentityThatWasDamagedIsReplacedByEnsure(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	s := open(t, nc)
	bucket, err := jetStream(t, nc).KeyValue(t.Context(), "regent_test")
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func() error{
		"deleted": func() error { return bucket.Delete(t.Context(), "identity") },
		"garbage": func() error { _, err := bucket.PutString(t.Context(), "identity", "xyz"); return err },
	} {
		before := s.Identity()
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if err := s.Ensure(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if s.Identity() == before || s.Identity() == "" {
			t.Errorf("%s: identity %q after %q", what, s.Identity(), before)
		}
	}
}

func TestAForeignBucketIsRefusedWithTheDifferences(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	if _, err := jetStream(t, nc).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "regent_test", History: 5}); err != nil {
		t.Fatal(err)
	}
	_, err := tryOpen(t, nc, patience, kv.Options{})
	if !errors.Is(err, kv.ErrForeignBucket) {
		t.Fatal(err)
	}
	for _, part := range []string{
		`bucket "regent_test"`, "max_msgs_per_subject is 5, expected 10", "allow_direct is true, expected false",
		"republish is off, expected $KV.regent_test.> to regent.test.kv.>",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not say %q", err, part)
		}
	}
	if kv.Hint(err) == "" {
		t.Error("no hint")
	}
}

func TestAnotherCookieIsRefused(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "aa:bb"}); err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{"aa:bb", ""} {
		if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: same}); err != nil {
			t.Errorf("fingerprint %q: %v", same, err)
		}
	}
	if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "cc:dd"}); !errors.Is(err, kv.ErrOtherCookie) {
		t.Errorf("another fingerprint: %v", err)
	}
}

func TestBindCreatesNothing(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	if _, err := kv.Bind(t.Context(), nc, kv.Options{Cluster: "test"}); !errors.Is(err, kv.ErrNoBucket) {
		t.Errorf("without a bucket: %v", err)
	}
	s := open(t, nc)
	b, err := kv.Bind(t.Context(), nc, kv.Options{Cluster: "test"})
	if err != nil || b.Identity() != s.Identity() {
		t.Errorf("with a bucket: %v", err)
	}
}

func TestWithoutJetStream(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t, func(o *server.Options) { o.JetStream = false })})
	var waited []error
	_, err := tryOpen(t, nc, patience, kv.Options{WaitFor: 200 * time.Millisecond, Waiting: func(err error) { waited = append(waited, err) }})
	if !errors.Is(err, kv.ErrNoJetStream) || !strings.Contains(kv.Hint(err), "jetstream {}") {
		t.Errorf("%v, hint %q", err, kv.Hint(err))
	}
	if len(waited) != 1 || !errors.Is(waited[0], kv.ErrNoJetStream) {
		t.Errorf("told why it waits: %v, expected once", waited)
	}
}

func TestWithoutRights(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"other.>"}},
		}}}
	})}, nats.UserInfo("u", "p"))
	_, err := tryOpen(t, nc, patience, kv.Options{})
	if !errors.Is(err, kv.ErrNoRights) || kv.Hint(err) == "" {
		t.Errorf("%v, hint %q", err, kv.Hint(err))
	}
}

func TestMoreReplicasThanServers(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	_, err := tryOpen(t, nc, patience, kv.Options{Replicas: 3, WaitFor: 200 * time.Millisecond})
	if !errors.Is(err, kv.ErrTooFewServers) {
		t.Errorf("three replicas on one server: %v", err)
	}
}

func TestOpenWaitsForAQuorumUntilTheContextEnds(t *testing.T) {
	servers := startCluster(t, 3)
	for _, s := range servers[1:] {
		s.Shutdown()
		s.WaitForShutdown()
	}
	nc := connect(t, servers[:1])
	_, err := tryOpen(t, nc, time.Second, kv.Options{})
	if !errors.Is(err, kv.ErrNoAnswer) && !errors.Is(err, kv.ErrNoQuorum) {
		t.Errorf("one of three servers: %v", err)
	}
}

func TestReplicasFollowTheNumberOfServers(t *testing.T) {
	servers := startCluster(t, 3)
	s := open(t, connect(t, servers))
	await(t, "a quorum of three", func() bool {
		q, err := s.Quorum(t.Context())
		return err == nil && q.OK && q.Servers == 3 && q.Leader != "" && len(q.Peers) == 2
	})
}

func TestTwoServersKeepOneReplica(t *testing.T) {
	s, err := tryOpen(t, connect(t, startCluster(t, 2)), patience, kv.Options{WaitFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := s.Quorum(t.Context()); err != nil || !q.OK || q.Servers != 1 {
		t.Errorf("%+v, %v", q, err)
	}
}
