package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

func withUser(user, password string) func(*server.Options) {
	return func(o *server.Options) { o.Username, o.Password = user, password }
}

func login(user, password string) func(*Options) {
	return func(o *Options) { o.Login = []nats.Option{nats.UserInfo(user, password)} }
}

// diary collects events, which come from another goroutine.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) has(line string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if strings.HasPrefix(l, line) {
			return true
		}
	}
	return false
}

func (d *diary) events(o *Options) {
	o.Events = Events{
		Attempt: func(url string, err error) {
			d.write("attempt %s refused=%t unreachable=%t", url, errors.Is(err, ErrRefused), errors.Is(err, ErrUnreachable))
		},
		Connected:    func(_, name string) { d.write("connected %s", name) },
		Disconnected: func(error) { d.write("disconnected") },
		Refused:      func(err error) { d.write("refused %t", errors.Is(err, ErrRefused)) },
	}
}

func TestDialSaysWhyNot(t *testing.T) {
	checkLeaks(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	locked := startServer(t, withUser("u", "p"))
	secure := startServer(t, withTLS(ours.config(t)))
	nobody := fmt.Sprintf("nats://127.0.0.1:%d", port.Free(t, 1)[0])
	stranger := theirs.config(t)
	stranger.RootCAs = ours.pool // trusts the server, isn't trusted by it
	for _, tt := range []struct {
		name string
		o    Options
		want error
	}{
		{"wrong password", Options{URLs: []string{locked.ClientURL()}, Login: []nats.Option{nats.UserInfo("u", "x")}}, ErrRefused},
		{"no credentials", Options{URLs: []string{locked.ClientURL()}}, ErrRefused},
		{"server of another authority", Options{URLs: []string{secure.ClientURL()}, TLS: theirs.config(t)}, ErrRefused},
		{"client of another authority", Options{URLs: []string{secure.ClientURL()}, TLS: stranger}, ErrRefused},
		{"server wants TLS", Options{URLs: []string{strings.Replace(secure.ClientURL(), "tls:", "nats:", 1)}}, ErrRefused},
		{"server has no TLS", Options{URLs: []string{locked.ClientURL()}, TLS: ours.config(t)}, ErrRefused},
		{"one refuses, one is away", Options{URLs: []string{locked.ClientURL(), nobody}}, ErrRefused},
		{"nobody there", Options{URLs: []string{nobody}}, ErrUnreachable},
		{"no address", Options{}, ErrUnreachable},
		{"bad address", Options{URLs: []string{"nats://user:secret@ho st:1"}}, ErrURL},
		{"no host", Options{URLs: []string{"nats://:4222"}}, ErrURL},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if tt.want == ErrUnreachable {
			ctx, cancel = context.WithTimeout(t.Context(), 150*time.Millisecond)
		}
		c, err := Dial(ctx, tt.o)
		cancel()
		if c != nil {
			c.Close()
		}
		if !errors.Is(err, tt.want) || tt.want != ErrRefused && errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", tt.name, err)
		}
	}
}

func TestDialWithMutualTLS(t *testing.T) {
	checkLeaks(t)
	ours := newAuthority(t)
	s := startServer(t, withTLS(ours.config(t)))
	c := dial(t, s, func(o *Options) { o.TLS = ours.config(t) })
	if !c.NATS().TLSRequired() {
		t.Error("not over TLS")
	}
}

func TestDialWaitsForAServer(t *testing.T) {
	checkLeaks(t)
	var d diary
	free := port.Free(t, 1)[0]
	dialled := make(chan error, 1)
	var c *Conn
	o := Options{URLs: []string{fmt.Sprintf("nats://127.0.0.1:%d", free)}}
	d.events(&o)
	ctx := t.Context()
	go func() {
		var err error
		c, err = Dial(ctx, o)
		dialled <- err
	}()
	eventually(t, "a failed attempt", func() bool { return d.has("attempt nats://127.0.0.1") })
	startServer(t, func(o *server.Options) { o.Port, o.ServerName = free, "late" })
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	eventually(t, "connected", func() bool { return d.has("connected late") })
}

// A node gives up only when everybody who answers has refused it for a while.
func TestRefusedForAWhile(t *testing.T) {
	checkLeaks(t)
	locked := startServer(t, withUser("u", "p"))
	start := time.Now()
	_, err := Dial(t.Context(), Options{URLs: []string{locked.ClientURL()}, RefusedFor: 300 * time.Millisecond})
	if took := time.Since(start); !errors.Is(err, ErrRefused) || took < 300*time.Millisecond {
		t.Errorf("%v after %v", err, took)
	}

	var d diary
	open := startServer(t)
	c := dial(t, locked, d.events, func(o *Options) { o.URLs = append(o.URLs, open.ClientURL()) })
	if got := c.NATS().ConnectedServerId(); got != open.ID() {
		t.Errorf("connected to %s", got)
	}
	if !d.has("attempt " + locked.ClientURL() + " refused=true unreachable=false") {
		t.Errorf("no word of the server that refused: %q", d.lines)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	checkLeaks(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := Dial(ctx, Options{URLs: []string{fmt.Sprintf("127.0.0.1:%d", port.Free(t, 1)[0])}}); !errors.Is(err, cause) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func TestConnectionOutlivesDialsContext(t *testing.T) {
	checkLeaks(t)
	s := startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, Options{URLs: []string{s.ClientURL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cancel()
	stopServer(s)
	startServer(t, onPort(s))
	eventually(t, "reconnected", c.NATS().IsConnected)
}

func TestReconnects(t *testing.T) {
	checkLeaks(t)
	var d diary
	a := startServer(t, func(o *server.Options) { o.ServerName = "a" })
	b := startServer(t, func(o *server.Options) { o.ServerName = "b" })
	c := dial(t, a, d.events, func(o *Options) { o.URLs = append(o.URLs, b.ClientURL()) })
	eventually(t, "first connection", func() bool { return d.has("connected a") })
	stopServer(a)
	eventually(t, "the loss and the other server", func() bool { return d.has("disconnected") && d.has("connected b") })
	stopServer(b)
	eventually(t, "no connection", func() bool { return !c.NATS().IsConnected() })

	// What is published now must not arrive later.
	if err := c.NATS().Publish("x", nil); err == nil {
		t.Error("published without a connection")
	}
	startServer(t, onPort(b), func(o *server.Options) { o.ServerName = "again" })
	eventually(t, "the server is back", func() bool { return d.has("connected again") })
}

func TestRefusalAfterwardsIsToldAndHeals(t *testing.T) {
	checkLeaks(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	t.Run("credentials", func(t *testing.T) {
		s := startServer(t, withUser("u", "p"))
		testRefusalHeals(t, s, login("u", "p"), withUser("u", "other"), withUser("u", "p"))
	})
	t.Run("TLS", func(t *testing.T) {
		s := startServer(t, withTLS(ours.config(t)))
		testRefusalHeals(t, s, func(o *Options) { o.TLS = ours.config(t) }, withTLS(theirs.config(t)), withTLS(ours.config(t)))
	})
}

func testRefusalHeals(t *testing.T, s *server.Server, us func(*Options), refusing, accepting func(*server.Options)) {
	var d diary
	c := dial(t, s, us, d.events)
	stopServer(s)
	other := startServer(t, onPort(s), refusing)
	eventually(t, "told of the refusal", func() bool { return d.has("refused true") })
	stopServer(other)
	startServer(t, onPort(s), accepting)
	eventually(t, "connected again", c.NATS().IsConnected)
}

func TestServerInThisProcess(t *testing.T) {
	checkLeaks(t)
	s := startServer(t, func(o *server.Options) { o.DontListen = true })
	c := dial(t, s, func(o *Options) { o.URLs, o.Login = nil, []nats.Option{nats.InProcessServer(s)} })
	if got := c.NATS().ConnectedServerId(); got != s.ID() {
		t.Errorf("connected to %q", got)
	}
}

func TestBadLoginOption(t *testing.T) {
	_, err := Dial(t.Context(), Options{URLs: []string{"127.0.0.1:1"}, Login: []nats.Option{nats.RootCAs("/nonexistent")}})
	if err == nil || errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func TestDrain(t *testing.T) {
	checkLeaks(t)
	c := dial(t, startServer(t))
	if err := c.Drain(t.Context()); err != nil || !c.NATS().IsClosed() {
		t.Errorf("%v, closed %t", err, c.NATS().IsClosed())
	}
	c.Close() // again, harmless
}

func TestAlternateIsAnotherServer(t *testing.T) {
	checkLeaks(t)
	a, b := startServer(t), startServer(t)
	c := dial(t, a, func(o *Options) {
		o.URLs = append(o.URLs, b.ClientURL())
		o.Alternates = []string{a.ClientURL(), fmt.Sprintf("nats://127.0.0.1:%d", port.Free(t, 1)[0]), b.ClientURL()}
	})
	alternate := func(s *server.Server) func() bool {
		return func() bool {
			nc := c.Alternate()
			return nc != nil && nc.ConnectedServerId() == s.ID()
		}
	}
	eventually(t, "an alternate connection", alternate(b))
	if _, err := c.Alternate().Request("nobody", nil, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request through it: %v", err)
	}

	// The primary moves to the alternate's server: that is no alternative now.
	stopServer(a)
	eventually(t, "primary on b", func() bool { return c.NATS().ConnectedServerId() == b.ID() })
	if c.Alternate() != nil {
		t.Error("alternate on the primary's server")
	}
	again := startServer(t, onPort(a))
	eventually(t, "alternate on a", alternate(again))
	stopServer(again)
	eventually(t, "no alternate", func() bool { return c.Alternate() == nil })
}

func TestAlternateOfACluster(t *testing.T) {
	checkLeaks(t)
	a := startServer(t, func(o *server.Options) { o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1} })
	b := startServer(t, func(o *server.Options) {
		o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1}
		o.Routes = server.RoutesFromStr("nats://" + a.ClusterAddr().String())
	})
	c := dial(t, a)
	eventually(t, "an alternate among discovered servers", func() bool {
		nc := c.Alternate()
		return nc != nil && nc.ConnectedServerId() == b.ID()
	})
}
