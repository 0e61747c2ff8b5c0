//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/chaos/checkers"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// The lease of embedded servers, and how soon everything has to be at rest
// after the last fault: twice the lease, the app's Timeout, T_res and 5 s.
var lease = policy.NewLease(policy.EmbeddedTTL, policy.EmbeddedKVOutage)

func bound(timeout time.Duration) time.Duration {
	return 2*lease.TTL + timeout + lease.TRes() + 5*time.Second
}

// quiet is how long nothing may move at rest, to be called that.
const quiet = 1500 * time.Millisecond

// row is one kind of fault, and what must come of it.
type row struct {
	name  string
	what  string // the fault, for the table
	short bool   // part of the short suite
	plan  plan
	both  bool // node and warden are hit together: nothing is promised of the app's children
	lossy bool // the store itself loses what it acknowledged: nothing can be said of its history
	do    func(*run)
}

// run is one execution of a row.
type run struct {
	*cluster
	row     *row
	probers []*prober
	victim  int             // the node that is hit
	old     *trace.Instance // what ran when it was
	hitAt   trace.Instant
	healed  trace.Instant
	rests   []time.Duration // time from healing to rest
	hits    []hit
	notes   []string
	faults  []checkers.Violation // found by the row itself
}

// hit is what a fault did to an app.
type hit struct {
	start  time.Duration // from the fault to the new start
	nobody time.Duration // before it, in which no process of the old one was left

	at       trace.Instant
	old, new *trace.Instance
}

func newRun(t testing.TB, rw *row) *run {
	t.Helper()
	r := &run{cluster: newCluster(t, rw.plan), row: rw}
	if !rw.lossy {
		r.probers = newProbers(t, r.cluster, probeCell)
	}
	return r
}

// strike hits the node that runs the app.
func (r *run) strike(fault func(m *member)) {
	r.t.Helper()
	r.victim, r.old = r.owner("one")
	r.strikeAt(r.victim, fault)
}

// strikeAt hits a node, whether it runs the app or not.
func (r *run) strikeAt(i int, fault func(m *member)) {
	r.t.Helper()
	_, r.old = r.owner("one")
	r.victim, r.hitAt = i, trace.Now()
	fault(r.nodes[i])
}

// moves waits for the app to begin on another node, and keeps the figures.
func (r *run) moves() *trace.Instance {
	r.t.Helper()
	var begun *trace.Instance
	until(r.t, "the app begins elsewhere", func() bool {
		for _, in := range r.rec.instances("one") {
			if in.Begin() > r.hitAt && in.Instance != r.old.Instance && in.Node != r.old.Node {
				begun = in
				return true
			}
		}
		return false
	})
	h := hit{start: begun.Begin().Sub(r.hitAt), at: r.hitAt, old: r.old, new: begun}
	end := r.again(r.old).End()
	if p, ok := r.again(r.old).Leading(); ok && r.row.both {
		end = p.End
	}
	if end == 0 {
		end = trace.Now() // an overlap: the checkers will say so
	}
	h.nobody = begun.Begin().Sub(end)
	r.hits = append(r.hits, h)
	return begun
}

// again is an instance as it is by now.
func (r *run) again(in *trace.Instance) *trace.Instance {
	for _, now := range r.rec.instances(in.App) {
		if now.Instance == in.Instance {
			return now
		}
	}
	return in
}

// stays looks on for a while: the instance that ran is the only one. That is a
// promise for a machine that does not stand still itself.
func (r *run) stays(d time.Duration) {
	r.t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, in := range r.rec.instances("one") {
			if in.Begin() > r.hitAt {
				r.moved("%s began %v after the fault", in, in.Begin().Sub(r.hitAt))
				return
			}
		}
		if end := r.again(r.old).End(); end != 0 {
			r.moved("%s was gone %v after the fault", r.old, end.Sub(r.hitAt))
			return
		}
	}
}

// lagMax is how long a machine may stand still without an excuse for nodes that
// move their apps: one request to the store.
var lagMax = lease.Request

func (r *run) moved(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if lag := r.lag.since(r.hitAt); lag > lagMax {
		r.note("nothing should have moved, but %s; the machine stood still for %v", what, lag.Round(time.Millisecond))
		return
	}
	r.fail("moved", "nothing should have moved, but %s", what)
}

func (r *run) fail(rule, format string, args ...any) {
	r.faults = append(r.faults, checkers.Violation{Rule: rule, Detail: fmt.Sprintf(format, args...)})
}

func (r *run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// heal says that all faults have ended now, and ends those of the network. As a
// supervisor does, it starts nodes that their wardens have ended: on a busy
// machine a node may be late to end its apps itself.
func (r *run) heal() {
	r.t.Helper()
	r.must(r.net.heal())
	for i, m := range r.nodes[1:] {
		if !m.away && !m.running() {
			r.note("%s was ended by its warden or the kernel", m.name)
			r.boot(i + 1)
		}
	}
	r.healed = trace.Now()
}

// rest waits until the app has come to rest on one of the best nodes (any, if
// there are none named), and judges how long that took.
func (r *run) rest(best ...int) {
	r.t.Helper()
	var names []string
	for _, i := range best {
		names = append(names, nodeName(i))
	}
	limit := r.healed.Add(bound(0) + 10*time.Second)
	for since := trace.Now(); trace.Now() < limit && trace.Now().Sub(since) < quiet; time.Sleep(10 * time.Millisecond) {
		alive := r.rec.alive("one")
		if len(alive) != 1 || len(names) > 0 && !slices.Contains(names, alive[0].Node) {
			since = trace.Now()
		} else {
			since = max(since, alive[0].Begin())
		}
	}
	h := checkers.History{Instances: r.rec.instances("one"), Now: trace.Now()}
	took, broken := h.Settle("one", r.healed, bound(0)+r.lag.since(r.healed), names...)
	r.rests = append(r.rests, took)
	r.faults = append(r.faults, broken...)
	if len(broken) == 0 {
		r.calm()
	}
}

// history is the trace until now.
func (c *cluster) history() checkers.History {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.obs.fill(ctx); err != nil {
		c.t.Errorf("read what was missed of the records: %v", err)
	}
	h := checkers.History{Modes: map[string]string{}, Instances: c.rec.instances(""), Records: c.obs.all(), Leases: map[string]checkers.Lease{}, Now: trace.Now(), Lag: c.lag.between}
	for _, m := range c.nodes[1:] {
		h.Leases[m.name] = checkers.Lease{Fence: lease.Fence(), Kill: lease.Kill, Late: lease.Late}
	}
	return h
}

// judge ends a run: what was broken, and its line of the table.
func (r *run) judge() result {
	r.t.Helper()
	h := r.history()
	res := result{row: r.row, hits: r.hits, rests: r.rests, notes: r.notes, starts: len(h.Instances)}
	res.lag = r.lag.since(0)
	for i, text := range r.row.plan.lease {
		ttl, err := time.ParseDuration(text)
		r.must(err)
		l := policy.NewLease(ttl, lease.KVOutage)
		h.Leases[nodeName(i)] = checkers.Lease{Fence: l.Fence(), Kill: l.Kill, Late: l.Late}
	}
	broken := r.faults
	h.Leaders = func(*trace.Instance) bool { return r.row.both }
	for _, o := range h.Orphans(lease.Kill) {
		res.orphan = max(res.orphan, o.Length)
	}
	if r.row.lossy {
		broken = append(broken, h.Epochs()...)
		for _, o := range h.Together() {
			broken = append(broken, checkers.Violation{Rule: "I1", Detail: o.String()})
		}
	} else {
		broken = append(broken, h.Check()...)
	}
	if r.probers != nil {
		ops := history(r.probers)
		broken = append(broken, checkers.Linear(ops, 30*time.Second)...)
		for _, op := range ops {
			res.ops[op.Outcome]++
		}
	}
	for _, o := range h.Together() {
		if !o.Declared {
			res.overlaps++
		}
	}
	for _, v := range broken {
		r.t.Errorf("%s", v)
	}
	if r.t.Failed() || *tell {
		r.t.Log(r.story(h, 0))
	}
	return res
}

// story tells what happened after an instant.
func (c *cluster) story(h checkers.History, after trace.Instant) string {
	var b strings.Builder
	b.WriteString("instances:\n")
	zero := trace.Instant(0)
	if len(h.Instances) > 0 {
		zero = h.Instances[0].Begin()
	}
	for _, in := range h.Instances {
		if in.End() != 0 && in.End() < after {
			continue
		}
		fmt.Fprintf(&b, "  %9.3f %s session %s:", in.Begin().Sub(zero).Seconds(), in, in.Session)
		for _, p := range in.Procs {
			end := "alive"
			if p.End != 0 {
				end = fmt.Sprintf("%.3f", p.End.Sub(zero).Seconds())
			}
			fmt.Fprintf(&b, " %s %d until %s", p.Role, p.PID, end)
		}
		b.WriteByte('\n')
	}
	b.WriteString("ownership:\n")
	for _, r := range h.Records {
		if r.At < after {
			continue
		}
		if r.App != nil {
			fmt.Fprintf(&b, "  %9.3f rev %d %s: owner %q session %.8s epoch %d %s, want %s, next %v, prev %v\n",
				r.At.Sub(zero).Seconds(), r.Rev, r.App.App, r.App.Owner, r.App.Session, r.App.Epoch, r.App.Phase, r.App.Want, r.App.Next, r.App.Prev)
		} else if r.Node != nil && (r.Node.Seq <= 1 || r.Node.State != trace.Live) {
			fmt.Fprintf(&b, "  %9.3f rev %d %s: session %.8s %s\n", r.At.Sub(zero).Seconds(), r.Rev, r.Node.Name, r.Node.Session, r.Node.State)
		}
	}
	for _, m := range c.nodes[1:] {
		fmt.Fprintf(&b, "log of %s (%d boots):\n%s\n", m.name, m.boots, tail(m.log, 40))
	}
	return b.String()
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
