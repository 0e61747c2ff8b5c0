//go:build linux

package external

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
)

// sleepers is a world whose app only sleeps, as on the page.
func sleepers(t *testing.T, names ...string) *world {
	t.Helper()
	w := newWorld(t, "", names...)
	var list []string
	for _, name := range names {
		list = append(list, name+"@lxw")
	}
	w.write("cluster.yaml", fmt.Sprintf("distributed:\n  - {app: myapp, timeout: 5s, nodes: [%s]}\nhosts: {lxw: 127.0.0.1}\napps:\n  myapp: {command: [/bin/sleep, infinity]}\n", strings.Join(list, ", ")))
	return w
}

// TestDeploySingle produces the transcript of one external server.
func TestDeploySingle(t *testing.T) {
	t.Parallel()
	w := sleepers(t, "node1", "node2")
	s := newServer(t, "nats1", withJetStream)
	tr := newTranscript(t, w, "regent ", regentPath+" ", "nats://nats.example:4222", s.url(""), "nats.conf", s.conf, "~/.regent.cookie", w.path("cookie"))
	tr.run("regent cookie creds --stanza")
	tr.run("regent cookie creds --stanza >> nats.conf")
	tr.typed("nats-server -c nats.conf")
	s.boot()
	s.waitHealthy()
	tr.begin("regent node --sname node1@lxw --config cluster.yaml --server nats://nats.example:4222 --start myapp")
	tr.begin("regent node --sname node2@lxw --config cluster.yaml --server nats://nats.example:4222 --start myapp")
	w.runsAt("node1@lxw", "--server", s.url(""))
	tr.run("regent status --server nats://nats.example:4222")
	tr.run("regent doctor --server nats://nats.example:4222")
	tr.check("single")
}

// TestDeployOperator produces the transcript of three external servers in
// operator mode, where nodes and people have the least permissions.
func TestDeployOperator(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	servers := startCluster(t, op.conf)
	w := sleepers(t, "node1", "node2")
	w.write("node.creds", string(newCreds(t, op.account, least(cred.NodeRole, w.cluster))))
	w.write("people.creds", string(newCreds(t, op.account, least(cred.KeeperRole, w.cluster))))
	w.context("prod", fmt.Sprintf(`{"description":"","url":%q,"creds":%q}`, urls(servers), w.path("people.creds")))
	const page = "nats://s1.example:4222,nats://s2.example:4222"
	tr := newTranscript(t, w, "regent ", regentPath+" ", page, servers[0].url("")+","+servers[1].url(""), "~/.regent.cookie", w.path("cookie"))
	tr.begin("regent node --sname node1@lxw --config cluster.yaml --server " + page + " --creds node.creds --start myapp")
	tr.begin("regent node --sname node2@lxw --config cluster.yaml --server " + page + " --creds node.creds --start myapp")
	w.runsAt("node1@lxw", "--context", "prod")
	tr.run("regent status --context prod")
	tr.run("regent takeover myapp --to node2@lxw --context prod")
	tr.run("regent doctor --config cluster.yaml --context prod")
	tr.run("regent backup cluster.json --context prod")
	connect(t, urls(servers), nats.UserCredentials(w.path("people.creds"))) // it may
	tr.check("operator")
}

// runsAt waits until the app runs at a node, and all nodes are known.
func (w *world) runsAt(name string, login ...string) {
	w.t.Helper()
	within(w.t, 40*time.Second, "the app runs at "+name, func() bool {
		out, _, code := w.run(append([]string{"status"}, login...)...)
		if code != 0 || !strings.Contains(out, "myapp  running  "+name) || strings.Count(out, "  up  ") != len(w.names) {
			return false
		}
		doc, _, code := w.run(append([]string{"status", "--json"}, login...)...)
		return code == 0 && strings.Contains(doc, `"started_on":["`+strings.Join(w.names, `@lxw","`)+`@lxw"]`)
	})
}

// computer is a host of its own: a network namespace, and a home directory.
type computer struct {
	name, ns string
	w        *world
}

// TestDeployMachines produces the transcript of three machines. They are
// network namespaces with a switch between them, and share nothing but the
// program.
func TestDeployMachines(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIPPED: machines are network namespaces, which need root and iproute2")
	}
	machines := newMachines(t, "a", "b", "c")
	a, b := machines[0], machines[1]
	config := firstYAML(t, "## Three machines, nothing else")
	tr := newTranscript(t, a.w, "regent ", regentPath+" ", "~/.regent.cookie", a.w.path(".regent.cookie"), "~/.local/state/", a.w.path("state")+"/")
	on := func(m *computer) *transcript { tr.at = m; return tr }
	for _, m := range machines {
		m.w.write("cluster.yaml", config)
	}
	on(a).run("regent cookie init")
	cookie, err := os.ReadFile(a.w.path(".regent.cookie"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range machines[1:] {
		on(m).typed("scp a:.regent.cookie ~/.regent.cookie")
		if err := os.WriteFile(m.w.path(".regent.cookie"), cookie, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	on(a).run("regent doctor --config cluster.yaml --sname node1@a || true")
	for i, m := range machines {
		on(m).begin(fmt.Sprintf("regent node --sname node%d@%s --config cluster.yaml --start myapp", i+1, m.name))
	}
	b.waits(t, "running  node1@a", "quorum ok")
	on(b).run("regent status")
	rotates(machines)
	on(a).typed("ip link set eth0 down")
	a.ip(t, "link", "set", "eth0", "down")
	b.waits(t, "running  node2@b", "node1@a  down", "quorum ok")
	on(b).run("regent status")
	tr.check("machines")
}

// rotates produces the transcript of another cookie for machines whose nodes run.
func rotates(machines []*computer) {
	a := machines[0]
	tr := newTranscript(a.w.t, a.w, "regent ", regentPath+" ", "~/.regent.cookie", a.w.path(".regent.cookie"))
	tr.at = a
	tr.run("regent cookie init --cookie-file ~/.regent.cookie.next")
	next, err := os.ReadFile(a.w.path(".regent.cookie.next"))
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, m := range machines[1:] {
		tr.at = m
		tr.typed("scp a:.regent.cookie.next ~/.regent.cookie.next")
		if err := os.WriteFile(m.w.path(".regent.cookie.next"), next, 0o400); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.at = a
	tr.run("regent cookie rotate")
	for _, m := range machines {
		tr.at = m
		tr.typed("mv ~/.regent.cookie.next ~/.regent.cookie")
		if err := os.Rename(m.w.path(".regent.cookie.next"), m.w.path(".regent.cookie")); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.at = machines[1]
	tr.run("regent apps")
	tr.check("rotation")
}

// newMachines makes namespaces with the addresses 10.0.0.1 and on.
func newMachines(t *testing.T, names ...string) []*computer {
	t.Helper()
	id := fmt.Sprintf("rgx%d", os.Getpid())
	sw := id + "-sw"
	ip(t, "netns", "add", sw)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", sw).Run() })
	ip(t, "-n", sw, "link", "add", "br0", "type", "bridge")
	ip(t, "-n", sw, "link", "set", "br0", "up")
	var all []*computer
	for i, name := range names {
		m := &computer{name: name, ns: id + "-" + name, w: newWorld(t, "", "node1")}
		ip(t, "netns", "add", m.ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", m.ns).Run() })
		ip(t, "-n", sw, "link", "add", "name", "to-"+name, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
		ip(t, "-n", sw, "link", "set", "to-"+name, "master", "br0", "up")
		m.ip(t, "address", "add", fmt.Sprintf("10.0.0.%d/24", i+1), "dev", "eth0")
		m.ip(t, "link", "set", "eth0", "up")
		m.ip(t, "link", "set", "lo", "up")
		all = append(all, m)
	}
	return all
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

func (m *computer) ip(t *testing.T, args ...string) {
	t.Helper()
	ip(t, append([]string{"-n", m.ns}, args...)...)
}

// environ is that of a machine on which everything is where it usually is.
func (m *computer) environ() []string {
	var env []string
	for _, kv := range m.w.environ() {
		if !strings.HasPrefix(kv, "REGENT_COOKIE_FILE=") {
			env = append(env, kv)
		}
	}
	return env
}

// waits until the status that this machine sees has all these parts.
func (m *computer) waits(t *testing.T, parts ...string) {
	t.Helper()
	var since time.Time // for a second, so that it is so for the next look, too
	within(t, 60*time.Second, fmt.Sprintf("%s sees %v", m.name, parts), func() bool {
		cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", m.ns, regentPath, "status")
		cmd.Env, cmd.Dir = m.environ(), m.w.dir
		out, err := cmd.Output()
		for _, part := range parts {
			if err != nil || !strings.Contains(string(out), part) {
				since = time.Time{}
				return false
			}
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// firstYAML is the first block of that kind below a heading of the page.
func firstYAML(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Clean(deployPage))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), heading+"\n")
	_, rest, ok2 := strings.Cut(section, "```yaml\n")
	text, _, ok3 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s: no YAML below %q", deployPage, heading)
	}
	return text
}
