//go:build linux

package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
)

// TestDamagedStore: the files of a stopped voter are damaged, as by a bad disk,
// and it comes back. The other two go on with what they have: the app stays
// where it is, under the same epoch. The voter rejoins; if its server can't be
// brought up over the damage, it does so without its store, as
// docs/operations.md says.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", threeOnes+sleeper, three...)
	boot := func(n string) *process {
		return m.begin("node", "--sname", n, "--config", "three.yaml", "--data", "data-"+n, "--start", "myapp")
	}
	nodes := map[string]*process{}
	for _, n := range three {
		nodes[n] = boot(n)
	}
	at := clients["node2@lxw"]
	unmoved := func(d manager.ClusterStatus) bool { return runsWhere("node1@lxw", "normal")(d) && d.Apps[0].Epoch == 1 }
	m.until("the app runs", at, unmoved)
	rejoined := func(d manager.ClusterStatus) bool {
		for _, n := range d.Nodes {
			if n.Name == "node3@lxw" {
				return n.State == machine.NodeUp && n.Session != ""
			}
		}
		return false
	}
	for _, damage := range []struct {
		name  string
		files string // their suffix
		do    func(text []byte) []byte
	}{
		{"blocks cut in half", ".blk", func(text []byte) []byte { return text[:len(text)/2] }},
		{"empty descriptions", "meta.inf", func([]byte) []byte { return nil }},
		{"garbage for raft state", ".idx", func(text []byte) []byte { return []byte(strings.Repeat("\xa5", len(text))) }},
	} {
		nodes["node3@lxw"].terminate()
		if n := damageFiles(t, m.file("data-node3@lxw/nats"), damage.files, damage.do); n == 0 {
			t.Fatalf("%s: no file to damage", damage.name)
		}
		nodes["node3@lxw"] = boot("node3@lxw")
		how := "rejoined"
		if !m.within(15*time.Second, clients["node3@lxw"], rejoined) {
			how = "rejoined without its store"
			nodes["node3@lxw"].kill()
			if err := os.RemoveAll(m.file("data-node3@lxw/nats")); err != nil {
				t.Fatal(err)
			}
			nodes["node3@lxw"] = boot("node3@lxw")
			m.until(damage.name+": node3 is back without its store", clients["node3@lxw"], rejoined)
		}
		t.Logf("%s: %s", damage.name, how)
		if d := m.until(damage.name+": quorum", at, func(d manager.ClusterStatus) bool { return d.Quorum.OK }); !unmoved(d) {
			t.Errorf("%s: the app is %+v; it did not have to move", damage.name, d.Apps[0])
		}
	}
	for n, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%s ended with %d", n, code)
		}
	}
}

// within polls a node's status until it is as expected, or time is up.
func (m *host) within(limit time.Duration, client string, ok func(manager.ClusterStatus) bool) bool {
	m.t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if doc, err := m.status(client); err == nil && ok(doc) {
			return true
		}
	}
	return false
}

func damageFiles(t *testing.T, dir, suffix string, do func([]byte) []byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return err
		}
		n++
		return os.WriteFile(path, do(text), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
