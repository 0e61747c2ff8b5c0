package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy"
)

// mixed is a cluster of three voters and a client, node4, which is the best
// node of an app like any other.
type mixed struct {
	*cluster
	deaf    chan struct{} // ends the app that does not listen
	aborted chan string   // what a program would have ended with
}

const mixedYAML = `servers: [node1@lxw, node2@lxw, node3@lxw]
distributed:
  - {app: byclient, timeout: 500ms, nodes: [node4@lxw, [node1@lxw, node2@lxw]]}
  - {app: myapp, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
  - {app: over, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
  - {app: bad, timeout: 2s, nodes: [node3@lxw]}
  - {app: deaf, timeout: 2s, nodes: [node3@lxw]}
apps:
  over: {takeover: overlap}
  here: {}
  deaf: {stop: {timeout: 300ms}}
`

func newMixed(t *testing.T) *mixed {
	m := &mixed{configuredCluster(t, mixedYAML), make(chan struct{}), make(chan string, 1)}
	for _, name := range []string{"node1", "node2", "node3", "node4"} {
		m.boot(name, m.apps(name))
	}
	return m
}

// apps registers all apps on a node.
func (m *mixed) apps(name string) func(*manager.Options) {
	make := func(a testApp) func() manager.Application {
		a.j, a.node = m.j, name
		return func() manager.Application { own := a; return &own }
	}
	return func(o *manager.Options) {
		for _, app := range []string{"byclient", "myapp", "over", "here"} {
			o.Apps[app] = make(testApp{})
		}
		o.Apps["bad"] = make(testApp{fail: errors.New("no licence")})
		o.Apps["deaf"] = make(testApp{deaf: m.deaf})
		o.Abort = func(reason string) { m.aborted <- reason; <-m.deaf }
	}
}

func TestMixedCluster(t *testing.T) {
	m := newMixed(t)
	for _, test := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"client owns", m.clientOwns},
		{"local app", m.localApp},
		{"overlapping takeover", m.overlap},
		{"permit", m.permit},
		{"start fails", m.startFails},
		{"deaf app", m.deafApp},
		{"other specification", m.otherSpecification},
		{"other cookie", m.otherCookie},
		{"client leaves", m.clientLeaves},
		{"name taken", m.nameTaken},
	} {
		if !t.Run(test.name, test.f) {
			return // what follows builds on it
		}
	}
}

// clientOwns: the best node is one without a server.
func (m *mixed) clientOwns(t *testing.T) {
	m.startOn("byclient", "node4", "node1", "node2")
	m.login()
	if on := m.j.running("byclient"); !slices.Equal(on, []string{"node4"}) {
		t.Errorf("runs on %v", on)
	}
}

// localApp: an app without a list runs wherever it is started, at once.
func (m *mixed) localApp(t *testing.T) {
	m.startOn("here", "node2", "node4")
	if on := m.j.running("here"); !slices.Equal(on, []string{"node2", "node4"}) {
		t.Errorf("runs on %v", on)
	}
	if err := m.nodes["node4"].n.StopApp(t.Context(), "here"); err != nil {
		t.Error(err)
	}
	if on := m.j.running("here"); !slices.Equal(on, []string{"node2"}) {
		t.Errorf("after the stop it runs on %v", on)
	}
	if err := m.nodes["node2"].n.Takeover(t.Context(), "here", ""); !errors.Is(err, manager.ErrNotRunningDistributed) {
		t.Errorf("takeover of a local app: %v", err)
	}
}

// login: an app at a node without a server of its own gets into NATS all the same.
func (m *mixed) login() {
	m.t.Helper()
	l := m.j.of("byclient")[0].s.NATS
	nc, err := nats.Connect(l.URL, nats.UserJWT(l.Token, l.Sign), nats.Secure(l.TLS()), nats.CustomInboxPrefix(l.Inbox))
	if err != nil {
		m.t.Fatal(err)
	}
	nc.Close()
}

// overlap: the new instance starts beside the old one, is confirmed as owner,
// and then the old one stops.
func (m *mixed) overlap(t *testing.T) {
	m.startOn("over", "node1", "node2", "node3")
	if err := m.nodes["node2"].n.Takeover(t.Context(), "over", ""); err != nil {
		t.Fatal(err)
	}
	m.eventually("the old instance ends, the new one is confirmed", func() bool {
		return len(m.j.of("over")) == 4 && len(m.j.running("over")) == 1
	})
	type step struct{ node, what string }
	var steps []step
	for _, e := range m.j.of("over") {
		steps = append(steps, step{e.node, e.what})
	}
	// The two learn of the take on their own, in either order.
	want := []step{{"node1", started}, {"node2", started}, {"node2", confirmed}, {"node1", stopped}}
	if len(steps) == 4 && steps[2].what == stopped {
		steps[2], steps[3] = steps[3], steps[2]
	}
	if !slices.Equal(steps, want) {
		t.Errorf("happened %v, want %v", steps, want)
	}
	first, second := m.j.of("over")[0].s, m.j.of("over")[1].s
	if second.Kind != policy.StartTakeover || second.From != "node1@lxw" || second.Epoch <= first.Epoch || first.Provisional || !second.Provisional {
		t.Errorf("the new instance was told %+v after %+v", second, first)
	}
	if err := m.nodes["node2"].n.Takeover(t.Context(), "over", ""); !errors.Is(err, manager.ErrAlreadyRunningLocally) {
		t.Errorf("takeover by the owner: %v", err)
	}
}

// permit: withdrawn where the app runs it moves the app, and the call returns
// when that is done; given again where it is best it moves it back.
func (m *mixed) permit(t *testing.T) {
	m.startOn("myapp", "node1", "node2", "node3")
	n := m.nodes["node1"].n
	if err := n.Permit(t.Context(), "myapp", false); err != nil {
		t.Fatal(err)
	}
	if on := m.j.running("myapp"); len(on) != 1 || on[0] == "node1" {
		t.Errorf("not permitted on node1, it runs on %v", on)
	}
	if err := n.Permit(t.Context(), "myapp", true); err != nil {
		t.Fatal(err)
	}
	if on := m.j.running("myapp"); !slices.Equal(on, []string{"node1"}) {
		t.Errorf("permitted again, it runs on %v", on)
	}
}

func (m *mixed) startFails(t *testing.T) {
	n := m.nodes["node3"].n
	err := n.StartApp(t.Context(), "bad", "")
	if !errors.Is(err, manager.ErrStartFailed) || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("start: %v", err)
	}
	if err := n.StartApp(t.Context(), "unheard", ""); !errors.Is(err, manager.ErrNotLoaded) {
		t.Errorf("start of an unknown app: %v", err)
	}
	if err := m.nodes["node4"].n.StopApp(t.Context(), "myapp"); !errors.Is(err, manager.ErrNotStarted) {
		t.Errorf("stop of an app that is not started: %v", err)
	}
}

// deafApp: a Go app that goes on although its context has ended takes its
// program with it, soon after the stop timeout.
func (m *mixed) deafApp(t *testing.T) {
	m.startOn("deaf", "node3")
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- m.nodes["node3"].n.StopApp(t.Context(), "deaf") }()
	select {
	case reason := <-m.aborted:
		if d := time.Since(begin); !strings.Contains(reason, `"deaf"`) || d < 300*time.Millisecond || d > 3*time.Second {
			t.Errorf("after %v: %s", d, reason)
		}
	case <-time.After(10 * time.Second):
		t.Error("the program was not ended")
	}
	select {
	case err := <-done:
		t.Errorf("stop returned %v with the app alive", err)
	default:
	}
	close(m.deaf)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// steady checks that a newcomer that was refused moved nothing.
func (m *mixed) steady(t *testing.T, f func()) {
	t.Helper()
	before := len(m.j.of("myapp"))
	f()
	if after := m.j.of("myapp"); len(after) != before || !slices.Equal(m.j.running("myapp"), []string{"node1"}) {
		t.Errorf("the running nodes were disturbed: %v", after[before:])
	}
}

func (m *mixed) otherSpecification(t *testing.T) {
	other := filepath.Join(m.dir, "other.yaml")
	raw, err := os.ReadFile(filepath.Join(m.dir, "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "app: myapp, timeout: 2s", "app: myapp, timeout: 9s", 1)
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := manager.LoadConfig(other)
	if err != nil {
		t.Fatal(err)
	}
	m.steady(t, func() {
		e := m.ends(m.begin("node5", func(o *manager.Options) { o.Config = cfg }))
		if e.Code != manager.ExitDigest || !strings.Contains(e.Reason, "myapp: timeout differs: 2s and 9s") || e.Hint == "" {
			t.Errorf("exit %+v", e)
		}
	})
}

func (m *mixed) otherCookie(t *testing.T) {
	m.steady(t, func() {
		e := m.ends(m.begin("node5", func(o *manager.Options) { o.Cookie = cookie(t, "another-cookie-0123456789-abcdef") }))
		if e.Code != manager.ExitRefused || e.Hint == "" {
			t.Errorf("exit %+v", e)
		}
	})
}

// nameTaken: of two lives of one name the second ends, and says why.
func (m *mixed) nameTaken(t *testing.T) {
	m.boot("node4", m.apps("node4"))
	m.eventually("node4 is back", func() bool { return m.nodes["node4"].n.View().Session != "" })
	elsewhere := func(o *manager.Options) { o.DataDir = filepath.Join(m.dir, "elsewhere", o.Name) }
	for what, begin := range map[string]func() *running{
		"voter, same directory":  func() *running { return m.begin("node2") },
		"voter, same port":       func() *running { return m.begin("node2", elsewhere) },
		"client, same directory": func() *running { return m.begin("node4") },
		"client, same name":      func() *running { return m.begin("node4", elsewhere) },
	} {
		m.steady(t, func() {
			if e := m.ends(begin()); e.Code != manager.ExitDuplicate || e.Reason == "" || e.Hint == "" {
				t.Errorf("%s: exit %+v", what, e)
			}
		})
	}
}

// clientLeaves: its app fails over to a voter after the Timeout.
func (m *mixed) clientLeaves(t *testing.T) {
	begin := time.Now()
	if e := m.halt("node4"); e.Code != manager.ExitOK {
		t.Errorf("exit %+v", e)
	}
	m.eventually("failover", func() bool { return len(m.j.running("byclient")) == 1 })
	all := m.j.of("byclient")
	last := all[len(all)-1]
	if last.s.Kind != policy.StartFailover || last.s.From != "node4@lxw" || last.at.Sub(begin) < 500*time.Millisecond {
		t.Errorf("started after %v with %+v", last.at.Sub(begin), last.s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	st, err := m.nodes["node1"].n.Status(ctx)
	i := slices.IndexFunc(st.Nodes, func(n manager.NodeStatus) bool { return n.Name == "node4@lxw" })
	if err != nil || i < 0 || st.Nodes[i].State != manager.NodeLeft {
		t.Errorf("status %+v, %v", st.Nodes, err)
	}
}

// TestBarrierNamesWhoIsMissing: a mandatory node that has another cookie is
// there, but it is no member: it is named with the reason, and ends itself,
// since everybody refuses it.
func TestBarrierNamesWhoIsMissing(t *testing.T) {
	c := configuredCluster(t, `sync: {mandatory: [node1@lxw, node2@lxw, node3@lxw, node4@lxw], timeout: 6s}
distributed:
  - {app: myapp, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}
`)
	odd := c.begin("node3", func(o *manager.Options) { o.Cookie = cookie(t, "another-cookie-0123456789-abcdef") })
	n1, n2 := c.begin("node1"), c.begin("node2")
	if e := c.ends(odd); e.Code != manager.ExitRefused || !strings.Contains(e.Reason, "cookie") {
		t.Errorf("node3: exit %+v", e)
	}
	for _, n := range []*running{n1, n2} {
		e := c.ends(n)
		if e.Code != manager.ExitMandatory || !strings.Contains(e.Reason, "node3@lxw (refused: other cookie), node4@lxw") {
			t.Errorf("%s: exit %+v", n.n.Name(), e)
		}
	}
}
