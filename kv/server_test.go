package kv_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/kv"
)

// patience is how long tests wait for what must come: an election with stock
// timers takes up to 9 s.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer runs one server with JetStream until the end of the test.
func startServer(t *testing.T, change ...func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		ServerName: "alone", Host: "127.0.0.1", Port: -1,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}
	for _, c := range change {
		c(opts)
	}
	return run(t, opts)
}

func run(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("server is not ready for connections")
	}
	return s
}

// startCluster runs n servers as one cluster until the end of the test.
func startCluster(t *testing.T, n int) []*server.Server {
	t.Helper()
	ports := port.Free(t, n)
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	var servers []*server.Server
	for i, p := range ports {
		servers = append(servers, startServer(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("s%d", i+1)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: p}
			o.Routes = routes
		}))
	}
	return servers
}

// connect connects to the first of servers, and knows the others.
func connect(t *testing.T, servers []*server.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	opts = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond),
		nats.DontRandomize(), nats.ReconnectJitter(0, 0),
	}, opts...)
	nc, err := nats.Connect(strings.Join(urls, ","), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// open opens the bucket of cluster "test", with little patience between checks.
func open(t *testing.T, nc *nats.Conn, change ...func(*kv.Options)) *kv.Store {
	t.Helper()
	opts := kv.Options{Cluster: "test", Node: "n1@h", WaitFor: patience, Check: 200 * time.Millisecond}
	for _, c := range change {
		c(&opts)
	}
	s, err := kv.Open(t.Context(), nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await polls cond until it holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
