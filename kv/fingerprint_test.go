package kv_test

import (
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
