//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

const (
	clusterName = "default"
	cookieText  = "a cookie that is only for breaking things 42"
)

// dialer connects from the host that its thread stands in.
type dialer struct{ from *thread }

func (d dialer) Dial(network, address string) (c net.Conn, err error) {
	d.from.do(func() { c, err = net.DialTimeout(network, address, time.Second) })
	return c, err
}

// client is a connection from a host to the servers, its own first.
type client struct {
	thread *thread
	nc     *nats.Conn
	store  *kv.Store
}

// login is derived once: that takes long on purpose.
var login = sync.OnceValues(func() (*cred.Authority, error) {
	cookie, err := cred.NewCookie(cookieText, false)
	if err != nil {
		return nil, err
	}
	return cred.Derive(cookie, clusterName)
})

func newClient(t testing.TB, from *host, urls []string, name string) *client {
	t.Helper()
	th, err := newThread(from.init.Process.Pid, "net")
	if err != nil {
		t.Fatal(err)
	}
	c := &client{thread: th, nc: connect(t, th, cred.App, urls, name)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	until(t, name+" finds the store", func() bool { // which the nodes have yet to make
		c.store, err = kv.Bind(ctx, c.nc, kv.Options{Cluster: clusterName, Node: name, Attempt: time.Second})
		return err == nil
	})
	return c
}

// connect connects one of the cluster's users.
func connect(t testing.TB, from *thread, user cred.User, urls []string, name string) (nc *nats.Conn) {
	t.Helper()
	authority, err := login()
	if err != nil {
		t.Fatal(err)
	}
	opts, err := authority.ConnOptions(user, name)
	if err != nil {
		t.Fatal(err)
	}
	opts = append(opts, nats.SetCustomDialer(dialer{from}), nats.DontRandomize(), nats.Name(name), nats.IgnoreDiscoveredServers(),
		nats.Timeout(2*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	until(t, name+" connects", func() bool {
		nc, err = nats.Connect(strings.Join(urls, ","), opts...)
		return err == nil
	})
	return nc
}

func (c *client) close() {
	c.nc.Close()
	c.thread.close()
}

// observer follows the records from a host that no fault touches.
//
// It has a connection to each server: one whose server is cut off hears nothing
// of the others.
type observer struct {
	*client
	others  []*client
	mu      sync.Mutex
	bucket  int
	seen    map[uint64]bool // of this bucket
	records []trace.Record
}

func newObserver(t testing.TB, from *host, urls []string) *observer {
	t.Helper()
	o := &observer{client: newClient(t, from, urls, "observer"), seen: map[uint64]bool{}}
	for _, url := range urls {
		o.others = append(o.others, newClient(t, from, []string{url}, "observer"))
	}
	for _, c := range o.others {
		if _, err := c.nc.Subscribe(bus.Cluster(clusterName).Records(), o.republished); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := o.fill(ctx); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *observer) close() {
	for _, c := range o.others {
		c.close()
	}
	o.client.close()
}

func (o *observer) republished(m *nats.Msg) {
	rev, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		at = time.Now()
	}
	key := strings.TrimPrefix(m.Subject, strings.TrimSuffix(bus.Cluster(clusterName).Records(), ">"))
	o.add(key, rev, at, m.Data)
}

// instantOf is a time of day as an instant: all hosts here have one clock.
func instantOf(at time.Time) trace.Instant { return trace.Now().Add(-time.Since(at)) }

func (o *observer) add(key string, rev uint64, at time.Time, value []byte) {
	r := trace.Record{Rev: rev, At: instantOf(at), Key: key}
	switch {
	case strings.HasPrefix(key, "node."):
		if json.Unmarshal(value, &r.Node) != nil {
			r.Node = nil
		}
	case strings.HasPrefix(key, "app."):
		if json.Unmarshal(value, &r.App) != nil {
			r.App = nil
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[rev] {
		return
	}
	o.seen[rev] = true
	if r.Node != nil || r.App != nil {
		r.Bucket = o.bucket
		o.records = append(o.records, r)
	}
}

// another says that revisions begin again.
func (o *observer) another() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bucket, o.seen = o.bucket+1, map[uint64]bool{}
}

// fill reads what it has missed, as far as the bucket still has it.
func (o *observer) fill(ctx context.Context) error {
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "KV_regent_"+clusterName)
	if err != nil {
		return err
	}
	for _, rev := range o.missed(stream.CachedInfo().State.LastSeq) {
		m, err := stream.GetMsg(ctx, rev)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // overwritten since
			o.mu.Lock()
			o.seen[rev] = true
			o.mu.Unlock()
			continue
		}
		if err != nil {
			return fmt.Errorf("read revision %d: %w", rev, err)
		}
		o.add(strings.TrimPrefix(m.Subject, "$KV.regent_"+clusterName+"."), rev, m.Time, m.Data)
	}
	return nil
}

func (o *observer) missed(last uint64) (revs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rev := uint64(1); rev <= last; rev++ {
		if !o.seen[rev] {
			revs = append(revs, rev)
		}
	}
	return revs
}

func (o *observer) all() []trace.Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]trace.Record(nil), o.records...)
}

// status is what some node says.
func (o *observer) status(ctx context.Context, n string) (d status.Document, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c := service.Client{Conn: o.nc, Cluster: bus.Cluster(clusterName)}
	if err := c.Call(ctx, node.Name(n), service.VerbStatus, service.StatusRequest{}, &d); err != nil {
		return d, fmt.Errorf("status of %s: %w", n, err)
	}
	return d, nil
}
