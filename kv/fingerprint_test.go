package kv_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/kv"
)

// A bucket changes hands when it is opened with a new cookie that accepts the
// old one, stays the same bucket, and is closed to the old one from then on.
func TestCookieOfABucketIsReplaced(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	first, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "old"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "new", Accepted: []string{"another"}}); !errors.Is(err, kv.ErrOtherCookie) {
		t.Errorf("a cookie that does not accept the old one: %v", err)
	}
	second, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "new", Accepted: []string{"new", "old"}})
	if err != nil || second.Identity() != first.Identity() {
		t.Errorf("identity %s, before %s, %v", second.Identity(), first.Identity(), err)
	}
	if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "new"}); err != nil {
		t.Errorf("the new cookie alone: %v", err)
	}
	if _, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "old"}); !errors.Is(err, kv.ErrOtherCookie) {
		t.Errorf("the old cookie alone: %v", err)
	}
}

// A store goes from one cookie to another by the steps of its node, and the bucket
// goes with the first that uses the new one. A node that still has them in the old
// order does not lead it back.
func TestCookieOfABucketTurns(t *testing.T) {
	nc := connect(t, []*server.Server{startServer(t)})
	open := func(own string, accepted ...string) error {
		_, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: own, Accepted: accepted})
		return err
	}
	first, err := tryOpen(t, nc, patience, kv.Options{Fingerprint: "old"})
	if err != nil {
		t.Fatal(err)
	}
	identity := first.Identity()
	turn := func(own string, accepted ...string) {
		t.Helper()
		if err := first.Turn(t.Context(), own, accepted); err != nil {
			t.Fatal(err)
		}
	}
	turn("old", "old", "new")
	if err := open("old"); err != nil {
		t.Errorf("the old cookie, before the new one is used: %v", err)
	}
	if err := open("new"); !errors.Is(err, kv.ErrOtherCookie) {
		t.Errorf("the new cookie alone, before it is used: %v", err)
	}
	turn("new", "new", "old")
	for range 2 {
		if err := open("old", "old", "new"); err != nil {
			t.Errorf("a node that accepts the new cookie: %v", err)
		}
		if err := open("old"); !errors.Is(err, kv.ErrOtherCookie) {
			t.Errorf("the old cookie alone: %v", err)
		}
		if err := open("new"); err != nil {
			t.Errorf("the new cookie alone: %v", err)
		}
		turn("new", "new")
	}
	if err := first.Ensure(t.Context()); err != nil || first.Identity() != identity {
		t.Errorf("identity %s, before %s, %v", first.Identity(), identity, err)
	}
	turn("new", "new", "old") // and all the way back
	turn("old", "old", "new")
	turn("old", "old")
	if err := open("old"); err != nil {
		t.Errorf("the cookie that was taken back: %v", err)
	}
}

// A turn that can't be written changes nothing.
func TestCookieOfABucketThatDoesNotTurn(t *testing.T) {
	s := startServer(t)
	store, err := tryOpen(t, connect(t, []*server.Server{s}), patience, kv.Options{Fingerprint: "old"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Turn(ctx, "new", []string{"new", "old"}); err == nil {
		t.Error("a turn without an answer")
	}
	if err := store.Ensure(t.Context()); err != nil {
		t.Errorf("it does not go by the old cookie any more: %v", err)
	}
}
