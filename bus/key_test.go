package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// ring is a key that can be exchanged.
type ring struct{ now atomic.Pointer[nkeys.KeyPair] }

func (r *ring) turn(kp nkeys.KeyPair) { r.now.Store(&kp) }

func (r *ring) key() (string, nats.SignatureHandler) {
	kp := *r.now.Load()
	public, err := kp.PublicKey()
	if err != nil {
		panic(err)
	}
	return public, kp.Sign
}

func newKey(t *testing.T) (nkeys.KeyPair, string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return kp, public
}

func withKeys(public ...string) func(*server.Options) {
	return func(o *server.Options) {
		for _, p := range public {
			o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: p})
		}
	}
}

// users are those that s has let in.
func users(t *testing.T, s *server.Server) []string {
	t.Helper()
	z, err := s.Connz(&server.ConnzOptions{Username: true})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range z.Conns {
		all = append(all, c.AuthorizedUser)
	}
	return all
}

// A connection shows the key of the moment whenever it is made anew: when it is
// asked to, and when it was lost. What it is used for meanwhile is not disturbed:
// under the race detector, that nobody reads the key while it is exchanged.
func TestKeyOfTheMoment(t *testing.T) {
	checkLeaks(t)
	first, firstKey := newKey(t)
	second, secondKey := newKey(t)
	s := startServer(t, withKeys(firstKey, secondKey))
	other := startServer(t, withKeys(firstKey, secondKey))
	var r ring
	r.turn(first)
	c := dial(t, s, func(o *Options) { o.Key, o.Alternates = r.key, []string{other.ClientURL()} })
	is := func(s *server.Server, want string) func() bool {
		return func() bool { all := users(t, s); return len(all) == 1 && all[0] == want }
	}
	eventually(t, "the first key is shown", is(s, firstKey))
	eventually(t, "there is an alternate", func() bool { return c.Alternate() != nil })
	eventually(t, "it shows the first key", is(other, firstKey))

	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for range 3 {
		busy.Go(func() {
			for ctx.Err() == nil {
				nc := c.NATS()
				sub, err := nc.SubscribeSync("x")
				_, _, _, _ = nc.Publish("x", nil), nc.IsConnected(), nc.Servers(), nc.LastError()
				if err == nil {
					_ = sub.Unsubscribe()
				}
				time.Sleep(time.Millisecond) // between two uses
			}
		})
	}
	redial := func() {
		t.Helper()
		limit, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := c.Redial(limit); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		r.turn(second)
		redial()
		eventually(t, "the second key is shown", is(s, secondKey))
		r.turn(first)
		redial()
		eventually(t, "the first key is shown again", is(s, firstKey))
	}
	r.turn(second)
	eventually(t, "there is an alternate", func() bool { return c.Alternate() != nil })
	eventually(t, "it shows the second key", is(other, secondKey))
	stop()
	busy.Wait()

	stopServer(s)
	again := startServer(t, onPort(s), withKeys(secondKey))
	eventually(t, "back by itself, with the second key", is(again, secondKey))
}

// A server that refuses is not stood in for by one that it tells of.
func TestDialOnceAsksNobodyElse(t *testing.T) {
	checkLeaks(t)
	first, firstKey := newKey(t)
	_, another := newKey(t)
	inCluster := func(o *server.Options) { o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1} }
	a := startServer(t, inCluster, withKeys(firstKey))
	b := startServer(t, inCluster, withKeys(another), func(o *server.Options) {
		o.Routes = server.RoutesFromStr("nats://" + a.ClusterAddr().String())
	})
	eventually(t, "both are a cluster", func() bool { return a.NumRoutes() > 0 && b.NumRoutes() > 0 })
	var r ring
	r.turn(first)
	eventually(t, "the other server is told of", func() bool { // what the library makes of it
		nc, err := nats.Connect(b.ClientURL(), nats.Nkey(firstKey, first.Sign))
		if err == nil {
			defer nc.Close()
		}
		return err == nil && nc.ConnectedServerId() == a.ID()
	})
	if c, err := Dial(t.Context(), Options{URLs: []string{b.ClientURL()}, Key: r.key, Once: true}); !Refuses(err) {
		t.Errorf("%v", err)
		if err == nil {
			c.Close()
		}
	}
}

// Once is a question: who refuses, and who is not there, is told at once.
func TestDialOnce(t *testing.T) {
	checkLeaks(t)
	kp, public := newKey(t)
	_, another := newKey(t)
	var r ring
	r.turn(kp)
	ask := func(s *server.Server) error {
		t.Helper()
		c, err := Dial(t.Context(), Options{URLs: []string{s.ClientURL()}, Key: r.key, Once: true})
		if err == nil {
			c.Close()
		}
		return err
	}
	s := startServer(t, withKeys(public))
	if err := ask(s); err != nil {
		t.Error(err)
	}
	if err := ask(startServer(t, withKeys(another))); !Refuses(err) {
		t.Errorf("a server that does not know the key: %v", err)
	}
	stopServer(s)
	if err := ask(s); err == nil || Refuses(err) {
		t.Errorf("a server that is gone: %v", err)
	}
}
