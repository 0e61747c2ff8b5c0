//go:build !windows

package embedded_test

import (
	"bufio"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
)

// writesBackMax bounds the time without writes after a leader was killed, or
// while it stops. It is 0.5 s or less with fast timing or hand-over, and 4 to 9 s
// after an election with stock timing: this tells one from the other on a loaded
// machine too.
const writesBackMax = 3 * time.Second

// peerLog collects what OnPeer says.
type peerLog struct {
	mu sync.Mutex
	up []string // names with a route, in the order they came
}

func (l *peerLog) onPeer(name string, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up {
		l.up = append(l.up, name)
	} else {
		l.up = slices.DeleteFunc(l.up, func(n string) bool { return n == name })
	}
}

func (l *peerLog) sorted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.up))
}

// voterOptions are those of voter i, to run in this process.
func voterOptions(t *testing.T, voters []embedded.Peer, i int) embedded.Options {
	t.Helper()
	o := embeddedtest.Options(t, voters[i].Name)
	o.Voters, o.ClusterListen = voters, voters[i].ClusterAddr
	return o
}

// allOptions are those of all voters, to run in this process.
func allOptions(t *testing.T, voters []embedded.Peer) (options []embedded.Options) {
	t.Helper()
	for i := range voters {
		options = append(options, voterOptions(t, voters, i))
	}
	return options
}

// startVoters runs all voters in this process and waits until each is ready.
func startVoters(t *testing.T, options []embedded.Options) []*embedded.Server {
	t.Helper()
	var servers []*embedded.Server
	for _, o := range options {
		servers = append(servers, embeddedtest.StartWith(t, o))
	}
	for _, s := range servers {
		embeddedtest.WaitReady(t, s)
	}
	return servers
}

func TestThreeVotersInOneProcess(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	var seen peerLog
	options := allOptions(t, voters)
	options[0].OnPeer = seen.onPeer
	servers := startVoters(t, options)

	others := []string{"n2@test", "n3@test"}
	embeddedtest.Eventually(t, "both peers are reported", func() bool { return slices.Equal(seen.sorted(), others) })
	if s := servers[0]; !slices.Equal(s.Peers(), others) || s.NumRoutes() != 2 || len(s.Missing()) != 0 {
		t.Errorf("peers %v, %d routes, missing %v", s.Peers(), s.NumRoutes(), s.Missing())
	}
	kv := bucket(t, embeddedtest.Connect(t, servers[1].Authority(), servers[1].ClientURL()), 3)
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}

	embeddedtest.Stop(t, servers[2])
	embeddedtest.Eventually(t, "the stopped peer is gone", func() bool { return slices.Equal(seen.sorted(), others[:1]) })
	if missing := servers[0].Missing(); !slices.Equal(missing, others[1:]) {
		t.Errorf("missing %v", missing)
	}
	servers[2].Close()
}

func TestKillOfTheStreamLeader(t *testing.T) {
	c := embeddedtest.StartCluster(t, 3)
	nc := c.Client()
	kv := bucket(t, nc, 3)
	putSoon(t, nc, "before")
	c.WaitCurrent("KV_b")
	for range 2 {
		leader := c.StreamLeader("KV_b")
		c.Kill(leader)
		if gap := putSoon(t, nc, "after"); gap > writesBackMax {
			t.Errorf("no write for %v", gap)
		} else {
			t.Logf("no write for %v", gap)
		}
		c.Restart(leader)
		waitFor(t, kv, "after")
		c.WaitCurrent("KV_b")
	}
}

func TestAllKilledAndRestarted(t *testing.T) {
	c := embeddedtest.StartCluster(t, 3)
	nc := c.Client()
	kv := bucket(t, nc, 3)
	putSoon(t, nc, "kept")
	c.WaitCurrent("KV_b")
	for i := range 3 {
		c.Kill(i)
	}
	for i := range 2 { // after the first boot a majority is enough
		c.Restart(i)
	}
	c.WaitReady()
	waitFor(t, kv, "kept")
}

// An acknowledged write is on a majority. If only one of these and a voter
// that has nothing of the stream come back, they wait for the third: the empty
// one might have lost its disk.
func TestEmptyReplicaNeedsAllVoters(t *testing.T) {
	c := embeddedtest.StartCluster(t, 3)
	full := c.MetaLeader() // paused, it could not make the stream
	empty, third := (full+1)%3, (full+2)%3
	nc := c.Conn(full)
	c.Pause(empty)
	kv := bucket(t, nc, 3)
	putSoon(t, nc, "kept")
	for _, i := range []int{empty, full, third} { // the paused one first, so that it cannot catch up
		c.Kill(i)
	}
	c.Restart(full)
	c.Restart(empty)
	c.WaitReady()
	if rev, err := kv.PutString(t.Context(), "key", "kept"); err == nil {
		t.Errorf("one replica and an empty one elected a leader, which wrote %d", rev)
	}
	c.Restart(third)
	waitFor(t, kv, "kept")
}

func waitFor(t *testing.T, kv jetstream.KeyValue, want string) {
	t.Helper()
	embeddedtest.Eventually(t, "the bucket has "+want, func() bool {
		e, err := kv.Get(t.Context(), "key")
		return err == nil && string(e.Value()) == want
	})
}

// With stock timing, so that an election would take 4 to 9 s.
func TestGracefulStopHandsOver(t *testing.T) {
	c := embeddedtest.StartCluster(t, 3, embeddedtest.StockTiming)
	kv := bucket(t, c.Client(), 3)
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	leader := c.StreamLeader("KV_b")
	nc := c.Conn((leader + 1) % 3)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.Stop(leader)
	}()
	var longest time.Duration
	for done := false; !done; {
		select {
		case <-stopped:
			done = true
		default:
		}
		longest = max(longest, putSoon(t, nc, "during"))
	}
	t.Logf("longest time without a write: %v", longest)
	if longest > writesBackMax {
		t.Errorf("no write for %v", longest)
	}
	if now := c.StreamLeader("KV_b"); now == leader {
		t.Errorf("%s leads and is stopped", c.Name(now))
	}
}

func TestDeathOfAPeerIsReported(t *testing.T) {
	c := embeddedtest.NewCluster(t, 3)
	var seen peerLog
	o := c.Options(0)
	o.OnPeer = seen.onPeer
	s := embeddedtest.StartWith(t, o)
	c.Restart(1)
	c.Restart(2)
	embeddedtest.WaitReady(t, s)
	embeddedtest.Eventually(t, "both are up", func() bool { return len(seen.sorted()) == 2 })

	began := time.Now()
	c.Kill(1)
	embeddedtest.Eventually(t, "the killed one is gone", func() bool { return slices.Equal(seen.sorted(), []string{c.Name(2)}) })
	t.Logf("killed: reported after %v", time.Since(began))
	began = time.Now()
	c.Pause(2)
	embeddedtest.Eventually(t, "the paused one is gone", func() bool { return len(seen.sorted()) == 0 })
	t.Logf("paused: reported after %v", time.Since(began))
	c.Resume(2)
	embeddedtest.Eventually(t, "the resumed one is back", func() bool { return slices.Equal(seen.sorted(), []string{c.Name(2)}) })
}

func TestVoterOfAnotherCookieNeverJoins(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	var log [3]lines
	var servers []*embedded.Server
	for i := range voters {
		o := voterOptions(t, voters, i)
		o.Logger = log[i].logger()
		if i == 2 {
			o.Authority = embeddedtest.OtherAuthority(t)
		}
		servers = append(servers, embeddedtest.StartWith(t, o))
	}
	for i, s := range servers {
		embeddedtest.Eventually(t, s.Name()+" logs the refusal with the address", func() bool {
			text := log[i].String()
			stranger := "from=server peer=n3@test addr=" + voters[2].ClusterAddr
			if i == 2 {
				stranger = "from=server peer=n1@test addr=" + voters[0].ClusterAddr
			}
			return strings.Contains(text, "other cookie or other cluster") && strings.Contains(text, stranger)
		})
	}
	embeddedtest.Eventually(t, "the other two are connected", func() bool { return servers[0].NumRoutes() == 1 })
	for _, want := range []struct {
		from, to int
		answer   embedded.Answer
	}{{0, 1, embedded.Accepts}, {0, 2, embedded.OtherCookie}, {2, 0, embedded.OtherCookie}} {
		p := embedded.ProbePeer(t.Context(), servers[want.from].Authority(), voters[want.to].ClusterAddr, voters[want.to].Name)
		if p.Answer != want.answer {
			t.Errorf("%d asks %d: %v (%v)", want.from, want.to, p.Answer, p.Err)
		}
	}
	if missing := servers[0].Missing(); !slices.Equal(missing, []string{"n3@test"}) || servers[2].NumRoutes() != 0 {
		t.Errorf("missing %v, %d routes of the stranger", missing, servers[2].NumRoutes())
	}
	if servers[0].Ready() || servers[2].Ready() {
		t.Error("a first boot without all voters got a leader")
	}
}

func TestProbePeer(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	s := embeddedtest.StartWith(t, voterOptions(t, voters, 0))
	a := embeddedtest.Authority(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody talks
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	clientPort := strings.TrimPrefix(s.ClientURL(), "tls://")
	for _, tc := range []struct {
		name, addr, want string
		a                *cred.Authority
		answer           embedded.Answer
	}{
		{"the voter", voters[0].ClusterAddr, "n1@test", a, embedded.Accepts},
		{"another name", voters[0].ClusterAddr, "n9@test", a, embedded.WrongName},
		{"another cookie", voters[0].ClusterAddr, "n1@test", embeddedtest.OtherAuthority(t), embedded.OtherCookie},
		{"nobody", voters[1].ClusterAddr, "n2@test", a, embedded.NotAnswering},
		{"silence", silent.Addr().String(), "n2@test", a, embedded.NotAnswering},
		{"a client port", clientPort, "n1@test", a, embedded.NotAVoter},
	} {
		p := embedded.ProbePeer(t.Context(), tc.a, tc.addr, tc.want)
		t.Logf("%s: %v, %v", tc.name, p.Answer, p.Err)
		if p.Answer != tc.answer || (p.Err == nil) != (p.Answer == embedded.Accepts) {
			t.Errorf("%s: got %v (%v), want %v", tc.name, p.Answer, p.Err, tc.answer)
		}
		if p.Answer == embedded.Accepts && (p.Name != "n1@test" || p.Identity != a.Identity()) {
			t.Errorf("%s: got %+v", tc.name, p)
		}
	}
}

// A voter that lost its disk after the cookie was changed learns from the
// others which accounts the data has.
func TestNewVoterAdoptsTheIdentityOfTheCluster(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	options := allOptions(t, voters)
	servers := startVoters(t, options)
	first := servers[0].Authority().Identity()
	kv := bucket(t, embeddedtest.Connect(t, servers[0].Authority(), servers[0].ClientURL()), 3)
	if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		embeddedtest.Stop(t, s)
	}

	later := embeddedtest.OtherAuthority(t)
	for i := range options {
		options[i].Authority = later
	}
	options[2].DataDir = t.TempDir()
	servers = startVoters(t, options)
	for _, s := range servers {
		if s.Authority().Identity() != first {
			t.Errorf("%s has another identity", s.Name())
		}
	}
	nc := embeddedtest.Connect(t, later, servers[2].ClientURL())
	waitFor(t, bucket(t, nc, 3), "value")
}

// Whoever can reach the ports can send anything, with and without TLS.
func TestHostileBytesDoNotEndTheServer(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	s := embeddedtest.StartWith(t, voterOptions(t, voters, 0))
	a := s.Authority()
	leaf, err := a.NewLeaf("hostile")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 512)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	payloads := []string{
		string(noise),
		"\x16\x03\x01\x02\x00" + string(noise),
		"INFO {\r\n", "INFO null\r\n", `INFO {"server_id":"x","port":-1,"connect_urls":["::::"]}` + "\r\n",
		"CONNECT {}\r\nRS+ a b c d e f\r\n", "CONNECT []\r\n",
		"PUB a 99999999999999999999\r\n", "HPUB a 10 5\r\n", "RMSG \r\n", "LMSG a b\r\n",
		strings.Repeat("A", 1<<16),
	}
	clientPort := strings.TrimPrefix(s.ClientURL(), "tls://")
	for _, p := range payloads {
		for _, addr := range []string{clientPort, voters[0].ClusterAddr} {
			shout(t, addr, p, nil)
		}
		shout(t, voters[0].ClusterAddr, p, a.TLSConfig(leaf)) // a route that has the cookie and is broken
	}
	embeddedtest.Connect(t, a, s.ClientURL())
	if p := embedded.ProbePeer(t.Context(), a, voters[0].ClusterAddr, "n1@test"); p.Answer != embedded.Accepts {
		t.Errorf("route port: %v, %v", p.Answer, p.Err)
	}
}

// shout sends text and reads until the server hangs up or is silent.
func shout(t *testing.T, addr, text string, config *tls.Config) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if config != nil {
		conn = tls.Client(conn, config)
	}
	_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = conn.Write([]byte(text)) // the server may have hung up already
	for buf := make([]byte, 4096); err == nil; {
		_, err = conn.Read(buf)
	}
}

// TestAppsAreNoServers: whoever may connect as a client only is refused at the
// port of the routes, where a server's word would count.
func TestAppsAreNoServers(t *testing.T) {
	voters := embeddedtest.Voters(t, 3)
	s := embeddedtest.StartWith(t, voterOptions(t, voters, 0))
	login, err := s.Authority().NewLogin(cred.Grant{Name: "app", Publish: []string{"x"}, Subscribe: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	node, err := s.Authority().NewLeaf("n2@test")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		config *tls.Config
		infoed bool
	}{
		{"an app", login.TLS(), false},
		{"a node", s.Authority().TLSConfig(node), true},
	} {
		conn, err := net.Dial("tcp", voters[0].ClusterAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(tls.Client(conn, tc.config)).ReadString('\n')
		if infoed := strings.HasPrefix(line, "INFO "); infoed != tc.infoed {
			t.Errorf("%s: heard %q, %v", tc.name, line, err)
		}
	}
}
