package embedded_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
)

// TestTurn: a running server goes from one cookie to another. Streams stay, whoever
// is accepted stays connected, and whoever is not is disconnected and refused.
func TestTurn(t *testing.T) {
	s := embeddedtest.Start(t)
	old, other := embeddedtest.Authority(t), embeddedtest.OtherAuthority(t)
	dial := func(a *cred.Authority, u cred.User) (*nats.Conn, error) {
		opts, err := a.ConnOptions(u, "client")
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.ClientURL(), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, err
	}
	before, err := dial(old, cred.App)
	if err != nil {
		t.Fatal(err)
	}
	system, err := dial(old, cred.System)
	if err != nil {
		t.Fatal(err)
	}
	kv := bucket(t, before, 1)
	putSoon(t, before, "kept")
	turn := func(a *cred.Authority) {
		t.Helper()
		if err := s.Turn(a); err != nil {
			t.Fatal(err)
		}
	}
	turn(old.Accepting(other))
	turn(other.Accepting(old))
	for _, nc := range []*nats.Conn{before, system} {
		if nc.Stats().Reconnects > 0 || nc.FlushTimeout(5*time.Second) != nil {
			t.Error("who is still accepted was disconnected")
		}
	}
	if got := get(t, kv); got != "kept" {
		t.Errorf("the bucket says %q", got)
	}
	after, err := dial(other.Accepting(old), cred.App)
	if err != nil {
		t.Fatal(err)
	}
	turn(other)
	embeddedtest.Eventually(t, "those of the old cookie are disconnected", func() bool {
		return !before.IsConnected() && !system.IsConnected()
	})
	if _, err := dial(old, cred.App); err == nil {
		t.Error("the old cookie is let in")
	}
	if _, err := dial(other, cred.System); err != nil {
		t.Errorf("the new one's system user: %v", err)
	}
	putSoon(t, after, "new")
	if got := get(t, bucket(t, after, 1)); got != "new" || after.Stats().Reconnects > 0 {
		t.Errorf("the bucket says %q; reconnects %d", got, after.Stats().Reconnects)
	}
}
