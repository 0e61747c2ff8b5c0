package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// testSkew is how far apart the clocks of the world's hosts are at most.
const testSkew = 200 * time.Millisecond

var epochBegin = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// world is a cluster that keeps the rules, as simple as it can be: it knows who
// owns what, and everything it does is written down.
type world struct {
	now     time.Duration // real time
	rng     func(n int) int
	hosts   []*testHost
	nodes   []*testNode
	apps    []*testApp
	written []late
	ids     int
}

type testHost struct {
	clock string
	boot  time.Duration // its clock since boot at real time 0
	wall  time.Duration // its time of day is off by so much
}

type testNode struct {
	name    node.Name
	host    *testHost
	life    policy.Nonce
	session policy.Session
	n, run  uint64
	down    bool
}

type testApp struct {
	name  policy.App
	epoch policy.Epoch
	over  bool // takeover: overlap
	owner *testRun
}

// testRun is an instance that is there.
type testRun struct {
	node    *testNode
	session policy.Session
	claim   policy.Nonce
	epoch   policy.Epoch
	run     uint64
}

// late is an event and when the store takes it.
type late struct {
	Event
	at time.Duration
}

func newWorld(rng func(n int) int, hosts, nodes, apps int) *world {
	w := &world{rng: rng, now: time.Minute}
	for i := range hosts {
		w.hosts = append(w.hosts, &testHost{
			clock: fmt.Sprint("boot", i), boot: time.Duration(1+rng(1000)) * time.Hour,
			wall: time.Duration(rng(int(testSkew))),
		})
	}
	for i := range nodes {
		n := &testNode{name: node.Name(fmt.Sprintf("n%d@h", i+1)), host: w.hosts[i%hosts]}
		w.nodes = append(w.nodes, n)
		w.boot(n)
	}
	for i := range apps {
		w.apps = append(w.apps, &testApp{name: policy.App(fmt.Sprint("app", i)), over: i%2 == 1})
	}
	return w
}

func (w *world) id(what string) string {
	w.ids++
	return fmt.Sprint(what, w.ids)
}

func (w *world) boot(n *testNode) {
	n.life, n.n, n.run, n.down = policy.Nonce(w.id("life")), 0, 0, false
	w.write(n, Event{Type: "node_up", Node: n.name})
	n.session = policy.Session(w.id("session"))
}

// pass lets real time go by; nothing happens at one moment twice.
func (w *world) pass(most time.Duration) { w.now += 1 + time.Duration(w.rng(int(most))) }

// write is an event of a node, now.
func (w *world) write(n *testNode, e Event) *Event {
	n.n++
	e.By, e.Life, e.N, e.Clock = n.name, n.life, n.n, n.host.clock
	return w.put(n.host, e)
}

func (w *world) put(h *testHost, e Event) *Event {
	e.Mono = h.boot + w.now
	e.Time = epochBegin.Add(w.now + h.wall)
	w.written = append(w.written, late{e, w.now + time.Duration(w.rng(int(3*time.Second)))})
	w.pass(50 * time.Millisecond)
	return &w.written[len(w.written)-1].Event
}

// events is what the stream holds.
func (w *world) events() []Event {
	all := slices.Clone(w.written)
	slices.SortStableFunc(all, func(a, b late) int { return cmp.Compare(a.at, b.at) })
	out := make([]Event, len(all))
	for i, l := range all {
		out[i] = l.Event
		out[i].Seq = uint64(i + 1)
	}
	return out
}

// claim takes an app that nobody runs, or reserves it beside its owner.
func (w *world) claim(a *testApp, n *testNode, op string, from node.Name) *testRun {
	w.pass(10 * time.Millisecond)
	sent := n.host.boot + w.now
	w.pass(20 * time.Millisecond)
	a.epoch++
	r := &testRun{node: n, session: n.session, claim: policy.Nonce(w.id("claim")), epoch: a.epoch}
	e := w.write(n, Event{Type: typeClaimed, App: a.name, Node: n.name, From: from, Epoch: r.epoch, Session: r.session, Claim: r.claim, Op: op})
	e.Sent = sent
	return r
}

func (w *world) start(a *testApp, r *testRun) {
	r.node.run++
	r.run = r.node.run
	w.about(a, r, typeStarting)
}

func (w *world) about(a *testApp, r *testRun, what string) {
	w.write(r.node, Event{Type: what, App: a.name, Node: r.node.name, Epoch: r.epoch, Session: r.session, Claim: r.claim, Run: r.run})
}

func (w *world) stop(a *testApp, r *testRun) {
	w.about(a, r, typeStopping)
	w.pass(time.Second)
	w.about(a, r, typeStopped)
}

func (w *world) up() (up []*testNode) {
	for _, n := range w.nodes {
		if !n.down {
			up = append(up, n)
		}
	}
	return up
}

// move is one thing that happens.
func (w *world) move() {
	w.pass(10 * time.Second)
	up := w.up()
	if len(up) == 0 || w.rng(6) == 0 {
		w.revive()
		return
	}
	n, a := up[w.rng(len(up))], w.apps[w.rng(len(w.apps))]
	switch {
	case a.owner == nil:
		a.owner = w.claim(a, n, "A1 claim", "")
		if w.rng(4) > 0 {
			w.begin(a)
		} else {
			a.owner = nil // given up before it began
		}
	case w.rng(5) == 0:
		w.fence(a.owner.node)
	case w.rng(4) == 0:
		w.crash(a.owner.node)
	case w.rng(3) == 0:
		w.about(a, a.owner, typeExited)
		w.start(a, a.owner) // in place
		w.about(a, a.owner, typeStarted)
	case a.over && a.owner.node != n:
		w.overlap(a, n)
	default:
		w.stop(a, a.owner)
		a.owner = nil
	}
}

func (w *world) begin(a *testApp) {
	w.start(a, a.owner)
	if w.rng(5) == 0 {
		w.about(a, a.owner, typeStartFailed)
		a.owner = nil
		return
	}
	w.about(a, a.owner, typeStarted)
}

// overlap starts the next one before the old one stops.
func (w *world) overlap(a *testApp, n *testNode) {
	next := w.claim(a, n, opReserve, a.owner.node.name)
	w.start(a, next)
	if w.rng(3) == 0 { // the old one ends meanwhile and begins again
		w.about(a, a.owner, typeExited)
		w.start(a, a.owner)
	}
	w.about(a, next, typeStarted)
	w.stop(a, a.owner)
	a.owner = next
}

func (w *world) revive() {
	for _, n := range w.nodes {
		if n.down {
			w.boot(n)
			return
		}
	}
}

// fence ends the session of a node that lives on.
func (w *world) fence(n *testNode) {
	w.write(n, Event{Type: typeFenced, Node: n.name, Session: n.session})
	for _, a := range w.apps {
		if a.owner != nil && a.owner.node == n {
			w.stop(a, a.owner)
			a.owner = nil
		}
	}
	n.session = policy.Session(w.id("session"))
}

// crash ends a node. Its warden, or another node, or nobody says so.
func (w *world) crash(n *testNode) {
	n.down = true
	w.pass(time.Second)
	sent := w.now
	switch up := w.up(); {
	case w.rng(3) == 0:
		e := w.put(n.host, Event{
			Type: typeCertified, Node: n.name, Session: n.session, Op: "S4 certify",
			By: n.name, Life: n.life + "/warden", N: 1, Clock: n.host.clock,
		})
		e.Sent = n.host.boot + sent
	case len(up) > 0 && w.rng(4) > 0:
		by := up[w.rng(len(up))]
		w.pass(100 * time.Millisecond)
		e := w.write(by, Event{Type: typeDown, Node: n.name, Session: n.session, Op: "S3 expire"})
		e.Sent = by.host.boot + sent
	}
	w.pass(time.Second)
	for _, a := range w.apps {
		if a.owner != nil && a.owner.node == n {
			a.owner = nil
		}
	}
}

// drawWorld lives a cluster for a while.
func drawWorld(t *rapid.T) *world {
	seed := rapid.Uint64().Draw(t, "seed")
	w := newWorld(numbers(seed), 1+int(seed%3), 3, 1+int(seed%2))
	for range rapid.IntRange(0, 60).Draw(t, "moves") {
		w.move()
	}
	return w
}

// numbers is a small generator: a life is a function of its seed.
func numbers(seed uint64) func(n int) int {
	return func(n int) int {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return int((z ^ z>>31) >> 1 % uint64(max(n, 1)))
	}
}
