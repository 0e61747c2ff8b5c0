//go:build linux

package external

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
)

var three = []string{"node1", "node2", "node3"}

// TestSingleServer is the example's life on one server.
func TestSingleServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	r := newRun(t, s.url(""))
	r.begin(1, []string{s.name})
	r.killAndReturn(2)
	r.end()
}

// TestThreeServers is the same on a cluster with stock raft timers, whose
// servers are first restarted one after the other, then all at once. Nothing
// moves meanwhile: that is what the default lease of twenty seconds is for.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, "")
	r := newRun(t, urls(servers))
	r.begin(3, []string{"s1", "s2", "s3"})
	before, epochs := r.w.starts(), r.sessions()
	for _, s := range servers {
		s.restart()
		waitAll(servers)
	}
	r.unmoved("a rolling restart", before, epochs)
	for _, s := range servers {
		s.stop()
	}
	for _, s := range servers {
		s.boot()
	}
	waitAll(servers)
	r.unmoved("a restart of all", before, epochs)
	r.killAndReturn(2)
	r.end()
}

// unmoved: the same instance runs in the same sessions as before.
func (r *run3) unmoved(what string, starts []instance, sessions []string) {
	r.t.Helper()
	r.w.waitUp(r.nc, "node1")
	if now := r.w.starts(); !slices.Equal(now, starts) || !now[0].alive() {
		r.t.Fatalf("%s moved the app: %v, before %v", what, now, starts)
	}
	if now := r.sessions(); !slices.Equal(now, sessions) {
		r.t.Fatalf("%s ended sessions: %v, before %v", what, now, sessions)
	}
}

// run3 is three nodes on an external NATS.
type run3 struct {
	t      *testing.T
	w      *world
	node   []string // flags of nodes
	client []string // flags of commands
	nc     *nats.Conn
	nodes  map[string]*life
}

func newRun(t *testing.T, url string) *run3 {
	t.Helper()
	return newRunWith(t, newWorld(t, "", three...), connect(t, url), []string{"--server", url}, []string{"--server", url})
}

// newRunWith has flags of its own for nodes and for commands; nc may do
// everything.
func newRunWith(t *testing.T, w *world, nc *nats.Conn, node, client []string) *run3 {
	t.Helper()
	r := &run3{t: t, w: w, node: node, client: client, nodes: map[string]*life{}, nc: nc}
	for _, name := range three {
		r.nodes[name] = r.w.node(name, node...)
	}
	r.w.waitUp(r.nc, "node2")
	return r
}

func (r *run3) command(args ...string) string {
	r.t.Helper()
	return r.w.must(append(args, r.client...)...)
}

// begin starts the app and checks what the status document and the records
// say.
func (r *run3) begin(replicas int, leaders []string) {
	r.t.Helper()
	r.command("start", app, "--all")
	first := r.w.waitStart(10*time.Second, 1, []string{"node1"}, "normal")
	var doc status.Document
	if err := json.Unmarshal([]byte(r.command("status", "--json")), &doc); err != nil {
		r.t.Fatal(err)
	}
	q, a := doc.Quorum, doc.Apps[0]
	if q.Mode != status.External || !q.OK || q.Servers != replicas || !slices.Contains(leaders, q.Leader) {
		r.t.Errorf("quorum %+v, want %d external servers led by one of %v", q, replicas, leaders)
	}
	if a.State != machine.AppRunning || a.Node != "node1@lxw" || uint64(a.Epoch) != first.epoch {
		r.t.Errorf("app %+v, want it running at node1@lxw with epoch %d", a, first.epoch)
	}
	for _, rec := range r.records("node.") {
		if rec.TTL != policy.ExternalTTL.String() {
			r.t.Errorf("lease of %s: %s, want %v", rec.Name, rec.TTL, policy.ExternalTTL)
		}
	}
	if said := r.nodes["node1"].said(); !strings.Contains(said, "ttl=20s") || !strings.Contains(said, "failover_at_most=21s") {
		r.t.Errorf("the log does not say what lease there is:\n%s", said)
	}
	if err := policy.NewLease(policy.ExternalTTL, policy.ExternalKVOutage).Validate(); err != nil {
		r.t.Error(err)
	}
}

// record is what all tests look at in a record.
type record struct {
	Name    string `json:"name"`
	Session string `json:"session"`
	State   string `json:"state"`
	TTL     string `json:"ttl"`
}

// records are those of the keys with this prefix, sorted by key, as the nats
// CLI reads them.
func (r *run3) records(prefix string) []record {
	r.t.Helper()
	js, err := jetstream.New(r.nc)
	if err != nil {
		r.t.Fatal(err)
	}
	kv, err := js.KeyValue(r.t.Context(), "regent_"+r.w.cluster)
	if err != nil {
		r.t.Fatal(err)
	}
	keys, err := kv.Keys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(keys)
	var all []record
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		entry, err := kv.Get(r.t.Context(), key)
		if err != nil {
			r.t.Fatal(err)
		}
		var rec record
		if err := json.Unmarshal(entry.Value(), &rec); err != nil {
			r.t.Fatalf("%s: %v", key, err)
		}
		all = append(all, rec)
	}
	return all
}

// sessions of all nodes.
func (r *run3) sessions() []string {
	r.t.Helper()
	var all []string
	for _, rec := range r.records("node.") {
		all = append(all, rec.Name+" "+rec.Session+" "+rec.State)
	}
	return all
}

// killAndReturn is kill -9 of the owner, failover, and takeover on its return;
// the failover is the n-th start.
func (r *run3) killAndReturn(n int) {
	r.t.Helper()
	r.nodes["node1"].kill()
	killed := time.Now()
	r.w.waitStart(15*time.Second, n, []string{"node2", "node3"}, "failover")
	took := time.Since(killed)
	r.t.Logf("failover %v after kill -9, with a Timeout of 1 s", took)
	if took < time.Second {
		r.t.Errorf("failover after %v, before its Timeout", took)
	}
	r.nodes["node1"] = r.w.node("node1", append([]string{"--start", app}, r.node...)...)
	r.w.waitStart(30*time.Second, n+1, []string{"node1"}, "takeover")
}

// end stops the app everywhere, and then the nodes.
func (r *run3) end() {
	r.t.Helper()
	r.command("stop", app, "--all")
	all := r.w.starts()
	if last := all[len(all)-1]; last.alive() {
		r.t.Errorf("%v runs after it was stopped", last)
	}
	// Who has it started is known by heartbeats.
	within(r.t, 5*time.Second, "all nodes know that the app is stopped everywhere", func() bool {
		return !slices.ContainsFunc(three, func(name string) bool {
			doc, err := r.w.ask(r.nc, name)
			return err != nil || doc.Apps[0].State != machine.AppStopped || len(doc.Apps[0].StartedOn) != 0
		})
	})
	for _, name := range three {
		if code := r.nodes[name].terminate(); code != 0 {
			r.t.Errorf("%s ended with %d after SIGTERM", name, code)
		}
	}
	for _, s := range r.sessions() {
		if !strings.HasSuffix(s, " closed") {
			r.t.Errorf("after a graceful end: %s", s)
		}
	}
}

// Clusters share a server by their names; a name is one cookie's.
func TestOtherCookie(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	nc := connect(t, s.url(""))
	ours, theirs, beside := newWorld(t, "", "node1"), newWorld(t, "", "node2"), newWorld(t, "", "node1")
	for _, w := range []*world{theirs, beside} {
		w.write("cookie", "another-cookie-abcdefg-9876543210\n")
	}
	beside.cluster = "beside"
	first := ours.node("node1", "--server", s.url(""))
	ours.waitUp(nc, "node1")
	stranger := theirs.node("node2", "--server", s.url(""))
	neighbour := beside.node("node1", "--server", s.url(""))
	beside.waitUp(nc, "node1")
	stranger.exits(refusal, 4)
	ours.lives(first, "--server", s.url(""))
	beside.lives(neighbour, "--server", s.url(""))
}

// Of two agents with one name, on two data directories, exactly one stays: the
// name counts, not the directory.
func TestOneNameTwice(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	nc := connect(t, s.url(""))
	w := newWorld(t, "", "node1")
	first := w.node("node1", "--server", s.url(""))
	w.waitUp(nc, "node1")
	second := newWorld(t, "", "node1").node("node1", "--server", s.url(""))
	second.exits(refusal, 7)
	if first.ended() {
		t.Fatal("the node that had the name ended")
	}
	w.lives(first, "--server", s.url(""))
}

// Of two that come up at the same moment one stays too.
func TestOneNameTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	nc := connect(t, s.url(""))
	w := [2]*world{newWorld(t, "", "node1"), newWorld(t, "", "node1")}
	n := [2]*life{w[0].node("node1", "--server", s.url("")), w[1].node("node1", "--server", s.url(""))}
	within(t, refusal, "one of two ends", func() bool { return n[0].ended() || n[1].ended() })
	loser := 0
	if n[1].ended() {
		loser = 1
	}
	n[loser].exits(time.Second, 7)
	w[1-loser].waitUp(nc, "node1")
	w[1-loser].lives(n[1-loser], "--server", s.url(""))
}
