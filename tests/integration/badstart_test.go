//go:build linux

package integration

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/seed7529eb29/regent/manager"
)

// What a node can find wrong when it starts. Each of these has to end at once,
// with the exit code that says whose mistake it is and words that say what to
// do; or, where time may heal it, not to end.

const (
	oneNode   = "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw]}]"
	twoNodes  = "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw, node2@lxw]}]"
	threeOnes = "distributed: [{app: myapp, timeout: 2s, nodes: [node1@lxw, [node2@lxw, node3@lxw]]}]"
	sleeper   = "\napps: {myapp: {command: [sleep, \"1000\"]}}"
)

var three = []string{"node1@lxw", "node2@lxw", "node3@lxw"}

// alone is a machine with the configuration of a cluster of one.
func alone(t *testing.T) (m *host, client string) {
	t.Helper()
	m = newHost(t)
	return m, m.configure("one.yaml", oneNode+sleeper, "node1@lxw")["node1@lxw"]
}

func (m *host) beginNode1(args ...string) *process {
	m.t.Helper()
	return m.begin(append([]string{"node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", "data"}, args...)...)
}

// running begins a cluster of one and waits until it has quorum.
func (m *host) running(client string) *process {
	m.t.Helper()
	p := m.beginNode1()
	m.until("node1 is up", client, func(d manager.ClusterStatus) bool { return d.Quorum.OK })
	return p
}

func listenAt(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// TestPortTaken: by a program that is no node of ours. The message names the
// address, of clients and of voters.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", threeOnes, three...)
	node := []string{"node", "--sname", "node1@lxw", "--config", "three.yaml"}
	routes := strings.Split(strings.Split(m.read("three.yaml"), "cluster: \"")[1], "\"")[0]
	for _, addr := range []string{clients["node1@lxw"], routes} {
		t.Run(addr, func(t *testing.T) {
			listenAt(t, addr)
			m.fails(1, []string{"regent: node node1@lxw: port is taken: " + addr, "\nhint: "}, node...)
		})
	}
}

// TestNameTaken: the data directory, or the port, is in the hands of another
// process of the same name (S3: a live session is never overwritten).
func TestNameTaken(t *testing.T) {
	t.Parallel()
	m, client := alone(t)
	first := m.running(client)
	for _, data := range []string{"data", "other"} {
		m.fails(7, []string{"regent: node node1@lxw: "}, "node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", data)
	}
	if first.ended() {
		t.Error("the first node has ended")
	}
	if code := first.terminate(); code != 0 {
		t.Errorf("the first node ended with %d", code)
	}
}

// TestForeignData: a data directory belongs to one name, and to one mode; its
// data are not touched by another.
func TestForeignData(t *testing.T) {
	t.Parallel()
	m, client := alone(t)
	m.configure("three.yaml", threeOnes+sleeper, three...)
	m.running(client).terminate()
	before := m.read("data/state.json")

	m.fails(1, []string{"data directory belongs to another server", "standalone", "clustered", "\nhint: "},
		"node", "--sname", "node1@lxw", "--config", "three.yaml", "--data", "data")
	m.fails(1, []string{"state file can't be used", `belongs to node "node1@lxw"`, "\nhint: "},
		"node", "--sname", "node2@lxw", "--config", "three.yaml", "--data", "data")
	if m.read("data/state.json") != before {
		t.Error("the state file was changed")
	}
	p := m.beginNode1()
	m.until("node1 is up again", client, func(d manager.ClusterStatus) bool { return d.Quorum.OK })
	p.terminate()
}

// TestDamagedState: what keeps epochs from repeating is never guessed at, nor
// overwritten.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	m, client := alone(t)
	m.running(client).terminate()
	whole := m.read("data/state.json")
	for name, text := range map[string]string{
		"empty": "", "truncated": whole[:len(whole)/2], "garbage": "\x00\xff\x00garbage", "other JSON": "[1, 2]",
		"newer": strings.Replace(whole, `"v": 1`, `"v": 99`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if text == whole {
				t.Fatalf("nothing is damaged in %s", whole)
			}
			m.write("data/state.json", text)
			m.fails(1, []string{"regent: node node1@lxw: state file can't be used: ", "data/state.json", "\nhint: "},
				"node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", "data")
			if m.read("data/state.json") != text {
				t.Error("the damaged file was changed")
			}
		})
	}
	m.write("data/state.json", whole)
	m.running(client).terminate()
}

// TestBadCookie: one that everybody can read or guess is no secret.
func TestBadCookie(t *testing.T) {
	t.Parallel()
	m, _ := alone(t)
	m.write("open", "a cookie of 37 characters, for a test")
	if err := os.Chmod(m.file("open"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.write("weak", "secret")
	m.write("monotonous", strings.Repeat("ab", 20))
	m.write("empty", "\n")
	for file, word := range map[string]string{
		"open": "others can access this secret", "weak": "weak cookie", "monotonous": "weak cookie", "empty": "empty cookie",
		"state/../data": "cookie file ", "run": "not a regular file", "one.yaml/cookie": "not a directory",
	} {
		m.fails(2, []string{"regent: cookie file ", word}, "node", "--sname", "node1@lxw", "--config", "one.yaml", "--cookie-file", file)
	}
}

// nobody is a user without rights, for whom permission bits bind.
const nobody = 65534

// unprivileged is a machine whose programs run as a user for whom permission
// bits bind. Its files are that user's.
func unprivileged(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		return newHost(t)
	}
	dir, err := os.MkdirTemp("", "regent-nobody-") // below t.TempDir only root may go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := newHost(t)
	m.env = append(m.env, "HOME="+dir, "XDG_STATE_HOME="+dir+"/state", "XDG_RUNTIME_DIR="+dir+"/run", "XDG_CONFIG_HOME="+dir+"/config")
	m.dir, m.user = dir, nobody
	for _, path := range []string{built.dir, dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.give(".")
	return m
}

// give hands a file or directory to the user of the machine's programs.
func (m *host) give(name string) {
	m.t.Helper()
	if m.user != 0 {
		if err := os.Chown(m.file(name), m.user, m.user); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestPermissions: a cookie that may not be read, and data directories that
// may not be written.
func TestPermissions(t *testing.T) {
	t.Parallel()
	m := unprivileged(t)
	m.configure("one.yaml", oneNode, "node1@lxw")
	m.write("cookie", "a cookie of 37 characters, for a test")
	m.write("closed", "a cookie of 37 characters, for a test")
	for _, f := range []string{"one.yaml", "cookie", "closed"} {
		m.give(f)
	}
	closed := func(name string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(m.file(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	closed("closed", 0)
	node := []string{"node", "--sname", "node1@lxw", "--config", "one.yaml"}
	m.fails(2, []string{"regent: cookie file ", "closed", "permission denied"}, append(node, "--cookie-file", m.file("closed"))...)

	for _, dir := range []string{"readonly", "readonly-store"} {
		if err := os.Mkdir(m.file(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		m.give(dir)
	}
	node = append(node, "--cookie-file", m.file("cookie"))
	closed("readonly", 0o500)
	m.fails(1, []string{"regent: node node1@lxw: ", "permission denied"}, append(node, "--data", "readonly")...)
	m.fails(1, []string{"regent: node node1@lxw: make data directory: ", "permission denied"}, append(node, "--data", "readonly/below")...)
	if err := os.MkdirAll(m.file("readonly-store/nats"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.give("readonly-store/nats")
	closed("readonly-store/nats", 0o500)
	m.fails(1, []string{"regent: node node1@lxw: ", "permission denied"}, append(node, "--data", "readonly-store")...)
}

// TestBadConfiguration: what can't become a cluster is refused before anything
// is made.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	m.configure("one.yaml", oneNode, "node1@lxw")
	m.configure("two.yaml", twoNodes, "node1@lxw", "node2@lxw")
	m.write("mixed.yaml", "distributed: [{app: myapp, nodes: [node1@lxw, node2@lxw.example, node3@lxw]}]\n")
	for _, tt := range []struct {
		words []string
		args  []string
	}{
		{[]string{"two voters, node1@lxw and node2@lxw", "\nhint: add arbiter: NODE"}, []string{"--sname", "node1@lxw", "--config", "two.yaml"}},
		{[]string{"mixed.yaml:1:", "long name", "\nhint: a cluster is all short names"}, []string{"--sname", "node1@lxw", "--config", "mixed.yaml"}},
		{[]string{"one.yaml:1:", "short", "\nhint: a cluster is all short names"}, []string{"--name", "node1@lxw.example", "--config", "one.yaml"}},
		{[]string{"is a long name: give it with --name"}, []string{"--sname", "node1@lxw.example", "--config", "one.yaml"}},
	} {
		m.fails(2, tt.words, append([]string{"node", "--data", "data"}, tt.args...)...)
	}
	if _, err := os.Stat(m.file("data")); err == nil {
		t.Error("a node that was refused has made its data directory")
	}
}

// TestBadValues: what no rule allows is exit 2, with its place where a file or an
// expression is involved, before anything of the node is there.
func TestBadValues(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	m.configure("one.yaml", oneNode+sleeper, "node1@lxw")
	node := []string{"node", "--sname", "node1@lxw", "--data", "nothing", "--config"}
	for _, tt := range []struct{ rule, kernel, want string }{
		{"A-2", "{distributed, [{myapp, soon, [n@h]}]}", "bad.config:2:25: expected milliseconds or infinity for Timeout, found soon"},
		{"B-11", "{distributed, [{myapp, -1, [n@h]}]}", "bad.config:2:25: Timeout must not be negative"},
		{"A-10", "{sync_nodes_timeout, 0}", "bad.config:2:23: sync_nodes_timeout must be greater than 0"},
		{"A-10", "{sync_nodes_mandatory, n@h}", "bad.config:2:25: expected a list of nodes"},
		{"A-49", "{permissions, [{myapp, maybe}]}", "bad.config:2:25: expected true or false for the permission"},
	} {
		m.write("bad.config", "[{kernel, [\n "+tt.kernel+"]}].")
		m.fails(2, []string{tt.want}, append(node, "bad.config")...)
		m.fails(2, []string{tt.want}, "erl", "-sname", "node1@lxw", "-config", "bad", "--data", "nothing")
	}
	m.write("type.yaml", oneNode+"\napps: {myapp: {command: [x], type: forever}}")
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"type.yaml:2:", append(node, "type.yaml")},
		{"forever", append(node, "one.yaml", "--start", "myapp:forever")},
		{"forever", []string{"start", "myapp", "--type", "forever"}},
		{"forever", []string{"takeover", "myapp", "--to", "node1@lxw", "--type", "forever"}},
		{"column 29: ", []string{"erl", "-sname", "node1@lxw", "-config", "one.yaml", "--data", "nothing", "-eval", "application:takeover(myapp, forever)"}},
		{"maybe", []string{"permit", "myapp", "maybe", "--on", "node1@lxw"}},
		{"column 27: ", []string{"erl", "-sname", "node1@lxw", "-config", "one.yaml", "--data", "nothing", "-eval", "application:permit(myapp, maybe)"}},
	} {
		m.fails(2, []string{"regent: ", tt.want}, tt.args...)
	}
	if _, err := os.Stat(m.file("nothing")); err == nil {
		t.Error("a node that was refused has made its data directory")
	}
}

// TestNoDataDirectory: it can't be made or written.
func TestNoDataDirectory(t *testing.T) {
	t.Parallel()
	m, _ := alone(t)
	for dir, why := range map[string]string{
		"one.yaml/data": "not a directory", "/proc/regent/data": "no such file or directory", "/dev/null": "not a directory",
	} {
		m.fails(1, []string{"regent: node node1@lxw: make data directory: mkdir ", why},
			"node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", m.file(dir))
	}
}

// TestDiskFull: nothing of the node fits on its disk.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	m, _ := alone(t)
	m.fullDisk("full")
	m.fails(1, []string{"regent: node node1@lxw: ", "no space left on device"},
		"node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", m.file("full/data"))
}

// fullDisk mounts a file system without a free byte.
func (m *host) fullDisk(name string) {
	m.t.Helper()
	dir := m.file(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		m.t.Skipf("SKIPPED: a full disk needs the right to mount one: %v", err)
	}
	m.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			m.t.Error(err)
		}
	})
	f, err := os.Create(m.file(name + "/ballast"))
	if err != nil {
		m.t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	_ = f.Close()
}

// TestUnknownOnCommandLine: an app or a node that nobody knows, and a node that
// is not there.
func TestUnknownOnCommandLine(t *testing.T) {
	t.Parallel()
	m, client := alone(t)
	node := m.running(client)
	for _, tt := range []struct {
		word string
		args []string
	}{
		{"unknown app", []string{"start", "nosuchapp", "--on", "node1@lxw"}},
		{"unknown app", []string{"start", "nosuchapp", "--all"}},
		{"unknown app", []string{"stop", "nosuchapp", "--on", "node1@lxw"}},
		{"unknown app", []string{"takeover", "nosuchapp", "--to", "node1@lxw"}},
		{"unknown app", []string{"permit", "nosuchapp", "false", "--on", "node1@lxw"}},
		{"no such node is running", []string{"start", "myapp", "--on", "node9@lxw"}},
		{"no such node is running", []string{"stop", "myapp", "--on", "node9@lxw"}},
		{"no such node is running", []string{"takeover", "myapp", "--to", "node9@lxw"}},
		{"no such node is running", []string{"permit", "myapp", "true", "--on", "node9@lxw"}},
	} {
		m.fails(1, []string{"regent: ", tt.word, "\nhint: "}, append(tt.args, "--server", "tls://"+client)...)
	}
	if code := node.terminate(); code != 0 {
		t.Errorf("the node ended with %d", code)
	}
}
