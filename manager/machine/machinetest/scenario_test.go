package machinetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// TestScenarios runs the scripts in testdata: a cluster, what happens to it,
// and the whole trace of what it does. Rewrite them with -rewrite and review
// the difference.
func TestScenarios(t *testing.T) { runScenarios(t, "../testdata/scenario") }

// Every node gives the same reasons for where an app runs, or does not.
func TestWhy(t *testing.T) { runScenarios(t, "../testdata/why") }

func runScenarios(t *testing.T, dir string) {
	datadriven.Walk(t, dir, func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cluster":
				c = scenarioCluster(t, d)
				return ""
			case "app":
				scenarioApp(t, c, d)
				return ""
			}
			c.t = t
			c.trace.Reset()
			scenarioStep(t, c, d)
			return c.trace.String()
		})
	})
}

func scenarioCluster(t *testing.T, d *datadriven.TestData) *cluster {
	names := []node.Name{"n1@h", "n2@h", "n3@h"}
	c := newCluster(t, names...)
	for _, arg := range d.CmdArgs {
		v := strings.Join(arg.Vals, "")
		switch arg.Key {
		case "list":
			c.spec.Groups = [][]node.Name{{"n1@h"}, {"n2@h"}, {"n3@h"}}
		case "takeover":
			c.spec.Takeover = policy.TakeoverMode(v)
		case "timeout":
			c.spec.Timeout = policy.Timeout(duration(t, v))
		case "infinity":
			c.spec.Timeout = policy.Infinite
		case "type":
			c.kind = policy.RestartType(v)
		case "onehost":
			for _, n := range c.nodes {
				n.host = policy.Host{MachineID: "m", BootID: "b"}
			}
		case "barrier":
			c.sync = machine.Sync{Mandatory: names, Timeout: policy.Timeout(duration(t, v)), Defined: true}
		case "classic":
			c.spec.FullStart = false
		case "keeps":
			c.keeps = true
		default:
			t.Fatalf("unknown argument %s", arg.Key)
		}
	}
	return c
}

// scenarioApp adds an app; its groups are in priority order, equals joined
// by +. Without groups it is a local one.
func scenarioApp(t *testing.T, c *cluster, d *datadriven.TestData) {
	spec := c.spec
	a := machine.AppConfig{Spec: &spec, Defined: true, Type: c.kind}
	count := 1
	for _, arg := range d.CmdArgs {
		v := strings.Join(arg.Vals, "")
		switch arg.Key {
		case "name":
			a.App = policy.App(v)
		case "groups":
			spec.Groups = groupsOf(arg.Vals)
		case "timeout":
			spec.Timeout = policy.Timeout(duration(t, v))
		case "count":
			count, _ = strconv.Atoi(v)
		case "local":
			a.Spec = nil
		case "restarts":
			a.Restart.Max, _ = strconv.Atoi(v)
			a.Restart.Within, a.Restart.Backoff = time.Minute, time.Second
		default:
			t.Fatalf("unknown argument %s", arg.Key)
		}
	}
	for i := range count {
		one := a
		if count > 1 {
			one.App = policy.App(fmt.Sprintf("%s%02d", a.App, i))
		}
		if a.Spec != nil {
			s := spec
			s.App, one.Spec = one.App, &s
		}
		c.apps = append(c.apps, one)
	}
}

// scenarioBarrier gives nodes sync lists of their own, from their next boot on.
func scenarioBarrier(t *testing.T, c *cluster, d *datadriven.TestData) {
	var s machine.Sync
	var on []*testNode
	names := func(vals []string) (list []node.Name) {
		for _, v := range vals {
			list = append(list, node.Name(v+"@h"))
		}
		return list
	}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "mandatory":
			s.Mandatory = names(arg.Vals)
		case "optional":
			s.Optional = names(arg.Vals)
		case "timeout":
			s.Timeout, s.Defined = policy.Timeout(duration(t, arg.Vals[0])), true
		case "infinity":
			s.Timeout, s.Defined = policy.Infinite, true
		default:
			on = append(on, c.node(arg.Key))
		}
	}
	for _, n := range on {
		n.sync = &s
	}
}

// typeIn finds a restart type among the words of a command.
func typeIn(words []string) policy.RestartType {
	for _, w := range words {
		if t, err := policy.ParseRestartType(w); err == nil {
			return t
		}
	}
	return ""
}

// groupsOf reads a list in priority order, equals joined by +.
func groupsOf(vals []string) (groups [][]node.Name) {
	for _, g := range vals {
		var group []node.Name
		for n := range strings.SplitSeq(g, "+") {
			group = append(group, node.Name(n+"@h"))
		}
		groups = append(groups, group)
	}
	return groups
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func scenarioStep(t *testing.T, c *cluster, d *datadriven.TestData) {
	var on []*testNode
	var rest []string
	var apps []policy.App
	for _, a := range d.CmdArgs {
		switch {
		case a.Key == "app":
			apps = []policy.App{policy.App(a.Vals[0])}
		case strings.HasPrefix(a.Key, "n") && len(a.Key) == 2:
			on = append(on, c.node(a.Key))
		default:
			rest = append(rest, a.Key)
		}
	}
	switch d.Cmd {
	case "run":
		c.run(duration(t, rest[0]))
		return
	case "status":
		scenarioStatus(c)
		return
	case "spread":
		scenarioSpread(c)
		return
	case "why":
		scenarioWhy(c)
		return
	case "mute":
		c.muted = true
		return
	case "barrier":
		scenarioBarrier(t, c, d)
		return
	case "files", "apply", "load", "damage":
		scenarioSpec(t, c, d)
		c.settle()
		return
	case "keep-store", "set-back", "lose-store", "damage-record":
		scenarioStore(c, d.Cmd)
		c.settle()
		return
	}
	for _, n := range on {
		scenarioVerb(t, n, d.Cmd, apps, rest)
	}
	c.settle()
}

func scenarioVerb(t *testing.T, n *testNode, verb string, apps []policy.App, rest []string) {
	has := func(word string) bool { return slices.Contains(rest, word) }
	switch verb {
	case "boot":
		n.boot()
	case "kill":
		n.kill()
	case "cut":
		n.cut = true
		n.step(machine.Viewed{View: policy.View{Lost: "cut"}})
	case "heal":
		n.cut = false
		n.snapshot()
	case "shutdown":
		n.step(machine.Command{Verb: machine.VerbShutdown})
	case "start", "stop", "takeover", "permit":
		for _, a := range n.named(apps) {
			n.call(machine.Command{Verb: machine.Verb(verb), App: a, All: has("all"), Permitted: has("true"), Persist: has("persist"), Type: typeIn(rest)})
		}
	case "crash":
		for _, a := range n.named(apps) {
			n.crash(a, has("normal"))
		}
	case "deaf":
		n.deaf = true
	case "wipe":
		n.memory = machine.Memory{}
	case "hidden":
		n.hidden = true
	case "denied":
		n.denied = true
	case "fail-starts":
		n.failStart = 1
	case "slow-stop":
		n.slowStop = duration(t, rest[0])
	case "slow-start":
		n.slowStart = duration(t, rest[0])
	case "unknown":
		n.unknown = 1
	case "lose":
		n.lose = 1
	case "late":
		n.late = duration(t, rest[0])
	case "slept":
		n.step(machine.Slept{})
	default:
		t.Fatalf("unknown verb %s", verb)
	}
}

// scenarioSpec is about specifications: files is what nodes find at their next
// boot, apply and load are commands, damage spoils what the bucket has. An app
// that is not described further has the one of the cluster; out leaves it out.
func scenarioSpec(t *testing.T, c *cluster, d *datadriven.TestData) {
	spec := c.spec
	var on []*testNode
	specs := []policy.Spec{}
	out := false
	for _, arg := range d.CmdArgs {
		v := strings.Join(arg.Vals, "")
		switch arg.Key {
		case "app":
			spec.App = policy.App(v)
		case "groups":
			spec.Groups = groupsOf(arg.Vals)
		case "timeout":
			spec.Timeout = policy.Timeout(duration(t, v))
		case "takeover":
			spec.Takeover = policy.TakeoverMode(v)
		case "out":
			out = true
		default:
			on = append(on, c.node(arg.Key))
		}
	}
	if !out {
		specs = append(specs, spec)
	}
	if d.Cmd == "damage" {
		c.rev++
		c.put(policy.Cell{Key: policy.ConfigKey(), Damaged: "garbage"})
	}
	for _, n := range on {
		switch d.Cmd {
		case "files":
			n.files = specs
		case "apply":
			n.call(machine.Command{Verb: machine.VerbConfig, Apply: c.applied(specs), Detail: "applied"})
		case "load":
			n.call(machine.Command{Verb: machine.VerbLoad, App: spec.App, Spec: &spec})
		}
	}
}

// scenarioStore is what happens to the store as a whole, and to the record of the
// app: it is damaged, or forgets all that came after keep-store.
func scenarioStore(c *cluster, cmd string) {
	switch cmd {
	case "keep-store":
		c.kept, c.keptRev = maps.Clone(c.cells), c.rev
		return
	case "damage-record":
		c.rev++
		c.put(policy.Cell{Key: policy.AppKey(c.spec.App), Damaged: "garbage"})
		return
	case "set-back":
		c.cells, c.rev = maps.Clone(c.kept), c.keptRev
	case "lose-store":
		c.cells, c.rev, c.identity = map[policy.Key]policy.Cell{}, 0, c.identity+"'"
	}
	for _, n := range c.nodes {
		n.step(machine.Viewed{View: policy.View{Lost: "the connection ended"}})
		n.snapshot()
	}
}

// named are the apps that a command is for: all unless some are named.
func (n *testNode) named(apps []policy.App) []policy.App {
	if len(apps) > 0 {
		return apps
	}
	for _, a := range n.apps() {
		apps = append(apps, a.App)
	}
	return apps
}

// scenarioSpread prints how many distributed apps run on each node.
func scenarioSpread(c *cluster) {
	var parts []string
	for _, n := range c.nodes {
		parts = append(parts, fmt.Sprintf("%s %d", n.name.Base(), len(n.runIDs())))
	}
	c.printf("running: %s", strings.Join(parts, ", "))
}

// scenarioStatus prints what every live node thinks of each app, once if they
// agree.
func scenarioStatus(c *cluster) {
	seen := map[string][]string{}
	var order []string
	for _, n := range c.nodes {
		if n.m == nil {
			continue
		}
		for _, l := range statusLines(n.m.Status()) {
			if seen[l] == nil {
				order = append(order, l)
			}
			seen[l] = append(seen[l], n.name.Base())
		}
	}
	for _, l := range order {
		c.printf("%s: %s", strings.Join(seen[l], ","), l)
	}
	c.printf("alive: %v", c.alive())
}

// scenarioWhy prints how every live node explains each app, once if they
// agree.
func scenarioWhy(c *cluster) {
	seen := map[string][]string{}
	var order []string
	for _, n := range c.nodes {
		if n.m == nil {
			continue
		}
		for _, a := range n.m.Status().Apps {
			l := whyLine(a)
			if seen[l] == nil {
				order = append(order, l)
			}
			seen[l] = append(seen[l], n.name.Base())
		}
	}
	for _, l := range order {
		c.printf("%s: %s", strings.Join(seen[l], ","), l)
	}
}

func whyLine(a machine.AppStatus) string {
	parts := []string{fmt.Sprintf("%s %s:", a.Name, a.Cause)}
	for _, v := range a.Verdicts {
		parts = append(parts, v.Node.Base(), string(v.Standing))
		switch {
		case v.Error != "":
			parts = append(parts, "("+v.Error+")")
		case v.Standing == machine.StandingWeight:
			parts = append(parts, fmt.Sprintf("(%d)", v.Weight))
		}
	}
	return strings.Join(parts, " ")
}

func statusLines(st machine.Status) []string {
	var out []string
	for _, a := range st.Apps {
		line := fmt.Sprintf("%s %s node=%s epoch=%d kind=%s from=%s", a.Name, a.State, a.Node.Base(), a.Epoch, a.StartKind, a.From.Base())
		if a.Local {
			line = fmt.Sprintf("%s %s on=%v", a.Name, a.State, a.RunningOn)
		}
		if a.WaitingFor != "" {
			line += " waiting for " + a.WaitingFor.Base()
		}
		if a.State == machine.AppFailed {
			line += ": " + a.Error
		}
		if len(st.Waiting) > 0 {
			line += " | waits: " + strings.Join(st.Waiting, "; ")
		}
		out = append(out, line)
	}
	return out
}
