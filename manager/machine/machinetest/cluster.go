package machinetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// cluster runs a few machines on a store and a network that are perfect except
// where a test says otherwise, in virtual time, one event after the other.
type cluster struct {
	t     testing.TB
	now   machine.Instant
	nodes []*testNode
	spec  policy.Spec
	lease policy.Lease
	kind  policy.RestartType
	sync  machine.Sync
	conf  func(*machine.Config)
	apps  []machine.AppConfig // instead of the one of spec
	keeps bool                // the specification stands in the bucket

	cells    map[policy.Key]policy.Cell
	rev      policy.Revision
	seen     map[string]policy.Revision // message ids
	identity policy.Identity
	kept     map[policy.Key]policy.Cell // what the store goes back to
	keptRev  policy.Revision

	queue []func()
	trace strings.Builder
	see   func(Seen) // may be nil

	voters int  // the store is in so many nodes; 0: it is apart
	met    bool // all of them were there at once
	lost   bool // there is no majority of them
	muted  bool // only what the test itself prints is traced
	ids    int
}

type testNode struct {
	c      *cluster
	name   node.Name
	m      *machine.Machine // nil: down
	memory machine.Memory
	host   policy.Host
	agent  policy.Nonce
	runs   map[machine.RunID]*testRun
	exit   *machine.Exit
	calls  int
	hidden bool
	denied bool          // without permission at first
	sync   *machine.Sync // its own barrier; nil: the cluster's
	files  []policy.Spec // what its files say from its next boot on; nil: as the others'

	cut       bool          // hears and reaches nobody, store included
	deaf      bool          // hears no heartbeat and no change of the bucket
	unknown   int           // so many writes are applied and not answered
	lose      int           // so many writes are lost and not answered
	late      time.Duration // the answer to its next write takes so long
	failStart int           // so many starts fail
	failing   []policy.App  // apps whose starts fail
	frozen    bool          // nothing reaches it, and it does nothing
	up        bool          // this life was seen through its barrier
	slowStop  time.Duration
	slowStart time.Duration

	slowStarts, slowStops map[policy.App]time.Duration // of single apps, beside the two above
}

type testRun struct {
	start machine.StartApp
	up    bool // its start is complete
	gone  bool
}

func newCluster(t testing.TB, names ...node.Name) *cluster {
	c := &cluster{
		t: t, now: machine.Instant(time.Hour), lease: policy.NewLease(3*time.Second, time.Second), kind: policy.Temporary,
		cells: map[policy.Key]policy.Cell{}, seen: map[string]policy.Revision{}, identity: "bucket-1",
	}
	c.spec = policy.Spec{App: "myapp", Timeout: policy.Timeout(5 * time.Second), Takeover: policy.Exclusive, FullStart: true}
	c.spec.Groups = [][]node.Name{{names[0]}}
	if len(names) > 1 {
		c.spec.Groups = append(c.spec.Groups, names[1:])
	}
	for _, n := range names {
		c.nodes = append(c.nodes, &testNode{c: c, name: n, host: policy.Host{MachineID: string(n), BootID: "b"}})
	}
	return c
}

func (c *cluster) node(name string) *testNode {
	for _, n := range c.nodes {
		if n.name.Base() == name || string(n.name) == name {
			return n
		}
	}
	c.t.Fatalf("no node %q", name)
	return nil
}

// tell traces what happens; printf what a test asks for.
func (c *cluster) tell(format string, args ...any) {
	if !c.muted {
		c.printf(format, args...)
	}
}

func (c *cluster) printf(format string, args ...any) {
	at := c.now.Sub(machine.Instant(time.Hour))
	fmt.Fprintf(&c.trace, "%7.3f  %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}

func (c *cluster) newID() string {
	c.ids++
	return fmt.Sprintf("id%03d", c.ids)
}

// boot starts a new life of a node.
func (n *testNode) boot() {
	c := n.c
	n.agent = policy.Nonce("agent-" + c.newID())
	n.runs = map[machine.RunID]*testRun{}
	n.exit, n.cut, n.up, n.frozen = nil, false, false, false
	cfg := machine.Config{
		Self: n.name, Agent: n.agent, Host: n.host, PID: 1, Lease: c.lease, Sync: c.sync, Digest: "d",
		Apps: n.apps(), Hidden: n.hidden,
		Memory: n.memory, NewID: c.newID, Wall: func() int64 { return int64(time.Duration(c.now) / time.Millisecond) },
	}
	for _, o := range c.nodes {
		cfg.FirstBoot = append(cfg.FirstBoot, o.name)
	}
	if n.sync != nil {
		cfg.Sync = *n.sync
	}
	if c.keeps {
		cfg.Specification = n.specification()
		cfg.Digest = cfg.Specification.Digest
	}
	if c.conf != nil {
		c.conf(&cfg)
	}
	n.m = machine.New(cfg, c.now)
	n.step(machine.Tick{})
	n.snapshot()
}

// apps is the configuration of the apps as this node has it.
func (n *testNode) apps() []machine.AppConfig {
	apps := slices.Clone(n.c.apps)
	if len(apps) == 0 {
		apps = []machine.AppConfig{{App: n.c.spec.App, Spec: &n.c.spec, Defined: true, Type: n.c.kind}}
	}
	for i := range apps {
		apps[i].Denied = n.denied
		for _, s := range n.files {
			if s.App == apps[i].App {
				apps[i].Spec = new(s)
			}
		}
	}
	return apps
}

// specification is what its files say.
func (n *testNode) specification() *policy.SpecRecord {
	var specs []policy.Spec
	for _, a := range n.apps() {
		if a.Spec != nil {
			specs = policy.PutSpec(specs, *a.Spec)
		}
	}
	return n.c.applied(specs)
}

func (c *cluster) applied(specs []policy.Spec) *policy.SpecRecord {
	return &policy.SpecRecord{Digest: policy.Digest("c", nil, specs), Specs: specs}
}

func (n *testNode) snapshot() {
	if n.cut || n.c.lost {
		return
	}
	v := policy.View{Snapshot: true, Identity: n.c.identity, Seq: n.c.rev}
	for _, k := range n.c.keys() {
		v.Cells = append(v.Cells, n.c.cells[k])
	}
	n.step(machine.Viewed{View: v})
}

func (c *cluster) keys() []policy.Key {
	var ks []policy.Key
	for k := range c.cells {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, func(a, b policy.Key) int { return strings.Compare(a.String(), b.String()) })
	return ks
}

// kill is SIGKILL: the apps die with the agent.
func (n *testNode) kill() {
	n.m = nil
	for _, r := range n.runs {
		r.gone = true
	}
}

func (n *testNode) step(ev machine.Event) {
	if n.m == nil || n.frozen {
		return
	}
	for _, a := range n.m.Step(n.c.now, ev) {
		n.perform(a)
	}
	if n.m == nil {
		return
	}
	if err := n.m.Check(); err != nil {
		n.c.t.Fatalf("%s: %v\n%s", n.name, err, n.c.trace.String())
	}
	for range 100 {
		if n.m == nil || n.m.Wake() > n.c.now {
			return
		}
		for _, a := range n.m.Step(n.c.now, machine.Tick{}) {
			n.perform(a)
		}
	}
	n.c.t.Fatalf("%s: never comes to rest\n%s", n.name, n.c.trace.String())
}

// later queues an event for this life of the node.
func (n *testNode) later(ev machine.Event) {
	m := n.m
	n.c.queue = append(n.c.queue, func() {
		if n.m == m {
			n.step(ev)
		}
	})
}

func (n *testNode) perform(a machine.Action) {
	c := n.c
	switch a := a.(type) {
	case machine.Write:
		n.write(a)
	case machine.Read:
		if n.cut || c.lost {
			n.at(c.lease.Request, machine.ReadDone{Req: a.Req})
			return
		}
		cell := c.cells[a.Key]
		cell.Key = a.Key
		n.later(machine.ReadDone{Req: a.Req, OK: true, Cell: cell})
	case machine.Remember:
		n.memory = a.Memory
		n.later(machine.Remembered{Req: a.Req, OK: true})
	case machine.StartApp:
		n.start(a)
	case machine.StopApp:
		if r := n.runs[a.Run]; r.up && !r.gone {
			n.sawApp(SeenStop, r.start)
		}
		n.stopRun(a.Run, n.slowStop+n.slowStops[n.runs[a.Run].start.App], true)
	case machine.KillApp:
		c.tell("%s kill %s: %s", n.name.Base(), "run", a.Cause)
		n.stopRun(a.Run, 0, false)
	case machine.SendBeat:
		for _, o := range c.nodes {
			if o != n && o.m != nil && !o.cut && !o.deaf && !n.cut {
				o.later(machine.Heard(a))
			}
		}
	case machine.Prove:
		gone := true
		for _, o := range c.nodes {
			if o.m != nil && o.agent == a.Record.Agent {
				gone = false
			}
		}
		n.later(machine.Proved{Node: a.Record.Node, Agent: a.Record.Agent, Gone: gone})
	case machine.Reply:
		c.tell("%s reply %d: %v", n.name.Base(), a.ID, errText(a.Err))
		c.saw(Seen{What: SeenReply, Node: n.name, Call: a.ID, Err: a.Err})
	case machine.Emit:
		c.tell("%s %s", n.name.Base(), historyText(a.Record))
	case machine.Exit:
		c.tell("%s exit %d: %s", n.name.Base(), a.Code, a.Reason)
		n.exit = &a
		n.kill()
		c.saw(Seen{What: SeenExit, Node: n.name, Code: a.Code})
	}
}

func errText(r *machine.Refusal) string {
	if r == nil {
		return "ok"
	}
	return r.Error()
}

func historyText(h machine.History) string {
	s := h.Type
	if h.App != "" {
		s += " " + string(h.App)
	}
	if h.Node != "" {
		s += " at " + h.Node.Base()
	}
	if h.From != "" {
		s += " from " + h.From.Base()
	}
	if h.Epoch != 0 {
		s += fmt.Sprintf(" epoch %d", h.Epoch)
	}
	if h.Detail != "" {
		s += " (" + h.Detail + ")"
	}
	return s
}

func (n *testNode) write(a machine.Write) {
	c := n.c
	if n.cut || c.lost || n.lose > 0 {
		n.lose = max(n.lose-1, 0)
		n.at(c.lease.Request, machine.Wrote{Req: a.Req})
		return
	}
	ev := machine.Wrote{Req: a.Req, Outcome: policy.OutcomeRefused}
	if rev, repeated := c.seen[a.Write.ID]; repeated {
		ev = machine.Wrote{Req: a.Req, Outcome: policy.OutcomeOK, Rev: rev}
	} else if c.cells[a.Write.Cell.Key].Rev == a.Write.Expect {
		c.rev++
		c.seen[a.Write.ID] = c.rev
		ev = machine.Wrote{Req: a.Req, Outcome: policy.OutcomeOK, Rev: c.rev}
		c.put(a.Write.Cell)
	}
	if n.unknown > 0 && ev.Outcome == policy.OutcomeOK && a.Write.Cell.App != nil {
		n.unknown--
		n.at(c.lease.Request, machine.Wrote{Req: a.Req})
		return
	}
	if n.late > 0 {
		n.at(n.late, ev)
		n.late = 0
		return
	}
	n.later(ev)
}

func (c *cluster) put(cell policy.Cell) {
	cell.Rev = c.rev
	c.cells[cell.Key] = cell
	for _, o := range c.nodes {
		if o.m != nil && !o.cut && !o.deaf {
			o.later(machine.Viewed{View: policy.View{Identity: c.identity, Seq: c.rev, Cells: []policy.Cell{cell}}})
		}
	}
}

// at delivers an event after d, in this life.
func (n *testNode) at(d time.Duration, ev machine.Event) {
	n.after(d, func() { n.step(ev) })
}

// after does something after d, in this life.
func (n *testNode) after(d time.Duration, do func()) {
	m, due := n.m, n.c.now.Add(d)
	var wait func()
	wait = func() {
		if n.c.now < due {
			n.c.queue = append(n.c.queue, wait)
			return
		}
		if n.m == m {
			do()
		}
	}
	n.c.queue = append(n.c.queue, wait)
}

func (n *testNode) start(a machine.StartApp) {
	r := &testRun{start: a}
	n.runs[a.Run] = r
	n.c.tell("%s START %s %s from=%s epoch=%d", n.name.Base(), a.App, a.Kind, a.From.Base(), a.Epoch)
	n.sawApp(SeenStart, a)
	slow := n.slowStart + n.slowStarts[a.App]
	if n.failStart > 0 || slices.Contains(n.failing, a.App) {
		n.failStart = max(n.failStart-1, 0)
		r.gone = true
		n.after(slow, func() {
			n.sawApp(SeenFailed, a)
			n.step(machine.StartFailed{Run: a.Run, Reason: "boom"})
		})
		return
	}
	n.after(slow, func() {
		if r.up = !r.gone; r.up {
			for _, p := range a.Phases {
				n.c.saw(Seen{What: SeenPhase, Node: n.name, App: a.App, Kind: a.Kind, From: a.From, Phase: p})
			}
			n.sawApp(SeenStarted, a)
		}
		n.step(machine.Started{Run: a.Run})
	})
}

func (n *testNode) stopRun(id machine.RunID, d time.Duration, normal bool) {
	r := n.runs[id]
	if r == nil || r.gone {
		return
	}
	m := n.m
	due := n.c.now.Add(d)
	var wait func()
	wait = func() {
		switch {
		case n.c.now < due:
			n.c.queue = append(n.c.queue, wait)
		case n.m == m && !r.gone:
			n.c.tell("%s GONE %s epoch=%d", n.name.Base(), r.start.App, r.start.Epoch)
			r.gone = true
			n.sawApp(SeenGone, r.start)
			n.step(machine.Exited{Run: id, Normal: normal, Reason: "stopped"})
		}
	}
	n.c.queue = append(n.c.queue, wait)
}

// crash ends the process of an app (all of them without a name) by itself.
func (n *testNode) crash(app policy.App, normal bool) {
	for _, id := range n.runIDs() {
		if app != "" && n.runs[id].start.App != app {
			continue
		}
		n.runs[id].gone = true
		n.sawApp(SeenGone, n.runs[id].start)
		n.step(machine.Exited{Run: id, Normal: normal, Reason: "crashed"})
	}
}

func (n *testNode) runIDs() []machine.RunID {
	var ids []machine.RunID
	for id, r := range n.runs {
		if !r.gone {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

const tickEvery = 10 * time.Millisecond

// run lets virtual time pass.
func (c *cluster) run(d time.Duration) {
	for end := c.now.Add(d); c.now < end; {
		c.settle()
		c.checkStore()
		c.now = c.now.Add(tickEvery)
		for _, n := range c.nodes {
			if n.m != nil && n.m.Wake() <= c.now {
				n.step(machine.Tick{})
			}
			n.watchUp()
		}
	}
	c.settle()
	c.atMostOne()
}

// checkStore notices that the majority of voters is lost, or back. The very
// first time all of them are needed.
func (c *cluster) checkStore() {
	if c.voters == 0 {
		return
	}
	live := 0
	for _, n := range c.nodes {
		if n.m != nil && !n.cut {
			live++
		}
	}
	c.met = c.met || live == c.voters
	lost := !c.met || 2*live <= c.voters
	if lost == c.lost {
		return
	}
	c.lost = lost
	for _, n := range c.nodes {
		if n.cut {
			continue
		}
		n.snapshot()
		if lost {
			n.step(machine.Viewed{View: policy.View{Lost: "no majority of voters"}})
		}
	}
}

// settle delivers what is queued, including what that causes at this instant.
func (c *cluster) settle() {
	for range 200 {
		q := c.queue
		c.queue = nil
		for _, f := range q {
			f()
		}
		c.atMostOne()
		if len(c.queue) == len(q) {
			return
		}
	}
}

func (c *cluster) alive() []string {
	var on []string
	for _, n := range c.nodes {
		for range n.runIDs() {
			on = append(on, n.name.Base())
		}
	}
	return on
}

// atMostOne: of a local app there may be one per node.
func (c *cluster) atMostOne() {
	count := map[policy.App]int{}
	for _, n := range c.nodes {
		for _, id := range n.runIDs() {
			s := n.runs[id].start
			count[s.App]++
			if limit := c.limit(s.App); s.Session != "" && count[s.App] > limit {
				c.t.Fatalf("%d instances of %s: %v\n%s", count[s.App], s.App, c.alive(), c.trace.String())
			}
		}
	}
}

func (c *cluster) limit(app policy.App) int {
	mode := c.spec.Takeover
	for _, a := range c.apps {
		if a.App == app && a.Spec != nil {
			mode = a.Spec.Takeover
		}
	}
	if mode == policy.Overlap {
		return 2
	}
	return 1
}

func (n *testNode) call(cmd machine.Command) {
	n.calls++
	cmd.ID = machine.CallID(n.calls)
	what := string(cmd.Verb)
	if cmd.Verb == machine.VerbPermit {
		what = fmt.Sprintf("permit %t", cmd.Permitted)
	}
	if cmd.Persist {
		what += " persist"
	}
	if len(n.c.apps) > 1 && cmd.App != "" {
		what += " " + string(cmd.App)
	}
	n.c.tell("%s call %d: %s", n.name.Base(), cmd.ID, what)
	n.step(cmd)
	n.c.settle()
}
