//go:build linux

package external

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/tests/natscli"
)

// voters is a world whose nodes run the servers: which of them, the
// configuration says.
type voters struct {
	*world
	addresses map[string][2]int // client and cluster port
	nodes     map[string]*life
}

func newVoters(t *testing.T, names ...string) *voters {
	t.Helper()
	// With the default lease of three seconds a node that a busy machine lets
	// wait for as long is ended, and nobody starts it again here.
	v := &voters{world: newWorld(t, "lease: 20s\n", names...), addresses: map[string][2]int{}, nodes: map[string]*life{}}
	for _, name := range names {
		v.place(name)
	}
	return v
}

// place gives a node an address of its own, as a machine does.
func (v *voters) place(name string) {
	v.t.Helper()
	p := port.Free(v.t, 2)
	v.addresses[name] = [2]int{p[0], p[1]}
}

// configure writes the file of all nodes: these run the servers.
func (v *voters) configure(servers ...string) {
	v.t.Helper()
	var text strings.Builder
	text.WriteString(v.config)
	text.WriteString("servers: [" + strings.Join(servers, "@lxw, ") + "@lxw]\naddresses:\n")
	for _, name := range slices.Sorted(mapKeys(v.addresses)) {
		a := v.addresses[name]
		text.WriteString(fmt.Sprintf("  %s@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n", name, a[0], a[1]))
	}
	v.write("cluster.yaml", text.String())
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// boot starts nodes, each with a client's directory of its own, as on machines
// of their own.
func (v *voters) boot(names []string, flags ...string) {
	v.t.Helper()
	for _, name := range names {
		v.nodes[name] = v.node(name, flags...)
	}
}

// healthy waits until a node sees so many servers, all up to date, and these
// nodes up.
func (v *voters) healthy(asked string, servers int, nodes ...string) {
	v.t.Helper()
	within(v.t, 60*time.Second, fmt.Sprintf("%s sees %d servers and %v", asked, servers, nodes), func() bool {
		out, _, code := v.run("status", "--json", "--server", v.tls(asked))
		if code != 0 || !strings.Contains(out, fmt.Sprintf(`"quorum":{"ok":true,"servers":%d,`, servers)) {
			return false
		}
		return !slices.ContainsFunc(nodes, func(name string) bool {
			return !strings.Contains(out, fmt.Sprintf(`{"name":"%s@lxw","state":"up"`, name))
		})
	})
}

func (v *voters) tls(name string) string {
	return fmt.Sprintf("tls://127.0.0.1:%d", v.addresses[name][0])
}

// stopAll ends all nodes gracefully, the first one last: without a quorum it
// can't close its session, and proves its end when it comes back.
func (v *voters) stopAll() {
	v.t.Helper()
	names := slices.Sorted(mapKeys(v.nodes))
	slices.Reverse(names)
	for _, name := range names {
		n := v.nodes[name]
		if n.ended() {
			continue
		}
		if code := n.terminate(); code != 0 {
			v.t.Errorf("%s ended with %d after SIGTERM", name, code)
		}
	}
}

func (v *voters) data(name string) string {
	return filepath.Join(v.path("state"), "regent", name+"@lxw")
}

func (v *voters) remove(path string) {
	v.t.Helper()
	if err := os.RemoveAll(path); err != nil {
		v.t.Fatal(err)
	}
}

// epoch is that of the app's record, as a node at url tells it.
func (w *world) epoch(url string) uint64 {
	w.t.Helper()
	var doc status.Document
	if err := json.Unmarshal([]byte(w.must("status", "--json", "--server", url)), &doc); err != nil || len(doc.Apps) != 1 {
		w.t.Fatalf("status: %+v, %v", doc, err)
	}
	return uint64(doc.Apps[0].Epoch)
}

// restarted waits until the app runs with a higher epoch, and has seen it.
func (w *world) restarted(url string, before uint64) {
	w.t.Helper()
	within(w.t, 30*time.Second, fmt.Sprintf("the app runs with an epoch above %d", before), func() bool {
		all := w.starts()
		return len(all) > 0 && w.epoch(url) > before && all[len(all)-1].epoch == w.epoch(url)
	})
}

// TestMoveToExternal: from servers inside the nodes to a NATS that is there
// already, by backup and restore. Nothing remembers the epochs but the file.
func TestMoveToExternal(t *testing.T) {
	t.Parallel()
	v := newVoters(t, three...)
	v.configure(three...)
	v.boot(three)
	v.healthy("node1", 3, three...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	v.must("takeover", app, "--to", "node2@lxw", "--server", v.tls("node1"))
	v.must("backup", v.path("cluster.json"), "--server", v.tls("node1"))
	before := v.epoch(v.tls("node1"))
	v.stopAll()
	for _, name := range three {
		v.remove(v.data(name))
	}

	s := startServer(t, withJetStream+v.must("cookie", "creds", "--stanza"))
	v.boot(three, "--server", s.url(""), "--new-cluster")
	within(t, 40*time.Second, "all nodes are up", func() bool {
		out, _, code := v.run("nodes", "--server", s.url(""))
		return code == 0 && strings.Count(out, " up ") == 3
	})
	if out := v.must("restore", v.path("cluster.json"), "--server", s.url(""), "--dry-run"); !strings.Contains(out, fmt.Sprintf("epochs go on above %d", before)) {
		t.Errorf("restore --dry-run:\n%s", out)
	}
	v.must("restore", v.path("cluster.json"), "--server", s.url(""))
	if out := v.must("restore", v.path("cluster.json"), "--server", s.url("")); !strings.Contains(out, "kept: its epochs are at") {
		t.Errorf("a second restore:\n%s", out)
	}
	v.must("start", app, "--all", "--server", s.url(""))
	v.restarted(s.url(""), before)
	v.stopAll()
}

// TestOneVoterToThree: a store can't change between standing alone and being
// one of several, so it is made anew, and what it held is brought back.
func TestOneVoterToThree(t *testing.T) {
	t.Parallel()
	v := newVoters(t, three...)
	v.configure("node1")
	v.boot(three)
	v.healthy("node1", 1, three...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	v.must("takeover", app, "--to", "node2@lxw", "--server", v.tls("node1"))
	v.must("backup", v.path("cluster.json"), "--server", v.tls("node1"))
	before := v.epoch(v.tls("node1"))
	v.stopAll()

	v.configure(three...)
	n := v.node("node1")
	n.exits(30*time.Second, 1)
	if said := n.said(); !strings.Contains(said, "backup") || !strings.Contains(said, "hint: ") {
		t.Errorf("the store of one voter as one of three:\n%s", said)
	}
	v.remove(filepath.Join(v.data("node1"), "nats"))
	v.boot(three, "--new-cluster")
	v.healthy("node2", 3, three...)
	v.must("restore", v.path("cluster.json"), "--server", v.tls("node2"))
	v.must("start", app, "--all", "--server", v.tls("node2"))
	v.restarted(v.tls("node2"), before)
	v.stopAll()
}

// TestThreeVotersToFive: all nodes are restarted with a configuration that has
// two voters more. The store grows by itself. That the specification was applied
// before is no hindrance, and it still is afterwards.
func TestThreeVotersToFive(t *testing.T) {
	t.Parallel()
	five := append(slices.Clone(three), "node4", "node5")
	v := newVoters(t, five...)
	v.configure(three...)
	v.boot(five)
	v.healthy("node1", 3, five...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	before := v.epoch(v.tls("node1"))
	applied := v.config
	v.config = strings.Replace(applied, "timeout: 1s", "timeout: 2s", 1)
	v.configure(three...)
	if out := v.must("config", "apply", v.path("cluster.yaml"), "--server", v.tls("node1")); !strings.Contains(out, "myapp: timeout from 1s to 2s") {
		t.Errorf("config apply said\n%s", out)
	}
	v.configure(five...)
	if code := v.nodes["node5"].terminate(); code != 0 {
		t.Errorf("node5 ended with %d after SIGTERM", code)
	}
	v.node("node5").exits(30*time.Second, 6) // the others still go by three
	v.stopAll()

	v.boot(five, "--start", app)
	v.healthy("node4", 5, five...)
	v.restarted(v.tls("node4"), before)
	now := v.config
	v.config = applied
	v.configure(five...)
	v.nodes["node5"].kill()
	v.node("node5").exits(30*time.Second, 6) // what was applied still binds
	v.config = now
	v.configure(five...)
	v.boot([]string{"node5"}, "--start", app)
	v.healthy("node4", 5, five...)
	v.current("node4", 5)
	// Two of the first three may go now.
	v.nodes["node2"].kill()
	v.nodes["node3"].kill()
	within(t, 30*time.Second, "a quorum of three of five", func() bool {
		_, _, code := v.run("permit", app, "true", "--on", "node5@lxw", "--server", v.tls("node5"), "--timeout", "5s")
		out, _, _ := v.run("status", "--json", "--server", v.tls("node5"))
		return code == 0 && strings.Contains(out, `"quorum":{"ok":true,"servers":5`)
	})
	v.stopAll()
}

// TestVoterReplaced: the machine of a voter is lost. Another one with its name
// and address, and an empty disk, takes its place; no other node is restarted
// and no app stops. Then the voter moves to another address: the others are
// restarted with it, one after the other.
func TestVoterReplaced(t *testing.T) {
	t.Parallel()
	v := newVoters(t, three...)
	v.configure(three...)
	v.boot(three)
	v.healthy("node1", 3, three...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	v.restarted(v.tls("node1"), 0)
	first := v.starts()
	v.nodes["node3"].kill()
	v.remove(v.data("node3"))
	v.boot([]string{"node3"}, "--start", app)
	v.healthy("node3", 3, three...)
	v.current("node1", 3)
	if now := v.starts(); !slices.Equal(now, first) || !now[0].alive() {
		t.Fatalf("the app moved: %v", now)
	}

	v.nodes["node3"].kill()
	v.place("node3")
	v.configure(three...)
	v.boot([]string{"node3"}, "--start", app)
	for _, name := range []string{"node2", "node1"} {
		if code := v.nodes[name].terminate(); code != 0 {
			t.Errorf("%s ended with %d after SIGTERM", name, code)
		}
		v.boot([]string{name}, "--start", app)
		v.healthy(name, 3, three...)
		v.current(name, 3)
	}
	v.stopAll()
}

// current waits until all servers have everything.
func (v *voters) current(asked string, servers int) {
	v.t.Helper()
	within(v.t, 60*time.Second, "all servers have everything", func() bool {
		out, _, code := v.run("doctor", "--server", v.tls(asked))
		return code == 0 && strings.Contains(out, fmt.Sprintf("bucket regent_default has its settings and %d replicas", servers)) &&
			strings.Contains(out, "copies: of the records, complete")
	})
}

// TestVoterRenamed: a voter gets another name. All nodes are restarted with
// it, and the old name is taken out of JetStream's group with the nats CLI.
func TestVoterRenamed(t *testing.T) {
	t.Parallel()
	nats := natscli.Path(t)
	v := newVoters(t, append(slices.Clone(three), "node4")...)
	v.configure(three...)
	v.boot(three)
	v.healthy("node1", 3, three...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	before := v.epoch(v.tls("node1"))
	v.stopAll()
	v.remove(v.data("node3"))

	v.configure("node1", "node2", "node4")
	now := []string{"node1", "node2", "node4"}
	v.boot(now, "--start", app)
	v.healthy("node4", 3, now...)
	v.must("cookie", "creds", "--server", v.tls("node1"), "--context", "regent-sys", "--system")
	c := &cli{world: v.world, nats: nats, context: "regent-sys"}
	// After the restart nobody knows the old one's name any more.
	var gone []string
	within(t, 30*time.Second, "the old name is offline in JetStream's group", func() bool {
		gone = regexp.MustCompile(`unknown at this time \(peerID: (\w+)\)`).FindStringSubmatch(c.output("server", "report", "jetstream"))
		return gone != nil
	})
	c.output("server", "cluster", "peer-remove", gone[1], "--force")
	v.healthy("node4", 3, now...)
	v.current("node4", 3)
	v.restarted(v.tls("node4"), before)
	v.stopAll()
}

// TestCookieReplaced: all nodes are restarted with another cookie. The records
// stay, and the old cookie is refused.
func TestCookieReplaced(t *testing.T) {
	t.Parallel()
	v := newVoters(t, three...)
	v.configure(three...)
	v.boot(three)
	v.healthy("node1", 3, three...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	before := v.epoch(v.tls("node1"))
	v.stopAll()
	old, err := os.ReadFile(v.path("cookie"))
	if err != nil {
		t.Fatal(err)
	}
	v.write("cookie", "another-cookie-abcdefg-9876543210\n")
	v.remove(v.path("cookie.keys"))
	v.boot(three, "--start", app)
	v.healthy("node1", 3, three...)
	v.restarted(v.tls("node1"), before)
	if out := v.must("events", "--app", app, "--server", v.tls("node1")); !strings.Contains(out, fmt.Sprintf("epoch %d ", before)) && !strings.Contains(out, fmt.Sprintf("epoch %d\n", before)) {
		t.Errorf("the history begins with the new cookie:\n%s", out)
	}
	v.write("cookie", string(old))
	if _, errOut, code := v.run("status", "--server", v.tls("node1")); code != 4 {
		t.Errorf("the old cookie ended with %d:\n%s", code, errOut)
	}
	v.stopAll()
}
