//go:build linux

package integration

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager"
)

// doorkeeper lets in who shows a key, as often as it was told.
type doorkeeper struct {
	mu   sync.Mutex
	left map[string]int
}

// Check implements server.Authentication.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := c.GetOpts().Nkey
	d.left[key]--
	return d.left[key] >= 0
}

func (d *doorkeeper) allow(key string, times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left[key] = times
}

func keyOf(t *testing.T, c manager.Cookie) string {
	t.Helper()
	a, err := cred.Derive(c, "default")
	if err != nil {
		t.Fatal(err)
	}
	return a.PublicKey(cred.App)
}

// TestKeyRefusedAfterItsTrial: a server that lets the trial of a new key in, and
// then nobody else who shows it, does not cost the node its session: it goes back
// to the key of before, and takes the step when it is asked again.
func TestKeyRefusedAfterItsTrial(t *testing.T) {
	t.Parallel()
	c := configuredCluster(t, "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw]}]\n")
	second := cookie(t, "the cookie that comes next, long enough")
	oldKey, newKey := keyOf(t, c.cookie), keyOf(t, second)
	const always = 1 << 30
	door := &doorkeeper{left: map[string]int{oldKey: always}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		CustomClientAuthentication: door, AlwaysEnableNonce: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("server not ready")
	}
	n := c.boot("node1", func(o *manager.Options) {
		o.Server, o.NewCluster = s.ClientURL(), true
		o.Cookies = func() ([]manager.Cookie, error) { return []manager.Cookie{second}, nil }
	})
	t.Cleanup(func() { c.halt("node1") }) // before the server
	<-n.Connected()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := n.StartApp(ctx, "myapp", ""); err != nil {
		t.Fatal(err)
	}
	before, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}

	a, b := c.cookie.Fingerprint(), second.Fingerprint()
	both, turned := manager.CookieState{Use: a, Also: b}, manager.CookieState{Use: b, Also: a}
	if got, err := n.TurnCookie(ctx, both); err != nil || got != both {
		t.Fatalf("accept: %v, %v", got, err)
	}
	for allowed, want := range []error{manager.ErrCookieKey, nil} {
		door.allow(newKey, allowed)
		got, err := n.TurnCookie(ctx, turned)
		if err == nil || got != both || want != nil && !errors.Is(err, want) {
			t.Errorf("use, when %d may come in by the new key: %v, %v", allowed, got, err)
		}
		if got, err := n.CookieState(); err != nil || got != both {
			t.Errorf("it goes by %v, %v", got, err)
		}
	}
	door.allow(newKey, always)
	for _, state := range []manager.CookieState{turned, {Use: b}} {
		if got, err := n.TurnCookie(ctx, state); err != nil || got != state {
			t.Fatalf("turn to %v: %v, %v", state, got, err)
		}
	}
	door.allow(oldKey, 0)
	after, err := n.Status(ctx)
	if err != nil || len(after.Nodes) != 1 || after.Nodes[0].Session != before.Nodes[0].Session || before.Nodes[0].Session == "" {
		t.Errorf("nodes %+v, before %+v, %v", after.Nodes, before.Nodes, err)
	}
	if len(after.Apps) != 1 || after.Apps[0].Epoch != 1 || after.Apps[0].State != manager.AppRunning {
		t.Errorf("apps %+v", after.Apps)
	}
}
