package machinetest

import (
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// World is a cluster for scenarios that are written elsewhere. All its nodes
// are on one host, so that a death is proved at once, as a warden does it.
type World struct{ c *cluster }

// Seen is what an outsider sees.
type Seen struct {
	What SeenKind
	Node node.Name
	App  policy.App
	Kind policy.StartKind
	From node.Name
	Call machine.CallID
	Err  *machine.Refusal // of a reply
	Code int              // of an exit

	Phase policy.Phase
}

// SeenKind says what was seen.
type SeenKind string

// What is seen.
const (
	SeenUp      SeenKind = "up" // through its barrier
	SeenExit    SeenKind = "exit"
	SeenKilled  SeenKind = "killed"
	SeenFenced  SeenKind = "fenced"
	SeenStart   SeenKind = "start"
	SeenPhase   SeenKind = "phase"
	SeenStarted SeenKind = "started"
	SeenFailed  SeenKind = "failed"
	SeenStop    SeenKind = "stop" // told to stop; its prep_stop is called
	SeenGone    SeenKind = "gone"
	SeenReply   SeenKind = "reply"
)

// NewWorld makes a cluster of nodes that are down. configure may change what a
// node is told; see is called with all that happens.
func NewWorld(t testing.TB, names []node.Name, apps []machine.AppConfig, configure func(*machine.Config), see func(Seen)) *World {
	c := newCluster(t, names...)
	c.apps, c.conf, c.muted, c.see = apps, configure, true, see
	for _, n := range c.nodes {
		n.host = policy.Host{MachineID: "m", BootID: "b"}
	}
	return &World{c}
}

// Embed puts the store into the nodes: without a majority of them it is lost,
// and at first all are needed.
func (w *World) Embed() { w.c.voters, w.c.lost = len(w.c.nodes), true }

// Boot begins a life of a node.
func (w *World) Boot(n string) { w.c.node(n).boot(); w.c.settle() }

// Kill is kill -9.
func (w *World) Kill(n string) {
	node := w.c.node(n)
	node.kill()
	w.c.saw(Seen{What: SeenKilled, Node: node.name})
	w.c.settle()
}

// Cut takes a node off the network; Heal brings it back.
func (w *World) Cut(n string) {
	w.c.node(n).cut = true
	w.c.node(n).step(machine.Viewed{View: policy.View{Lost: "cut"}})
}

// Heal ends Cut.
func (w *World) Heal(n string) {
	w.c.node(n).cut = false
	w.c.node(n).snapshot()
}

// Freeze lets a node stand still, apps and all. At its deadline its warden ends
// it.
func (w *World) Freeze(n string) {
	node := w.c.node(n)
	m, due := node.m, node.m.Status().Fence
	node.frozen = true
	var wait func()
	wait = func() {
		switch {
		case node.m != m || !node.frozen:
		case w.c.now < due:
			w.c.queue = append(w.c.queue, wait)
		default:
			node.kill()
			w.c.saw(Seen{What: SeenFenced, Node: node.name})
		}
	}
	w.c.queue = append(w.c.queue, wait)
}

// Thaw ends Freeze, if the node is still there.
func (w *World) Thaw(n string) {
	w.c.node(n).frozen = false
	w.c.node(n).snapshot()
}

// Command gives a command to a node.
func (w *World) Command(n string, cmd machine.Command) {
	w.c.node(n).step(cmd)
	w.c.settle()
}

// End ends the instance of an app by itself.
func (w *World) End(n string, app policy.App, normal bool) {
	w.c.node(n).crash(app, normal)
	w.c.settle()
}

// Fail says whether the starts of an app fail on a node.
func (w *World) Fail(n string, app policy.App, fails bool) {
	node := w.c.node(n)
	node.failing = slices.DeleteFunc(node.failing, func(a policy.App) bool { return a == app })
	if fails {
		node.failing = append(node.failing, app)
	}
}

// SlowStart says how long starts of an app take on a node.
func (w *World) SlowStart(n string, app policy.App, d time.Duration) {
	slowly(&w.c.node(n).slowStarts, app, d)
}

// SlowStop says how long its stops take.
func (w *World) SlowStop(n string, app policy.App, d time.Duration) {
	slowly(&w.c.node(n).slowStops, app, d)
}

func slowly(of *map[policy.App]time.Duration, app policy.App, d time.Duration) {
	if *of == nil {
		*of = map[policy.App]time.Duration{}
	}
	(*of)[app] = d
}

// Run lets virtual time pass.
func (w *World) Run(d time.Duration) { w.c.run(d) }

// Now is the virtual time.
func (w *World) Now() time.Duration { return time.Duration(w.c.now) }

func (c *cluster) saw(s Seen) {
	if c.see != nil {
		c.see(s)
	}
}

// sawApp is about an instance.
func (n *testNode) sawApp(what SeenKind, s machine.StartApp) {
	n.c.saw(Seen{What: what, Node: n.name, App: s.App, Kind: s.Kind, From: s.From})
}

// watchUp notices that a node is through its barrier.
func (n *testNode) watchUp() {
	if n.m == nil || n.up || n.c.see == nil {
		return
	}
	if n.up = n.m.Status().Phase == machine.BeatUp; n.up {
		n.c.saw(Seen{What: SeenUp, Node: n.name})
	}
}
