//go:build linux

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager"
)

const inOrder = "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw, node2@lxw, node3@lxw]}]"

// three begins the three nodes of a file and waits until myapp runs on node1.
func (m *host) threeWith(file string, args ...string) map[string]*process {
	m.t.Helper()
	nodes := map[string]*process{}
	for _, n := range three {
		nodes[n] = m.begin(append([]string{"node", "--sname", n, "--config", file, "--start", "myapp", "--data", n}, args...)...)
	}
	return nodes
}

func runs(app, on string) func(manager.ClusterStatus) bool {
	return func(d manager.ClusterStatus) bool {
		for _, a := range d.Apps {
			if string(a.Name) == app {
				return a.State == manager.AppRunning && string(a.Node) == on
			}
		}
		return false
	}
}

// TestConfigApply: another specification becomes the cluster's while it runs; it
// moves nothing, and who comes with the old file is refused (B-10).
func TestConfigApply(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("old.yaml", inOrder+sleeper, three...)
	swapped := strings.Replace(m.read("old.yaml"), "timeout: 2s, nodes: [node1@lxw, node2@lxw, node3@lxw]", "timeout: 500ms, nodes: [node3@lxw, [node1@lxw, node2@lxw]]", 1)
	m.write("new.yaml", swapped)
	nodes := m.threeWith("old.yaml")
	client := clients["node2@lxw"]
	before := m.until("myapp runs on node1, all are there", client, func(d manager.ClusterStatus) bool {
		up := 0
		for _, n := range d.Nodes {
			if n.State == manager.NodeUp && n.Session != "" {
				up++ // one without a session is still joining, and would be refused
			}
		}
		return up == 3 && len(d.Apps) == 1 && len(d.Apps[0].StartedOn) == 3 && runs("myapp", "node1@lxw")(d)
	})
	at := []string{"--server", "tls://" + client}

	r := m.run(append([]string{"config", "apply", "new.yaml"}, at...)...)
	for _, want := range []string{
		"myapp: equals from [node1@lxw, node2@lxw, node3@lxw] to [node3@lxw, {node1@lxw, node2@lxw}]",
		"myapp: timeout from 2s to 500ms", "applied at node1@lxw, node2@lxw, node3@lxw",
	} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("config apply: exit code %d, %q not in\n%s%s", r.code, want, r.out, r.errOut)
		}
	}
	after := m.until("the new list", client, func(d manager.ClusterStatus) bool {
		return len(d.Apps[0].Nodes[0]) == 1 && d.Apps[0].Nodes[0][0] == "node3@lxw"
	})
	if a, b := before.Apps[0], after.Apps[0]; a.Node != b.Node || a.Epoch != b.Epoch {
		t.Errorf("it moved from %s (epoch %d) to %s (epoch %d)", a.Node, a.Epoch, b.Node, b.Epoch)
	}
	if r := m.run(append([]string{"why", "myapp"}, at...)...); !strings.Contains(r.out, "A-7") {
		t.Errorf("why says\n%s%s", r.out, r.errOut)
	}
	if r := m.run(append([]string{"events", "--json"}, at...)...); !strings.Contains(r.out, `"type":"config"`) || !strings.Contains(r.out, "timeout from 2s to 500ms") {
		t.Errorf("no event of it in\n%s", r.out)
	}

	// Refused: other voters, an app that is started taken out, nothing at all.
	m.write("voters.yaml", swapped+"servers: [node1@lxw]\n")
	m.fails(6, []string{"specification differs: voters: [node1@lxw node2@lxw node3@lxw]", "[node1@lxw] asked for"}, append([]string{"config", "apply", "voters.yaml"}, at...)...)
	m.write("out.yaml", strings.Replace(swapped, "app: myapp", "app: other", 1))
	m.fails(1, []string{"running: myapp is started", "regent stop myapp --all"}, append([]string{"config", "apply", "out.yaml"}, at...)...)
	m.write("none.yaml", "hosts: {lxw: 127.0.0.1}\n")
	m.fails(2, []string{"nothing is distributed in none.yaml"}, append([]string{"config", "apply", "none.yaml"}, at...)...)
	m.write("bad.yaml", "distributed: [{app: myapp, timeout: -1s, nodes: [a@b]}]")
	m.fails(2, []string{"regent: bad.yaml:1:37: "}, append([]string{"config", "apply", "bad.yaml"}, at...)...)

	// The failover goes by the new list, and its Timeout.
	nodes["node1@lxw"].kill()
	m.until("myapp runs on node3", client, runs("myapp", "node3@lxw"))
	m.fails(6, []string{"myapp: ", "timeout differs: 500ms and 2s (theirs and ours)", "\nhint: "},
		"node", "--sname", "node1@lxw", "--config", "old.yaml", "--data", "node1@lxw")
	back := m.begin("node", "--sname", "node1@lxw", "--config", "new.yaml", "--data", "node1@lxw")
	m.until("node1 is up with the new file", client, func(d manager.ClusterStatus) bool {
		return d.Nodes[0].Name == "node1@lxw" && d.Nodes[0].State == manager.NodeUp
	})
	m.until("myapp still runs on node3", client, runs("myapp", "node3@lxw"))

	// What was applied stays when all nodes have ended.
	for _, p := range []*process{back, nodes["node2@lxw"], nodes["node3@lxw"]} {
		p.terminate()
	}
	var again []*process
	for _, n := range three {
		again = append(again, m.begin("node", "--sname", n, "--config", "old.yaml", "--data", n))
	}
	// Without a quorum the last of them only waits.
	refused := func() (n int) {
		for _, p := range again {
			if p.ended() && p.end() == 6 {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(runMax); refused() < 2; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of three nodes with the old files were refused", refused())
		}
	}
}

// TestPermitPersist: B-15, over a restart of the node.
func TestPermitPersist(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", inOrder+sleeper, three...)
	nodes := m.threeWith("three.yaml")
	client := clients["node2@lxw"]
	at := []string{"--server", "tls://" + client}
	m.until("myapp runs on node1", client, runs("myapp", "node1@lxw"))
	if r := m.run(append([]string{"permit", "myapp", "false", "--on", "node1@lxw", "--persist"}, at...)...); r.code != 0 || !strings.HasPrefix(r.out, "kept: myapp not permitted at node1@lxw") {
		t.Fatalf("permit --persist: %+v", r)
	}
	m.until("myapp runs on node2", client, runs("myapp", "node2@lxw"))
	nodes["node1@lxw"].terminate()
	again := m.begin("node", "--sname", "node1@lxw", "--config", "three.yaml", "--start", "myapp", "--data", "node1@lxw")
	m.until("node1 is back, not permitted", client, func(d manager.ClusterStatus) bool {
		return d.Nodes[0].State == manager.NodeUp && len(d.Apps[0].StartedOn) == 3 && !d.Apps[0].Permitted["node1@lxw"]
	})
	m.until("myapp stays on node2", client, runs("myapp", "node2@lxw"))
	if r := m.run(append([]string{"permit", "myapp", "true", "--on", "node1@lxw", "--persist"}, at...)...); r.code != 0 {
		t.Fatalf("permit --persist: %+v", r)
	}
	m.until("myapp runs on node1 again", client, runs("myapp", "node1@lxw"))
	again.terminate()
	m.begin("node", "--sname", "node1@lxw", "--config", "three.yaml", "--start", "myapp", "--data", "node1@lxw")
	m.until("node1 has it back after another restart", client, runs("myapp", "node1@lxw"))
}

// TestLoadDistributed: -eval application:load/2 makes a local app of the three
// nodes' files distributed (A-5, B-26); erl's flags as people write them, and net_ticktime
// is reported.
func TestLoadDistributed(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", inOrder+"\napps: {myapp: {command: [sleep, \"1000\"]}, extra: {command: [sleep, \"1000\"]}}", three...)
	client := clients["node2@lxw"]
	eval := "application:load(extra, {extra, 500, [node2@lxw, {node1@lxw, 'node3@lxw'}]}), application:start(extra)."
	for _, n := range three {
		m.begin("erl", "-noshell", "-sname", n, "-config", "three.yaml", "-kernel", "net_ticktime", "30", "-eval", eval, "+K", "true", "--data", n).
			says("net_ticktime is accepted", "30s")
	}
	doc := m.until("extra runs on node2", client, runs("extra", "node2@lxw"))
	m.until("all have started it", client, func(d manager.ClusterStatus) bool { return len(d.Apps[0].StartedOn) == 3 })
	if a := doc.Apps[0]; a.TimeoutMS == nil || *a.TimeoutMS != 500 || len(a.Nodes) != 2 {
		t.Errorf("it is specified as %+v", a)
	}
	if r := m.run("start", "nosuchapp", "--on", "node1@lxw", "--server", "tls://"+client); r.code != 1 || !strings.Contains(r.errOut, "not loaded") {
		t.Errorf("start of an app that nobody described: %+v", r)
	}
}

// TestStartsThatFail: a --start or -eval that fails at run time is a line of the
// log and an event, and the node stays (A-49, B-26).
func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	client := m.configure("one.yaml", "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw]}, {app: bare, timeout: 2s, nodes: [node1@lxw]}]"+sleeper, "node1@lxw")["node1@lxw"]
	p := m.begin("erl", "-sname", "node1@lxw", "-config", "one.yaml", "--data", "data", "--start", "nosuch", "--start", "bare", "--start", "myapp",
		"-eval", "application:start(nobodys), application:takeover(myapp, permanent)")
	m.until("myapp runs", client, runs("myapp", "node1@lxw"))
	p.says("app_start_failed", "nosuch", "not loaded")
	p.says("app_start_failed", "bare", "define it under apps")
	p.says("application:start(nobodys)", "not loaded")
	for _, want := range []string{`"app":"nosuch"`, `"app":"bare"`, `"app":"nobodys"`} {
		m.events(client, want)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("the node ended with %d", code)
	}
}

// events waits until the history has a failed start with some text.
func (m *host) events(client, text string) {
	m.t.Helper()
	for deadline := time.Now().Add(runMax); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for line := range strings.SplitSeq(m.run("events", "--json", "--server", "tls://"+client).out, "\n") {
			if strings.Contains(line, "app_start_failed") && strings.Contains(line, text) {
				return
			}
		}
	}
	m.t.Fatalf("no event with %s", text)
}
