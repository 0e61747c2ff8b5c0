//go:build linux

package integration

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/manager"
)

// TestGoAppThroughCookies: a program's node goes from one cookie to another by
// calls, and its app in Go goes on with the connection it has made. What is not a
// step, or not at hand, is refused and changes nothing.
func TestGoAppThroughCookies(t *testing.T) {
	t.Parallel()
	c := configuredCluster(t, "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw]}]\n")
	second := cookie(t, "the cookie that comes next, long enough")
	conns := make(chan *nats.Conn, 1)
	app := manager.Func(func(ctx context.Context, s manager.Start) error {
		nc, err := nats.Connect(s.NATS.URL, nats.UserJWT(s.NATS.Token, s.NATS.Sign), nats.Secure(s.NATS.TLS()),
			nats.CustomInboxPrefix(s.NATS.Inbox), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
		if err != nil {
			return err
		}
		conns <- nc
		<-ctx.Done()
		nc.Close()
		return nil
	})
	n := c.boot("node1", func(o *manager.Options) {
		o.Cookies = func() ([]manager.Cookie, error) { return []manager.Cookie{second}, nil }
		o.Apps = map[string]func() manager.Application{"myapp": func() manager.Application { return app }}
	})
	<-n.Connected()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.StartApp(ctx, "myapp", ""); err != nil {
		t.Fatal(err)
	}
	nc := <-conns
	runtime.GC() // the app alone holds its login

	a, b := c.cookie.Fingerprint(), second.Fingerprint()
	for want, state := range map[error]manager.CookieState{
		manager.ErrCookieStep: {Use: b}, manager.ErrNoCookie: {Use: a, Also: "0123456789abcdef"},
	} {
		if got, err := n.TurnCookie(ctx, state); !errors.Is(err, want) || got != (manager.CookieState{Use: a}) {
			t.Errorf("turn to %v: %v, %v", state, got, err)
		}
	}
	for _, state := range []manager.CookieState{{Use: a, Also: b}, {Use: b, Also: a}, {Use: b}} {
		if got, err := n.TurnCookie(ctx, state); err != nil || got != state {
			t.Fatalf("turn to %v: %v, %v", state, got, err)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for nc.Stats().Reconnects == 0 || nc.Publish("regent.default.app.myapp.x", nil) != nil || nc.FlushTimeout(time.Second) != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the app's connection: %v, %v", nc.Status(), nc.LastError())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got, err := n.CookieState(); err != nil || got != (manager.CookieState{Use: b}) {
		t.Errorf("it goes by %v, %v", got, err)
	}
	doc, err := n.Status(ctx)
	if err != nil || len(doc.Apps) != 1 || doc.Apps[0].Epoch != 1 || doc.Apps[0].State != manager.AppRunning {
		t.Errorf("apps %+v, %v", doc.Apps, err)
	}
}
