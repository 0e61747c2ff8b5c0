//go:build linux

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// witness is an app that holds a lock while it lives, which the kernel frees
// when the last process of its group is gone, and writes down its start, or
// that somebody else had the lock.
const witness = `exec 9>>lock
flock -n 9 || echo "overlap $REGENT_NODE $REGENT_EPOCH" >>witness.log
echo "start $REGENT_NODE $REGENT_EPOCH" >>witness.log
while :; do sleep 0.2; done
`

// storeTest is three voters as processes, each started again when it ends, as
// its supervisor would.
type storeTest struct {
	*host
	clients map[string]string
	nodes   map[string]*process
	nc      *nats.Conn
}

func (s *storeTest) boot(name string) {
	s.t.Helper()
	s.nodes[name] = s.begin("node", "--sname", name, "--config", "three.yaml", "--data", s.file("data-"+name), "--start", "myapp")
}

// TestDamagedStore: the files of a stopped voter are damaged, and it comes back.
// Most damage is repaired from the other voters, and the voter can lead the
// store again, so that what it has is what counts. Flipped bits can keep a
// server from ever catching up, or from starting: the others go on without it,
// and without its store it comes back. Whatever happens, the cluster comes to
// rest with the app running, and never did two instances run or an epoch
// repeat.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	s := &storeTest{host: newHost(t), nodes: map[string]*process{}}
	s.write("witness.sh", witness)
	s.write("witness.log", "")
	s.clients = s.configure("three.yaml", threeOnes+fmt.Sprintf("\napps: {myapp: {command: [sh, witness.sh], dir: %q}}", s.dir), three...)
	for _, name := range three {
		s.boot(name)
	}
	s.rests()
	s.connect()
	for _, damage := range []struct {
		name  string
		files string // suffix
		do    func(text []byte) []byte
	}{
		{"block cut in half", ".blk", func(text []byte) []byte { return text[:len(text)/2] }},
		{"empty description", "meta.inf", func([]byte) []byte { return nil }},
		{"garbled raft state", ".idx", flip},
		{"flipped bits", ".blk", flip},
	} {
		if code := s.nodes["node2@lxw"].terminate(); code != 0 {
			t.Errorf("%s: node2 ended with %d", damage.name, code)
		}
		n := s.damage(s.file("data-node2@lxw"), damage.files, damage.do)
		begin, before := time.Now(), s.read("witness.log")
		s.boot("node2@lxw")
		how := "it leads again"
		if !s.lead("node2@lxw", 15*time.Second) {
			how = "without its store it leads again"
			s.nodes["node2@lxw"].kill()
			if err := os.RemoveAll(filepath.Join(s.file("data-node2@lxw"), "nats")); err != nil {
				t.Fatal(err)
			}
			s.boot("node2@lxw")
			if !s.lead("node2@lxw", runMax) {
				t.Fatalf("%s: node2 does not come back without its store", damage.name)
			}
		}
		s.rests()
		t.Logf("%s: %d files damaged, %s, at rest after %v; starts since: %q", damage.name, n, how, time.Since(begin), s.read("witness.log")[len(before):])
	}
	s.check()
}

// rests waits until every node is up with a session and the app has run for
// longer than a lease without a change.
func (s *storeTest) rests() {
	s.t.Helper()
	last, since := "", time.Now()
	s.until("the app runs and nothing changes any more", s.clients["node1@lxw"], func(d manager.ClusterStatus) bool {
		up := 0
		for _, n := range d.Nodes {
			if n.State == machine.NodeUp && n.Session != "" {
				up++
			}
		}
		now := s.read("witness.log")
		if s.revive() || now != last || up != len(three) || !d.Quorum.OK || d.Apps[0].State != machine.AppRunning {
			last, since = now, time.Now()
		}
		return time.Since(since) > policy.EmbeddedTTL+time.Second
	})
}

// revive starts what has ended.
func (s *storeTest) revive() (any bool) {
	for name, p := range s.nodes {
		if p.ended() {
			s.t.Logf("%s ended with %v", name, p.cmd.ProcessState)
			s.boot(name)
			any = true
		}
	}
	return any
}

func (s *storeTest) connect() {
	s.t.Helper()
	cookie, err := cred.LoadCookie(s.file("cookie"), false)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := cred.Derive(cookie, "default")
	if err != nil {
		s.t.Fatal(err)
	}
	login, err := a.ConnOptions(cred.App, "test")
	if err != nil {
		s.t.Fatal(err)
	}
	if s.nc, err = nats.Connect("tls://"+s.clients["node1@lxw"], append(login, nats.MaxReconnects(-1))...); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.nc.Close)
}

// lead makes a node's server the leader of the store, if it can become it.
func (s *storeTest) lead(name string, limit time.Duration) bool {
	s.t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s.revive()
		if d, err := s.status(s.clients["node1@lxw"]); err == nil && d.Quorum.Leader == name {
			return true
		}
		_, _ = s.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_regent_default", []byte(`{"placement":{"preferred":"`+name+`"}}`), time.Second)
	}
	return false
}

// check reads what the app wrote down.
func (s *storeTest) check() {
	s.t.Helper()
	var last policy.Epoch
	for line := range strings.Lines(s.read("witness.log")) {
		var name string
		var epoch policy.Epoch
		if n, _ := fmt.Sscanf(line, "start %s %d\n", &name, &epoch); n != 2 || epoch <= last {
			s.t.Fatalf("the app wrote:\n%s", s.read("witness.log"))
		}
		last = epoch
	}
}

func flip(text []byte) []byte {
	for i := 7; i < len(text); i += 97 {
		text[i] ^= 0x10
	}
	return text
}

// damage changes all files below dir whose names end so.
func (s *storeTest) damage(dir, suffix string, do func([]byte) []byte) (n int) {
	s.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		return os.WriteFile(path, do(text), 0o600)
	})
	if err != nil || n == 0 {
		s.t.Fatalf("%d files damaged, %v", n, err)
	}
	return n
}
