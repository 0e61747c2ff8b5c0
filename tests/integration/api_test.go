package integration

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

const apiYAML = `distributed:
  - {app: myapp, timeout: 1s, nodes: [node1@lxw, node2@lxw, node3@lxw]}
application_env:
  myapp: {port: 8080}
`

// TestGoAPI: the calls of OTP's application module on the node value, and the
// sentinels of what they refuse (A-5, A-18, A-19, A-40, A-41, A-45, A-46, A-49,
// B-15, B-26).
func TestGoAPI(t *testing.T) {
	c := configuredCluster(t, apiYAML)
	with := func(name string) func(*manager.Options) {
		return func(o *manager.Options) {
			for _, app := range []string{"loaded", "here"} {
				o.Apps[app] = func() manager.Application { return &testApp{j: c.j, node: name} }
			}
		}
	}
	for _, name := range []string{"node1", "node2", "node3"} {
		c.boot(name, with(name))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	n1, n2 := c.nodes["node1"].n, c.nodes["node2"].n
	c.startOn("myapp", "node1", "node2", "node3")

	// Reads.
	if got := n1.WhichApplications(); !slices.Equal(got, []policy.App{"myapp"}) {
		t.Errorf("node1 runs %v", got)
	}
	// Whoever was first may have started it and given it up: what a node says of
	// itself is as new as its answers, what it says unasked a moment older.
	c.eventually("node2 runs nothing", func() bool { return len(n2.WhichApplications()) == 0 })
	if got := n2.LoadedApplications(); !slices.Equal(got, []policy.App{"here", "loaded", "myapp"}) {
		t.Errorf("loaded are %v", got)
	}
	if port, ok := n1.GetEnv("myapp", "port"); !ok || string(port) != "8080" {
		t.Errorf("port is %s, %t", port, ok)
	}
	if _, ok := n1.GetEnv("myapp", "nothing"); ok {
		t.Error("a parameter that nobody set")
	}

	// What is refused, and how.
	list := func(names ...manager.NodeName) manager.Distribution {
		return manager.Distribution{Nodes: [][]manager.NodeName{names}}
	}
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"start again", n1.StartApp(ctx, "myapp", ""), manager.ErrAlreadyStarted},
		{"start of nobody's app", n1.StartApp(ctx, "nobodys", ""), manager.ErrNotLoaded},
		{"start with a bad type", n1.StartApp(ctx, "myapp", "forever"), manager.ErrBadType},
		{"takeover with a bad type", n2.Takeover(ctx, "myapp", "forever"), manager.ErrBadType},
		{"takeover by the owner", n1.Takeover(ctx, "myapp", ""), manager.ErrAlreadyRunningLocally},
		{"takeover of what does not run", n1.Takeover(ctx, "here", ""), manager.ErrNotRunningDistributed},
		{"stop of what is not started", n1.StopApp(ctx, "here"), manager.ErrNotStarted},
		{"permit of nobody's app", n1.Permit(ctx, "nobodys", true), manager.ErrNotLoaded},
		{"load of nobody's app", n1.Load(ctx, "nobodys"), manager.ErrNotLoaded},
		{"load of a registered app", n1.Load(ctx, "here"), nil},
		{"ensure what is started", n1.EnsureStarted(ctx, "myapp", ""), nil},
		{"a negative timeout", n1.LoadDistributed(ctx, "loaded", manager.Distribution{Timeout: -1, Nodes: list("node1@lxw").Nodes}), manager.ErrBadDistribution},
		{"no nodes", n1.LoadDistributed(ctx, "loaded", manager.Distribution{}), manager.ErrBadDistribution},
		{"a node twice", n1.LoadDistributed(ctx, "loaded", list("node1@lxw", "node1@lxw")), manager.ErrBadDistribution},
		{"another list for what is started", n1.LoadDistributed(ctx, "myapp", list("node3@lxw")), manager.ErrMismatch},
	} {
		if !errors.Is(tt.err, tt.want) || tt.want != nil && !strings.Contains(tt.err.Error(), tt.want.Error()) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if started, err := n1.EnsureAllStarted(ctx, "myapp", ""); err != nil || len(started) != 0 {
		t.Errorf("ensure_all_started of what is started: %v, %v", started, err)
	}
	if started, err := n1.EnsureAllStarted(ctx, "here", ""); err != nil || !slices.Equal(started, []policy.App{"here"}) {
		t.Errorf("ensure_all_started: %v, %v", started, err)
	}
	c.eventually("node2 hears that node1 runs it", func() bool {
		return slices.ContainsFunc(n2.View().Apps, func(a machine.AppStatus) bool { return a.Name == "here" && len(a.StartedOn) > 0 })
	})
	if err := n2.LoadDistributed(ctx, "here", list("node2@lxw")); !errors.Is(err, manager.ErrInUse) {
		t.Errorf("load/2 of a local app that runs: %v", err)
	}

	// load/2 holds for all nodes.
	if err := n2.LoadDistributed(ctx, "loaded", manager.Distribution{Timeout: time.Second, Nodes: [][]manager.NodeName{{"node2@lxw"}, {"node1@lxw", "node3@lxw"}}}); err != nil {
		t.Fatal(err)
	}
	c.startOn("loaded", "node1", "node2", "node3")
	if on := c.j.running("loaded"); !slices.Equal(on, []string{"node2"}) {
		t.Errorf("what was loaded runs on %v", on)
	}

	// A permission that stays, over a restart.
	if err := n1.PermitPersist(ctx, "myapp", false); err != nil {
		t.Fatal(err)
	}
	if on := c.j.running("myapp"); !slices.Equal(on, []string{"node2"}) {
		t.Errorf("not permitted on node1, it runs on %v", on)
	}
	c.halt("node1")
	c.boot("node1", with("node1"))
	c.startOn("myapp", "node1")
	if on := c.j.running("myapp"); !slices.Equal(on, []string{"node2"}) {
		t.Errorf("after the restart it runs on %v", on)
	}

	// A specification applied by a program.
	cfg := c.config()
	cfg.Specs[0].Timeout = policy.Timeout(3 * time.Second)
	applied, err := n2.ApplyConfig(ctx, cfg)
	if err != nil || len(applied.Nodes) != 3 || !slices.Equal(applied.Changed, []string{"myapp: timeout from 1s to 3s"}) {
		t.Errorf("applied %+v, %v", applied, err)
	}

	// The next start goes by it: start phases too.
	cfg.Specs[0].StartPhases = []policy.Phase{{Name: "init"}, {Name: "go", Args: `[1]`}}
	if applied, err = n2.ApplyConfig(ctx, cfg); err != nil || len(applied.Changed) != 1 {
		t.Errorf("applied %+v, %v", applied, err)
	}
	if err := n2.StopEverywhere(ctx, "myapp"); err != nil {
		t.Error(err)
	}
	c.startOn("myapp", "node2")
	if all := c.j.of("myapp"); len(all[len(all)-1].s.Phases) != 2 || all[len(all)-1].s.Phases[1].Args != `[1]` {
		t.Errorf("the instance was told %+v", all[len(all)-1].s)
	}
	if c.j.most > 1 {
		t.Errorf("%d instances at once", c.j.most)
	}
}
