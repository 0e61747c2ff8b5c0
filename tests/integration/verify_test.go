//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager"
)

// ledgered is three nodes that show their metrics, and an app that writes down
// who it is.
type ledgered struct {
	*host
	clients, web map[string]string
	nodes        map[string]*process
}

func newLedgered(t *testing.T) *ledgered {
	t.Helper()
	g := &ledgered{host: newHost(t), web: map[string]string{}, nodes: map[string]*process{}}
	g.write("app.sh", `echo "$$" >>pids; exec sleep 1000`+"\n")
	g.write("pids", "")
	one := strings.ReplaceAll(threeOnes, "timeout: 2s", "timeout: 0s")
	g.clients = g.configure("three.yaml", one+fmt.Sprintf("\napps: {myapp: {command: [sh, app.sh], dir: %q}}", g.dir), three...)
	for i, p := range port.Free(t, len(three)) {
		g.web[three[i]] = fmt.Sprintf("127.0.0.1:%d", p)
		g.boot(three[i])
	}
	return g
}

func (g *ledgered) boot(name string) {
	g.t.Helper()
	g.nodes[name] = g.begin("node", "--sname", name, "--config", "three.yaml", "--data", "data-"+name, "--start", "myapp", "--http", g.web[name])
}

// runsOn waits until node asked says that the app runs there, by more than an
// epoch.
func (g *ledgered) runsOn(node, asked string, epoch uint64) uint64 {
	g.t.Helper()
	doc := g.until("it runs on "+node, g.clients[asked], func(d manager.ClusterStatus) bool {
		return len(d.Apps) == 1 && d.Apps[0].State == "running" && string(d.Apps[0].Node) == node && uint64(d.Apps[0].Epoch) > epoch
	})
	return uint64(doc.Apps[0].Epoch)
}

func (g *ledgered) pid() int {
	g.t.Helper()
	lines := strings.Fields(g.read("pids"))
	pid, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		g.t.Fatal(err)
	}
	return pid
}

// does runs a command that must succeed.
func (g *ledgered) does(args ...string) result {
	g.t.Helper()
	r := g.run(append(args, "--server", "tls://"+g.clients["node2@lxw"])...)
	if r.code != 0 {
		g.t.Fatalf("regent %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.errOut)
	}
	return r
}

// shown is what a node says over HTTP.
func (g *ledgered) shown(node, path string) (int, string) {
	g.t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + g.web[node] + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (g *ledgered) eventually(what string, ok func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(runMax); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("not within %v: %s", runMax, what)
		}
	}
}

// verdict is what regent verify --json prints.
type verdict struct {
	OK                            bool
	Events, Claims, Instances     int
	Lives, Apps, Running, Records int
	Successions                   struct{ Exact, Unjudged int }
	Findings                      []struct {
		Kind, App, Text string
		Exact           bool
		Events          []kv.Event
		Records         []map[string]any
	}
	NotJudged []struct{ Text string } `json:"not_judged"`
}

func (g *ledgered) verify() (v verdict, r result) {
	g.t.Helper()
	r = g.run("verify", "--json", "--server", "tls://"+g.clients["node2@lxw"])
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		g.t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.out, r.errOut)
	}
	return v, r
}

// TestVerify: an ordinary life with a failover, takeovers, a stop and a restart in
// place proves itself; violations that are planted are found, and what nodes can
// see at once they say at once.
func TestVerify(t *testing.T) {
	t.Parallel()
	g := newLedgered(t)
	g.ordinary()
	g.proved()
	g.plantEvent()
	g.plantRecord()
	g.refuted()
}

func (g *ledgered) ordinary() {
	g.t.Helper()
	epoch := g.runsOn("node1@lxw", "node2@lxw", 0)
	g.nodes["node1@lxw"].kill()
	doc := g.until("a failover", g.clients["node2@lxw"], func(d manager.ClusterStatus) bool {
		return len(d.Apps) == 1 && d.Apps[0].State == "running" && d.Apps[0].Node != "node1@lxw"
	})
	g.t.Logf("failover to %s", doc.Apps[0].Node)
	g.boot("node1@lxw")
	epoch = g.runsOn("node1@lxw", "node2@lxw", epoch+1)
	g.does("takeover", "myapp", "--to", "node2@lxw")
	epoch = g.runsOn("node2@lxw", "node2@lxw", epoch)
	old := g.pid()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		g.t.Fatal(err)
	}
	g.eventually("a restart in place", func() bool { return g.pid() != old })
	g.does("stop", "myapp", "--all")
	g.does("start", "myapp", "--all")
	g.runsOn("node1@lxw", "node2@lxw", epoch)
}

func (g *ledgered) proved() {
	g.t.Helper()
	wardens := g.wardens()
	lives := len(three) + 1 + wardens // node1@lxw had two, and a warden that writes is one of its own
	var v verdict
	var r result
	g.eventually("the ledger has all of it", func() bool {
		v, r = g.verify()
		return v.Instances >= 6
	})
	if r.code != 0 || !v.OK || len(v.Findings) > 0 || v.Claims < 5 || v.Lives != lives || v.Apps != 1 || v.Running != 1 || v.Records < 5 {
		g.t.Fatalf("exit code %d, want 0, and 1 app, 1 running, %d lives: %s%s", r.code, lives, r.out, r.errOut)
	}
	if s := v.Successions; s.Exact != v.Instances-1 || s.Unjudged != 0 || len(v.NotJudged) > 0 {
		g.t.Errorf("not everything was judged by one clock: %s\n%s", r.out, g.does("events").out)
	}
	text := g.does("verify")
	if !strings.HasPrefix(text.out, "cluster default: no violation\n") || !strings.Contains(text.out, "0 not judged") {
		g.t.Errorf("it says\n%s", text.out)
	}
	if v, _ := g.since("1ms"); len(v.Findings) > 0 || !strings.Contains(fmt.Sprint(v.NotJudged), "before the beginning") {
		g.t.Errorf("of the last millisecond: %+v", v)
	}
	for _, n := range three {
		g.eventually(n+" is ready", func() bool { code, _ := g.shown(n, "/readyz"); return code == 200 })
		if code, text := g.shown(n, "/healthz"); code != 200 || text != "ok\n" {
			g.t.Errorf("%s: healthz %d %s", n, code, text)
		}
	}
	var missing string
	g.eventually("node2@lxw has all metrics", func() bool {
		line := g.metered(wardens)
		if line != "" && line != missing {
			missing = line
			g.t.Logf("metrics of node2@lxw have no %s yet", line)
		}
		return line == ""
	})
}

// metered is the first line that node2's metrics lack.
func (g *ledgered) metered(wardens int) (missing string) {
	g.t.Helper()
	_, metrics := g.shown("node2@lxw", "/metrics")
	for _, line := range []string{
		`regent_double_owner_total{app="myapp"} 0`, `regent_app_running{app="myapp"} 1`, `regent_app_owned{app="myapp"} 0`, `regent_session 1`, `regent_quorum 1`, `regent_servers 3`,
		`regent_nodes{state="up"} 3`, fmt.Sprintf(`regent_certificates_total{by="warden"} %d`, wardens), `regent_exits_total{app="myapp"} 1`, `regent_events_lost_total 0`,
		`regent_renewals_total{outcome="ok"} `, `regent_build_info{cluster="default",node="node2@lxw"`,
	} {
		if !strings.Contains(metrics, line) {
			return line
		}
	}
	return ""
}

// wardens is how many deaths the wardens have certified: that of node1@lxw as a
// rule, and none if its warden was so slow on a busy host that another node ended
// it and certified the death in its place.
func (g *ledgered) wardens() (n int) {
	g.t.Helper()
	g.eventually("a certificate in the history", func() bool {
		out := g.does("events", "--node", "node1@lxw").out
		n = strings.Count(out, "by its warden")
		return strings.Contains(out, "certified")
	})
	return n
}

func (g *ledgered) since(d string) (v verdict, r result) {
	g.t.Helper()
	r = g.does("verify", "--json", "--since", d)
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		g.t.Fatal(err)
	}
	return v, r
}

// dial connects with the rights of a node.
func (g *ledgered) dial() *nats.Conn {
	g.t.Helper()
	authority, err := cred.Derive(cookie(g.t, g.read("cookie")), "default")
	if err != nil {
		g.t.Fatal(err)
	}
	login, err := authority.ConnOptions(cred.App, "node3@lxw")
	if err != nil {
		g.t.Fatal(err)
	}
	nc, err := nats.Connect("tls://"+g.clients["node3@lxw"], login...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	return nc
}

// plantEvent writes down an instance that nobody had a right to.
func (g *ledgered) plantEvent() {
	g.t.Helper()
	js, err := jetstream.New(g.dial())
	if err != nil {
		g.t.Fatal(err)
	}
	data, err := json.Marshal(kv.Event{
		Schema: 1, Time: time.Now(), Type: kv.AppStarting, App: "myapp", Node: "node9@lxw", Epoch: 99, Session: "s", Claim: "c", Run: 1,
		By: "node9@lxw", Life: "planted", N: 1, Clock: "another", Mono: 1,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := js.Publish(g.t.Context(), "regent.default.event.app_starting.myapp", data); err != nil {
		g.t.Fatal(err)
	}
}

// plantRecord lets the record's epoch go back, as a store that was set back
// would.
func (g *ledgered) plantRecord() {
	g.t.Helper()
	js, err := jetstream.New(g.dial())
	if err != nil {
		g.t.Fatal(err)
	}
	bucket, err := js.KeyValue(g.t.Context(), "regent_default")
	if err != nil {
		g.t.Fatal(err)
	}
	entry, err := bucket.Get(g.t.Context(), "app.myapp")
	if err != nil {
		g.t.Fatal(err)
	}
	var rec map[string]any
	if err := json.Unmarshal(entry.Value(), &rec); err != nil {
		g.t.Fatal(err)
	}
	rec["epoch"], rec["high"], rec["owner"] = 1, 1, "node3@lxw"
	data, err := json.Marshal(rec)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := bucket.Put(g.t.Context(), "app.myapp", data); err != nil {
		g.t.Fatal(err)
	}
}

func (g *ledgered) refuted() {
	g.t.Helper()
	for _, n := range three {
		g.nodes[n].says("level=ERROR", "double_owner", "app=myapp")
		g.eventually(n+" counts the alarm", func() bool {
			_, text := g.shown(n, "/metrics")
			return strings.Contains(text, `regent_double_owner_total{app="myapp"} 1`)
		})
	}
	g.runsOn("node1@lxw", "node2@lxw", 1) // it asserts itself and runs on
	var v verdict
	var r result
	by := map[string]bool{}
	g.eventually("the alarms of all nodes stand in the ledger", func() bool {
		v, r = g.verify()
		for _, f := range v.Findings {
			if f.Kind == "alarm" {
				by[string(f.Events[0].By)] = true
			}
		}
		return len(by) == len(three)
	})
	var kinds []string
	for _, f := range v.Findings {
		kinds = append(kinds, f.Kind)
		if f.App != "myapp" || f.Text == "" || len(f.Events)+len(f.Records) == 0 {
			g.t.Errorf("finding %+v", f)
		}
	}
	for _, want := range []string{"without_claim", "epoch_back", "alarm"} {
		if !slices.Contains(kinds, want) {
			g.t.Errorf("no %s among %v", want, kinds)
		}
	}
	if r.code != 1 || v.OK || !strings.Contains(r.errOut, "regent: verify: ") {
		g.t.Errorf("exit code %d, %s", r.code, r.errOut)
	}
	text := g.run("verify", "--server", "tls://"+g.clients["node2@lxw"])
	for _, want := range []string{"VIOLATIONS", "without_claim: node9@lxw started myapp by epoch 99 and had not claimed it", "of life planted", "highest 1\n"} {
		if text.code != 1 || !strings.Contains(text.out, want) {
			g.t.Errorf("exit code %d, no %q in\n%s", text.code, want, text.out)
		}
	}
}
