package doctor

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

func TestClock(t *testing.T) {
	for ahead, want := range map[time.Duration]Result{time.Second: OK, -time.Second: OK, time.Hour: Warning, -2 * time.Minute: Warning} {
		checks := Clock(ahead, true)
		if last := checks[len(checks)-1]; last.Result != want || want == Warning && last.Hint == "" {
			t.Errorf("%v: %+v", ahead, last)
		}
	}
	if checks := Clock(time.Hour, false); len(checks) != 1 {
		t.Errorf("a wall clock that nobody knows: %+v", checks)
	}
}

// A directory that will be made is as good as one that is there; a file is
// not. Nothing is left behind.
func TestDataDir(t *testing.T) {
	dir := t.TempDir()
	if c := DataDir(filepath.Join(dir, "not", "yet")); c.Result != OK && c.Result != Warning {
		t.Errorf("%+v", c)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if c := DataDir(path); c.Result != Failed || c.Hint == "" {
			t.Errorf("%s: %+v", path, c)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Load(func(string) ([]byte, error) { return []byte(text), nil }, "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// results are those of the checks of a name.
func results(checks []Check, name string) (all []Result) {
	for _, c := range checks {
		if c.Name == name {
			all = append(all, c.Result)
		}
	}
	return all
}

func TestConfig(t *testing.T) {
	two := load(t, "distributed:\n  - {app: a, nodes: [n1@h, n2@h]}\n")
	checks := Config(two, "n9@h", false)
	for name, want := range map[string]Result{"configuration": OK, "lease": OK, "voters": Failed, "name": Warning} {
		if got := results(checks, name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := results(Config(two, "n1@h", true), "voters"); got != nil {
		t.Errorf("voters with an external NATS: %v", got)
	}
	short := load(t, "lease: 1s\ndistributed:\n  - {app: a, nodes: [n1@h]}\n")
	if got := results(Config(short, "", false), "lease"); got[0] != Failed {
		t.Errorf("a short lease: %v", got)
	}
}

// The own ports must be free, those of the others should answer.
func TestPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	busy, idle := taken.Addr().String(), port.Addrs(t, 1)[0]
	for _, c := range []struct {
		self node.Name
		here bool
		addr string
		want Result
	}{
		{"n1@h", false, busy, Failed}, {"n1@h", false, idle, OK}, {"n1@h", true, busy, OK}, {"n2@h", false, busy, OK}, {"n2@h", false, idle, Warning},
	} {
		got := Ports(t.Context(), []config.Address{{Node: "n1@h", Client: c.addr, Cluster: c.addr}}, []node.Name{"n1@h"}, c.self, c.here)
		if len(got) != 1 || got[0].Result != c.want || c.want != OK && got[0].Hint == "" {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// A copy that is not complete is named, with its node and the reason; a node
// that did not answer, and servers of somebody else, say nothing.
func TestCopies(t *testing.T) {
	own := &status.Document{Quorum: status.Quorum{Mode: status.Embedded}}
	got := Copies(own, map[node.Name]string{"node1@lxw": "", "node2@lxw": "KV_regent_default: stream catching up"})
	if len(got) != 1 || got[0].Result != Warning || got[0].Hint == "" || !strings.Contains(got[0].Detail, "node2@lxw: KV_regent_default: stream catching up") {
		t.Errorf("one behind: %+v", got)
	}
	if got := Copies(own, map[node.Name]string{"node1@lxw": "", "node2@lxw": ""}); len(got) != 1 || got[0].Result != OK {
		t.Errorf("all complete: %+v", got)
	}
	if got := Copies(&status.Document{Quorum: status.Quorum{Mode: status.External}}, nil); len(got) != 0 {
		t.Errorf("an external NATS: %+v", got)
	}
}

func TestReport(t *testing.T) {
	for want, checks := range map[bool][]Check{true: {ok("a", ""), warning("b", "", ""), skipped("c", "")}, false: {ok("a", ""), failed("b", "", "")}} {
		if r := NewReport(checks); r.OK != want || r.Schema != 1 {
			t.Errorf("%+v", r)
		}
	}
}
