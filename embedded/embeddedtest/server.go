package embeddedtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
)

// Cookie is what the servers of this package share, OtherCookie what they do
// not know.
const (
	Cookie      = "the cookie of all tests"
	OtherCookie = "another cookie than theirs"
)

// ClusterName is the name of every cluster here.
const ClusterName = "test"

// stopMax bounds the end of one server, on a machine that does something else.
const stopMax = 30 * time.Second

var (
	cookie      = sync.OnceValues(func() (cred.Cookie, error) { return cred.NewCookie(Cookie, false) })
	otherCookie = sync.OnceValues(func() (cred.Cookie, error) { return cred.NewCookie(OtherCookie, false) })
)

// Authority follows from Cookie. The first call of a process is slow.
func Authority(t testing.TB) *cred.Authority { return derive(t, cookie) }

// OtherAuthority follows from OtherCookie.
func OtherAuthority(t testing.TB) *cred.Authority { return derive(t, otherCookie) }

func derive(t testing.TB, cookie func() (cred.Cookie, error)) *cred.Authority {
	t.Helper()
	c, err := cookie()
	if err != nil {
		t.Fatal(err)
	}
	a, err := cred.Derive(c, ClusterName)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Options are those of a standalone server named name on a free port, with a
// data directory of the test. Change what the test is about.
func Options(t testing.TB, name string) embedded.Options {
	t.Helper()
	return embedded.Options{Name: name, Authority: Authority(t), DataDir: t.TempDir(), ClientListen: "127.0.0.1:0"}
}

// Start runs a standalone server in this process that is ready for JetStream.
func Start(t testing.TB) *embedded.Server {
	t.Helper()
	return StartWith(t, Options(t, "single@test"))
}

// StartWith runs a server in this process until the test ends.
func StartWith(t testing.TB, o embedded.Options) *embedded.Server {
	t.Helper()
	CheckLeaks(t)
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Stop(t, s) })
	if len(o.Voters) <= 1 {
		WaitReady(t, s)
	}
	return s
}

// Stop shuts s down; a second time does nothing.
func Stop(t testing.TB, s *embedded.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// WaitReady fails the test if s is not ready for JetStream in good time.
func WaitReady(t testing.TB, s *embedded.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopMax)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// checked has the tests that CheckLeaks watches already.
var checked sync.Map

// CheckLeaks fails the test if a goroutine that starts after the first call is
// left when the cleanups registered later have run.
func CheckLeaks(t testing.TB) {
	t.Helper()
	if _, twice := checked.LoadOrStore(t, true); twice {
		return
	}
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		checked.Delete(t)
		var left error
		for deadline := time.Now().Add(stopMax); !t.Failed() && time.Now().Before(deadline); {
			if left = goleak.Find(before); left == nil { // waits a little itself
				return
			}
		}
		if left != nil {
			t.Error(left)
		}
	})
}

// Connect is a connection to url as the application user. It stays with that
// server, through restarts.
func Connect(t testing.TB, a *cred.Authority, url string, more ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, a, cred.App, url, append(more, nats.IgnoreDiscoveredServers())...)
}

func connect(t testing.TB, a *cred.Authority, u cred.User, url string, more ...nats.Option) *nats.Conn {
	t.Helper()
	opts, err := a.ConnOptions(u, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Timeout(10*time.Second), nats.IgnoreAuthErrorAbort())
	nc, err := nats.Connect(url, append(opts, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Eventually fails the test if ok does not hold in good time. It is for states
// that nobody announces.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(stopMax)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", stopMax, what)
		case <-tick.C:
		}
	}
}
