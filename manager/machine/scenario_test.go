package machine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// TestScenarios runs the scripts in testdata: a cluster, what happens to it,
// and the whole trace of what it does. Rewrite them with -rewrite and review
// the difference.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenario", func(t *testing.T, path string) {
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				c = scenarioCluster(t, d)
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
			c.sync = Sync{Mandatory: names, Timeout: policy.Timeout(duration(t, v)), Defined: true}
		case "classic":
			c.spec.FullStart = false
		default:
			t.Fatalf("unknown argument %s", arg.Key)
		}
	}
	return c
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
	for _, a := range d.CmdArgs {
		if strings.HasPrefix(a.Key, "n") && len(a.Key) == 2 {
			on = append(on, c.node(a.Key))
		} else {
			rest = append(rest, a.Key)
		}
	}
	if d.Cmd == "run" {
		c.run(duration(t, rest[0]))
		return
	}
	if d.Cmd == "status" {
		scenarioStatus(c)
		return
	}
	for _, n := range on {
		scenarioVerb(t, n, d.Cmd, rest)
	}
	c.settle()
}

func scenarioVerb(t *testing.T, n *testNode, verb string, rest []string) {
	switch verb {
	case "boot":
		n.boot()
	case "kill":
		n.kill()
	case "cut":
		n.cut = true
		n.step(Viewed{View: policy.View{Lost: "cut"}})
	case "heal":
		n.cut = false
		n.snapshot()
	case "shutdown":
		n.step(Command{Verb: VerbShutdown})
	case "start", "stop", "takeover":
		n.call(Verb(verb), len(rest) > 0 && rest[0] == "all")
	case "permit":
		n.permit(rest[0] == "true")
	case "crash":
		n.crash(len(rest) > 0)
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
	default:
		t.Fatalf("unknown verb %s", verb)
	}
}

// scenarioStatus prints what every live node thinks, once if they agree.
func scenarioStatus(c *cluster) {
	seen := map[string][]string{}
	var order []string
	for _, n := range c.nodes {
		if n.m == nil {
			continue
		}
		st := n.m.Status()
		a := st.Apps[0]
		line := fmt.Sprintf("%s %s node=%s epoch=%d kind=%s from=%s", a.Name, a.State, a.Node.Base(), a.Epoch, a.StartKind, a.From.Base())
		if a.WaitingFor != "" {
			line += " waiting for " + a.WaitingFor.Base()
		}
		if len(st.Waiting) > 0 {
			line += " | waits: " + strings.Join(st.Waiting, "; ")
		}
		if seen[line] == nil {
			order = append(order, line)
		}
		seen[line] = append(seen[line], n.name.Base())
	}
	for _, l := range order {
		c.printf("%s: %s", strings.Join(seen[l], ","), l)
	}
	c.printf("alive: %v", c.alive())
}
