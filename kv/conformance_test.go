package kv_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/kv/kvtest"
)

func TestStoreOnOneServerConforms(t *testing.T) {
	servers := []*server.Server{startServer(t)}
	conform(t, servers, 1)
}

func TestStoreOnThreeServersConforms(t *testing.T) {
	conform(t, startCluster(t, 3), 3)
}

// conform gives every test a bucket of its own on the same servers.
func conform(t *testing.T, servers []*server.Server, replicas int) {
	kvtest.Conformance(t, func(t *testing.T) kvtest.Adapter {
		nc := connect(t, servers)
		s := open(t, nc, func(o *kv.Options) {
			o.Cluster = strings.Map(letters, t.Name())[len("TestStoreOn"):][:32]
			o.Replicas = replicas
			o.Recreate = true
			o.Alternate = func() *nats.Conn { return nil }
		})
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return kvtest.Adapter{
			Store:    s,
			Deaf:     func(f func()) { withoutRepublish(t, js, s, f) },
			Recreate: func() { remove(t, js, s) }, // Watch makes it again
		}
	})
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return -1
}

// withoutRepublish runs f while the stream doesn't tell of what it stores.
func withoutRepublish(t *testing.T, js jetstream.JetStream, s *kv.Store, f func()) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_"+s.Bucket())
	if err != nil {
		t.Fatal(err)
	}
	normal := stream.CachedInfo().Config
	silent := normal
	silent.RePublish = nil
	if _, err := js.UpdateStream(t.Context(), silent); err != nil {
		t.Fatal(err)
	}
	f()
	if _, err := js.UpdateStream(t.Context(), normal); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, js jetstream.JetStream, s *kv.Store) {
	t.Helper()
	if err := js.DeleteStream(t.Context(), "KV_"+s.Bucket()); err != nil {
		t.Fatal(err)
	}
}
