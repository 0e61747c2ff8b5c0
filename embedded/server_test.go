package embedded_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

// bucket makes the bucket b with so many replicas; JetStream answers already.
func bucket(t *testing.T, nc *nats.Conn, replicas int) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	var kv jetstream.KeyValue
	embeddedtest.Eventually(t, "the bucket is there", func() bool {
		kv, err = js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: replicas})
		return err == nil
	})
	return kv
}

// putSoon writes until it is acknowledged, and says how long that took.
func putSoon(t *testing.T, nc *nats.Conn, value string) time.Duration {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	embeddedtest.Eventually(t, "a write is acknowledged", func() bool {
		_, err := js.Publish(t.Context(), "$KV.b.key", []byte(value))
		return err == nil
	})
	return time.Since(began)
}

func get(t *testing.T, kv jetstream.KeyValue) string {
	t.Helper()
	e, err := kv.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Value())
}

func TestSingle(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	s := embeddedtest.StartWith(t, o)
	if s.Leader() != "n1@test" || s.NumRoutes() != 0 || len(s.Missing()) != 0 {
		t.Errorf("leader %q, %d routes, missing %v", s.Leader(), s.NumRoutes(), s.Missing())
	}
	kv := bucket(t, embeddedtest.Connect(t, s.Authority(), s.ClientURL()), 1)
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	embeddedtest.Stop(t, s)
	s.Close() // a second end is none

	again := embeddedtest.StartWith(t, o)
	inside, err := again.ConnOptions(cred.App, "inside")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", inside...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if nc.ConnectedServerName() != "n1@test" || get(t, bucket(t, nc, 1)) != "value" {
		t.Error("the data did not survive a restart")
	}
}

func TestShutdownThatMayNotTakeTime(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	s := embeddedtest.StartWith(t, o)
	ctx, cancel := context.WithCancelCause(t.Context())
	hurry := errors.New("hurry")
	cancel(hurry)
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, hurry) {
		t.Errorf("got %v", err)
	}
	s.Close() // waits for the rest
	embeddedtest.StartWith(t, o)
}

func TestSystemUserSeesTheServer(t *testing.T) {
	s := embeddedtest.Start(t)
	opts, err := s.ConnOptions(cred.System, "system")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Request("$SYS.REQ.SERVER.PING", nil, 5*time.Second); err != nil {
		t.Error(err)
	}
	app := embeddedtest.Connect(t, s.Authority(), s.ClientURL())
	if _, err := app.Request("$SYS.REQ.SERVER.PING", nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the application user reached the system account: %v", err)
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestClientsWithoutTheCookieAreRefused(t *testing.T) {
	var log lines
	o := embeddedtest.Options(t, "n1@test")
	o.Logger = log.logger()
	s := embeddedtest.StartWith(t, o)
	ours, theirs := embeddedtest.Authority(t), embeddedtest.OtherAuthority(t)

	options := func(a *cred.Authority) []nats.Option {
		opts, err := a.ConnOptions(cred.App, "client")
		if err != nil {
			t.Fatal(err)
		}
		return opts
	}
	leaf, err := ours.NewLeaf("client")
	if err != nil {
		t.Fatal(err)
	}
	noCert := ours.TLSConfig(leaf)
	noCert.Certificates = nil
	for _, tc := range []struct {
		name string
		opts []nats.Option
	}{
		{"other cookie", options(theirs)},
		{"no credentials at all", nil},
		{"right user, no certificate", append(options(ours), nats.Secure(noCert))},
		{"right certificate, no user", []nats.Option{nats.Secure(ours.TLSConfig(leaf))}},
		{"right certificate, other user", append(options(theirs), nats.Secure(ours.TLSConfig(leaf)))},
	} {
		if nc, err := nats.Connect(s.ClientURL(), tc.opts...); err == nil {
			nc.Close()
			t.Errorf("%s: connected", tc.name)
		} else {
			t.Logf("%s: %v", tc.name, err)
		}
	}
	embeddedtest.Eventually(t, "the refusal is logged with the address", func() bool {
		return strings.Contains(log.String(), `from=client peer="" addr=127.0.0.1:`)
	})
	embeddedtest.Connect(t, ours, s.ClientURL())
}

func TestOneServerPerDataDir(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	embeddedtest.StartWith(t, o)
	_, err := embedded.Start(t.Context(), o)
	if !errors.Is(err, embedded.ErrDataDirInUse) || !strings.Contains(err.Error(), o.DataDir) {
		t.Errorf("got %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	first := embeddedtest.Options(t, "n1@test")
	first.ClientListen = port.Addrs(t, 1)[0]
	embeddedtest.StartWith(t, first)

	client := embeddedtest.Options(t, "n2@test")
	client.ClientListen = first.ClientListen
	route := embeddedtest.Options(t, "n1@test")
	route.Voters = embeddedtest.Voters(t, 3)
	route.ClusterListen = first.ClientListen
	for _, o := range []embedded.Options{client, route} {
		_, err := embedded.Start(t.Context(), o)
		if !errors.Is(err, embedded.ErrPortTaken) || !strings.Contains(err.Error(), first.ClientListen) {
			t.Errorf("got %v", err)
		}
		// A refused start leaves nothing behind: the directory is free.
		o.ClientListen = "127.0.0.1:0"
		o.Voters = nil
		embeddedtest.StartWith(t, o)
	}
}

// A standalone store that comes back as a cluster member loses its streams.
func TestModeChangeIsRefused(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	embeddedtest.Stop(t, embeddedtest.StartWith(t, o))

	member := o
	member.Voters = embeddedtest.Voters(t, 3)
	member.ClusterListen = member.Voters[0].ClusterAddr
	renamed := o
	renamed.Name = "n2@test"
	cookie, err := cred.NewCookie(embeddedtest.Cookie, false)
	if err != nil {
		t.Fatal(err)
	}
	moved := o
	if moved.Authority, err = cred.Derive(cookie, "other"); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]embedded.Options{"mode": member, "name": renamed, "cluster": moved} {
		_, err := embedded.Start(t.Context(), o)
		if !errors.Is(err, embedded.ErrModeChanged) || !strings.Contains(err.Error(), "restore") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	embeddedtest.Stop(t, embeddedtest.StartWith(t, o))

	marker := o.DataDir + "/server.json"
	for _, text := range []string{"{", `{"format":1}`} {
		if err := os.WriteFile(marker, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := embedded.Start(t.Context(), o); !errors.Is(err, embedded.ErrModeChanged) {
			t.Errorf("damaged marker %q: %v", text, err)
		}
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(t.Context(), o); !errors.Is(err, embedded.ErrModeChanged) {
		t.Errorf("data without a marker: %v", err)
	}
}

func TestDataSurvivesANewCookie(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	s := embeddedtest.StartWith(t, o)
	first := s.Authority().Identity()
	kv := bucket(t, embeddedtest.Connect(t, s.Authority(), s.ClientURL()), 1)
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	embeddedtest.Stop(t, s)

	later := embeddedtest.OtherAuthority(t)
	o.Authority = later
	s = embeddedtest.StartWith(t, o)
	if s.Authority().Identity() != first {
		t.Error("the identity changed with the cookie")
	}
	// The client knows the new cookie only.
	if got := get(t, bucket(t, embeddedtest.Connect(t, later, s.ClientURL()), 1)); got != "value" {
		t.Errorf("got %q", got)
	}
	if later.Identity() == first {
		t.Error("the test proves nothing: both cookies have one identity")
	}
}

// TestIdentityIsOpenWithoutAStream: a first start with the wrong cookie leaves
// nothing that the right one would have to serve.
func TestIdentityIsOpenWithoutAStream(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	wrong := embeddedtest.StartWith(t, o)
	embeddedtest.Stop(t, wrong)

	o.Authority = embeddedtest.OtherAuthority(t)
	s := embeddedtest.StartWith(t, o)
	if got := s.Authority().Identity(); got != o.Authority.Identity() {
		t.Errorf("identity %v, want that of the right cookie, %v", got, o.Authority.Identity())
	}
	bucket(t, embeddedtest.Connect(t, o.Authority, s.ClientURL()), 1)
	embeddedtest.Stop(t, s)

	// With a stream it is settled.
	o.Authority = wrong.Authority()
	if got := embeddedtest.StartWith(t, o).Authority().Identity(); got != s.Authority().Identity() {
		t.Errorf("identity %v, want that of the data, %v", got, s.Authority().Identity())
	}
}

func TestInvalidOptions(t *testing.T) {
	voters := embeddedtest.Voters(t, 4)
	good := func() embedded.Options {
		o := embeddedtest.Options(t, "n1@test")
		o.Voters, o.ClusterListen = voters[:3], voters[0].ClusterAddr
		return o
	}
	for name, change := range map[string]func(*embedded.Options){
		"no name":       func(o *embedded.Options) { o.Name = "" },
		"no authority":  func(o *embedded.Options) { o.Authority = nil },
		"no directory":  func(o *embedded.Options) { o.DataDir = "" },
		"no port":       func(o *embedded.Options) { o.ClientListen = "127.0.0.1" },
		"bad port":      func(o *embedded.Options) { o.ClientListen = "127.0.0.1:65536" },
		"two voters":    func(o *embedded.Options) { o.Voters = voters[:2] },
		"four voters":   func(o *embedded.Options) { o.Voters = voters },
		"not a voter":   func(o *embedded.Options) { o.Name = "n4@test" },
		"no route port": func(o *embedded.Options) { o.ClusterListen = "127.0.0.1:0" },
		"voter no port": func(o *embedded.Options) {
			o.Voters = []embedded.Peer{voters[0], {Name: "x", ClusterAddr: "h"}, voters[2]}
		},
		"voter twice": func(o *embedded.Options) { o.Voters = []embedded.Peer{voters[0], voters[1], voters[1]} },
		"address reused": func(o *embedded.Options) {
			o.Voters = []embedded.Peer{voters[0], voters[1], {Name: "x", ClusterAddr: voters[1].ClusterAddr}}
		},
	} {
		o := good()
		change(&o)
		s, err := embedded.Start(t.Context(), o)
		if !errors.Is(err, embedded.ErrOptions) {
			t.Errorf("%s: got %v", name, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

func TestNoQuorumNamesWhoIsMissing(t *testing.T) {
	o := embeddedtest.Options(t, "n1@test")
	o.Voters = embeddedtest.Voters(t, 3)
	o.ClusterListen = o.Voters[0].ClusterAddr
	s := embeddedtest.StartWith(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := s.WaitReady(ctx)
	if !errors.Is(err, embedded.ErrNoQuorum) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "n2@test, n3@test") {
		t.Errorf("got %v", err)
	}
	if s.Ready() || s.Leader() != "" {
		t.Errorf("ready %v, leader %q", s.Ready(), s.Leader())
	}
}
