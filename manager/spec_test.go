package manager

import (
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy/node"
)

const manyApps = `
distributed:
  - {app: b, timeout: infinity, nodes: [node1@lxw, [node3@lxw, node2@lxw]]}
  - {app: a, timeout: 1500ms, nodes: [node2@lxw]}
  - {app: c, timeout: 0s, nodes: [node3@lxw, node1@lxw]}
apps:
  a: {takeover: overlap, start_phases: [init, {go: x}]}
  c: {takeover: never}
hosts: {lxw: 127.0.0.1}
`

func nodeWith(t *testing.T, yaml string) *Node {
	t.Helper()
	n, err := New(Options{Name: self, Config: configured(t, yaml)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDifferencesInWords(t *testing.T) {
	theirs := nodeWith(t, manyApps).specification()
	if text := nodeWith(t, manyApps).difference(theirs); text != "" {
		t.Errorf("it differs from itself%s", text)
	}
	for _, c := range []struct{ what, old, new, want string }{
		{"timeout", "1500ms", "2s", "a: timeout differs: "},
		{"infinity", "timeout: infinity", "timeout: 5s", "b: timeout differs: "},
		{"order", "[node3@lxw, node1@lxw]", "[node1@lxw, node3@lxw]", "c: "},
		{"mode", "takeover: never", "takeover: exclusive", "c: takeover differs: "},
		{"phases", "[init, {go: x}]", "[init]", "a: start_phases differs: "},
		{"voters", "hosts:", "servers: [node1@lxw]\nhosts:", "voters differ: [node1@lxw node2@lxw node3@lxw] and [node1@lxw]"},
		{"app gone", "  - {app: c, timeout: 0s, nodes: [node3@lxw, node1@lxw]}\n", "", "c"},
	} {
		yaml := strings.Replace(manyApps, c.old, c.new, 1)
		if yaml == manyApps {
			t.Fatalf("%s: nothing changed", c.what)
		}
		if c.what == "app gone" {
			yaml = strings.Replace(yaml, "  c: {takeover: never}\n", "", 1)
		}
		n := nodeWith(t, yaml)
		if text := n.difference(theirs); !strings.HasPrefix(text, ": ") || !strings.Contains(text, c.want) || !strings.Contains(text, "theirs and ours") {
			t.Errorf("%s: %q", c.what, text)
		}
		if n.plan.digest == theirs.Digest {
			t.Errorf("%s: the digest is the same", c.what)
		}
	}
}

func TestLeadershipIsKeptOffOwners(t *testing.T) {
	app := func(n node.Name) machine.AppStatus { return machine.AppStatus{Node: n} }
	peer := func(n string) kv.Peer { return kv.Peer{Name: n, Current: true} }
	for _, c := range []struct {
		what   string
		leader string
		peers  []kv.Peer
		apps   []machine.AppStatus
		to     string
		move   bool
	}{
		{"nobody owns", self, []kv.Peer{peer("n2"), peer("n3")}, nil, "n2", false},
		{"leader and owner", self, []kv.Peer{peer("n2"), peer("n3")}, []machine.AppStatus{app(self)}, "n2", true},
		{"to whom owns fewest", self, []kv.Peer{peer("n2"), peer("n3")}, []machine.AppStatus{app(self), app(self), app("n2")}, "n3", true},
		{"all own the same", self, []kv.Peer{peer("n2"), peer("n3")}, []machine.AppStatus{app(self), app("n2"), app("n3")}, "n2", false},
		{"another leads", "n2", []kv.Peer{peer(self), peer("n3")}, []machine.AppStatus{app("n2")}, "", false},
		{"not to whom is away", self, []kv.Peer{{Name: "n2", Current: true, Offline: true}, peer("n3")}, []machine.AppStatus{app(self)}, "n3", true},
		{"not to whom is behind", self, []kv.Peer{{Name: "n2"}, peer("n3")}, []machine.AppStatus{app(self)}, "n3", true},
		{"alone", self, nil, []machine.AppStatus{app(self)}, "", false},
	} {
		q := kv.Quorum{OK: true, Leader: c.leader, Peers: c.peers}
		if to, move := leaderTarget(q, &machine.Status{Apps: c.apps}, self); to != c.to || move != c.move {
			t.Errorf("%s: %q %t, want %q %t", c.what, to, move, c.to, c.move)
		}
	}
}

// A store that acknowledges nothing is noticed while there is time to act.
func TestWedgedStore(t *testing.T) {
	n := nodeWith(t, manyApps)
	now := clock{}.Now()
	for _, c := range []struct {
		left float64 // of the fence
		want bool
	}{{0.9, false}, {0.5, false}, {0.2, true}, {-0.1, true}} {
		fence := now.Add(timesFence(n, c.left))
		if got := n.wedged(&machine.Status{Session: "s", Fence: fence}); got != c.want {
			t.Errorf("%v of the fence left: wedged %t", c.left, got)
		}
	}
	if n.wedged(&machine.Status{}) {
		t.Error("wedged without a session")
	}
}

func timesFence(n *Node, x float64) time.Duration {
	return time.Duration(x * float64(n.plan.lease.Fence()))
}
