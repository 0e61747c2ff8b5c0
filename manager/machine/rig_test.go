package machine

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// rig drives one machine by hand: the test is the store, the disk, the other
// nodes and the apps. Actions are kept until the test asks for them; only
// heartbeats, the disk and renewals are answered by themselves, unless the
// test takes them over.
//
// The machine is n2 of the list [n1, n2, n3].
type rig struct {
	t     testing.TB
	m     *Machine
	spec  *policy.Spec
	now   Instant
	rev   policy.Revision
	cells map[policy.Key]policy.Cell
	peers []*peer
	ids   int
	own   []policy.Revision // those of the machine's session

	ownDisk  bool // the test answers Remember
	ownRenew bool // the test answers renewals
	unheard  bool // what the test stores is not viewed
	writes   []Write
	reads    []Read
	disk     []Remember
	starts   []StartApp
	stops    []RunID
	kills    []RunID
	confirms []RunID
	proves   []Prove
	replies  []Reply
	history  []History
	beat     Beat // the latest full one
	exit     *Exit
}

const (
	n1, n2, n3 = node.Name("n1@h"), node.Name("n2@h"), node.Name("n3@h")
	theApp     = policy.App("app")
	bucketID   = policy.Identity("bucket")
	rigWall    = int64(4242)
)

var hostA = policy.Host{MachineID: "m", BootID: "b", PIDNamespace: 7}

type rigOption func(*rig, *Config)

func overlap(r *rig, _ *Config)  { r.spec.Takeover = policy.Overlap }
func infinite(r *rig, _ *Config) { r.spec.Timeout = policy.Infinite }
func classic(r *rig, _ *Config)  { r.spec.FullStart = false }
func manualRenew(r *rig, _ *Config) {
	r.ownRenew = true
}

func tuple(r *rig, _ *Config) { r.spec.Groups = [][]node.Name{{n1}, {n2, n3}} }

func timeout(d time.Duration) rigOption {
	return func(r *rig, _ *Config) { r.spec.Timeout = policy.Timeout(d) }
}

func as(n node.Name) rigOption { return func(_ *rig, c *Config) { c.Self = n } }

func kind(t policy.RestartType) rigOption {
	return func(_ *rig, c *Config) { c.Apps[0].Type = t }
}

func config(f func(*Config)) rigOption { return func(_ *rig, c *Config) { f(c) } }

// newRig makes a machine that has a trusted bucket and a valid session.
func newRig(t testing.TB, opts ...rigOption) *rig {
	t.Helper()
	r := bareRig(t, opts...)
	r.snapshot()
	r.ok(r.write(OpRegister))
	return r
}

// bareRig makes a machine that has seen nothing yet.
func bareRig(t testing.TB, opts ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, now: Instant(time.Hour), rev: 10, cells: map[policy.Key]policy.Cell{}}
	r.spec = &policy.Spec{
		App: theApp, Timeout: policy.Timeout(5 * time.Second), Takeover: policy.Exclusive, FullStart: true,
		Groups: [][]node.Name{{n1}, {n2}, {n3}},
	}
	cfg := Config{
		Self: n2, Agent: "agent-2", Host: hostA, PID: 22, Started: 222, UID: 1000, Groups: "/run/groups",
		Lease: policy.NewLease(3*time.Second, time.Second), Digest: "d",
		Apps:      []AppConfig{{App: theApp, Spec: r.spec, Defined: true, Type: policy.Temporary}},
		FirstBoot: []node.Name{n1, n2, n3},
		Memory:    Memory{Identity: bucketID, Seq: 1},
		NewID:     r.newID,
		Wall:      func() int64 { return rigWall },
	}
	for _, o := range opts {
		o(r, &cfg)
	}
	r.m = New(cfg, r.now)
	r.step(Tick{})
	return r
}

func (r *rig) newID() string {
	r.ids++
	return fmt.Sprintf("id%d", r.ids)
}

func (r *rig) lease() policy.Lease { return r.m.cfg.Lease }

// step tells one event, then ticks as long as the machine wants to go on.
func (r *rig) step(ev Event) {
	r.t.Helper()
	r.perform(r.m.Step(r.now, ev))
	for range 100 {
		if err := r.m.Check(); err != nil {
			r.t.Fatal(err)
		}
		if r.exit != nil || r.m.Wake() > r.now {
			return
		}
		r.perform(r.m.Step(r.now, Tick{}))
	}
	r.t.Fatal("never comes to rest")
}

func (r *rig) perform(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Write:
			r.writes = append(r.writes, a)
		case Read:
			r.reads = append(r.reads, a)
		case Remember:
			r.disk = append(r.disk, a)
		case StartApp:
			r.starts = append(r.starts, a)
		case StopApp:
			r.stops = append(r.stops, a.Run)
		case KillApp:
			r.kills = append(r.kills, a.Run)
		case ConfirmApp:
			r.confirms = append(r.confirms, a.Run)
		case SendBeat:
			if a.Beat.Full {
				r.beat = a.Beat
			}
		case Prove:
			r.proves = append(r.proves, a)
		case Reply:
			r.replies = append(r.replies, a)
		case Emit:
			r.history = append(r.history, a.Record)
		case Exit:
			r.exit = &a
		}
	}
	r.serve()
}

// serve answers what the test has not taken over.
func (r *rig) serve() {
	for !r.ownDisk && len(r.disk) > 0 {
		d := r.disk[0]
		r.disk = r.disk[1:]
		r.perform(r.m.Step(r.now, Remembered{Req: d.Req, OK: true}))
	}
	i := slices.IndexFunc(r.writes, func(w Write) bool { return w.Op == OpRenew })
	if r.ownRenew || i < 0 {
		return
	}
	w := r.writes[i]
	r.writes = slices.Delete(r.writes, i, i+1)
	cell := r.commit(w)
	r.perform(r.m.Step(r.now, Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: cell.Rev}))
	r.perform(r.m.Step(r.now, r.change(cell)))
}

// pass lets time go by in small steps; the other nodes beat and renew.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	for end := r.now.Add(d); r.now < end; {
		r.now = min(end, r.now.Add(50*time.Millisecond))
		for _, p := range r.peers {
			p.live()
		}
		if r.m.Wake() <= r.now {
			r.step(Tick{})
		}
	}
}

// jump lets time go by at once.
func (r *rig) jump(d time.Duration) {
	r.t.Helper()
	r.now = r.now.Add(d)
	r.step(Tick{})
}

// The store.

func (r *rig) snapshot() {
	r.t.Helper()
	v := policy.View{Snapshot: true, Identity: bucketID, Seq: r.rev}
	for _, c := range r.cells {
		v.Cells = append(v.Cells, c)
	}
	slices.SortFunc(v.Cells, func(a, b policy.Cell) int { return int(a.Rev) - int(b.Rev) })
	r.step(Viewed{View: v})
}

func (r *rig) change(c policy.Cell) Viewed {
	return Viewed{View: policy.View{Identity: bucketID, Seq: c.Rev, Cells: []policy.Cell{c}}}
}

// store puts a cell at the next revision and shows it, unless unheard.
func (r *rig) store(c policy.Cell) policy.Cell {
	r.t.Helper()
	r.rev++
	c.Rev = r.rev
	r.cells[c.Key] = c
	if !r.unheard {
		r.step(r.change(c))
	}
	return c
}

// put stores a record of the app as another node would.
func (r *rig) put(rec policy.AppRecord) policy.Cell {
	r.t.Helper()
	return r.store(policy.Cell{Key: policy.AppKey(theApp), App: &rec})
}

func (r *rig) putNode(rec policy.SessionRecord) policy.Cell {
	r.t.Helper()
	return r.store(policy.Cell{Key: policy.NodeKey(rec.Node), Node: &rec})
}

// commit applies a write of the machine to the store.
func (r *rig) commit(w Write) policy.Cell {
	r.t.Helper()
	if have := r.cells[w.Write.Cell.Key].Rev; have != w.Write.Expect {
		r.t.Fatalf("%s expects revision %d, the store has %d", w.Op, w.Write.Expect, have)
	}
	r.rev++
	c := w.Write.Cell
	c.Rev = r.rev
	r.cells[c.Key] = c
	if c.Node != nil && c.Node.Node == n2 {
		r.own = append(r.own, c.Rev)
	}
	return c
}

// ok applies a write and acknowledges it; then the machine sees its echo.
func (r *rig) ok(w Write) policy.Cell {
	r.t.Helper()
	c := r.commit(w)
	r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
	r.step(r.change(c))
	return c
}

func (r *rig) refuse(w Write) {
	r.t.Helper()
	r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeRefused})
}

func (r *rig) unknown(w Write) {
	r.t.Helper()
	r.step(Wrote{Req: w.Req})
}

// reread answers the one open read with what the store has.
func (r *rig) reread() {
	r.t.Helper()
	if len(r.reads) != 1 {
		r.t.Fatalf("reads = %v, want one", r.reads)
	}
	rd := r.reads[0]
	r.reads = nil
	c := r.cells[rd.Key]
	c.Key = rd.Key
	r.step(ReadDone{Req: rd.Req, OK: true, Cell: c})
}

// What the machine ordered.

// write takes the one open write, which must be of this row.
func (r *rig) write(op Op) Write {
	r.t.Helper()
	if len(r.writes) != 1 || r.writes[0].Op != op {
		r.t.Fatalf("writes = %v, want one %s", ops(r.writes), op)
	}
	w := r.writes[0]
	r.writes = nil
	return w
}

func (r *rig) noWrite() {
	r.t.Helper()
	if len(r.writes) > 0 {
		r.t.Fatalf("writes = %v, want none", ops(r.writes))
	}
}

func ops(ws []Write) []Op {
	var out []Op
	for _, w := range ws {
		out = append(out, w.Op)
	}
	return out
}

// start takes the one ordered start.
func (r *rig) start() StartApp {
	r.t.Helper()
	if len(r.starts) != 1 {
		r.t.Fatalf("starts = %+v, want one", r.starts)
	}
	s := r.starts[0]
	r.starts = nil
	return s
}

func (r *rig) noStart() {
	r.t.Helper()
	if len(r.starts) > 0 {
		r.t.Fatalf("starts = %+v, want none", r.starts)
	}
}

// stopped takes the one ordered graceful stop.
func (r *rig) stopped() RunID { return r.one("stops", &r.stops) }

// killed takes the one ordered kill.
func (r *rig) killed() RunID { return r.one("kills", &r.kills) }

func (r *rig) one(what string, ids *[]RunID) RunID {
	r.t.Helper()
	if len(*ids) != 1 {
		r.t.Fatalf("%s = %v, want one", what, *ids)
	}
	id := (*ids)[0]
	*ids = nil
	return id
}

// quiet: nothing is written, started, stopped or killed.
func (r *rig) quiet() {
	r.t.Helper()
	r.noWrite()
	r.noStart()
	if len(r.stops)+len(r.kills) > 0 {
		r.t.Fatalf("stops = %v, kills = %v, want none", r.stops, r.kills)
	}
}

// answer takes the one reply.
func (r *rig) answer() *Refusal {
	r.t.Helper()
	if len(r.replies) != 1 {
		r.t.Fatalf("replies = %v, want one", r.replies)
	}
	err := r.replies[0].Err
	r.replies = nil
	return err
}

// wants checks one write of the app's record: the old value with exactly this
// change, at exactly its revision. A nonce or session that the machine makes
// up is written as "new" in the change.
func (r *rig) wants(op Op, old policy.Cell, change func(*policy.AppRecord)) Write {
	r.t.Helper()
	w := r.write(op)
	if w.Write.Expect != old.Rev {
		r.t.Errorf("%s expects revision %d, want %d", op, w.Write.Expect, old.Rev)
	}
	want := policy.AppRecord{App: theApp}
	if old.App != nil {
		want = *old.App
	}
	change(&want)
	got := *w.Write.Cell.App
	for _, s := range [][2]*policy.Slot{{&want.Owner, &got.Owner}, {&want.Next, &got.Next}} {
		if s[0].Nonce == "new" && s[1].Nonce != "" {
			s[0].Nonce = s[1].Nonce
		}
		if s[0].Session == r.m.session.id && slices.Contains(r.own, s[1].SRev) {
			s[0].SRev = s[1].SRev // a renewal may have come in between
		}
	}
	if op == OpClaim || op == OpTake {
		want.Spec = r.m.appOf[theApp].Spec.Version() // the owner is chosen by the specification that holds
	}
	if len(want.Ended)+len(got.Ended) == 0 {
		want.Ended, got.Ended = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		r.t.Errorf("%s writes\n%+v, want\n%+v", op, got, want)
	}
	return w
}

// Commands.

func (r *rig) call(verb Verb, change ...func(*Command)) {
	r.t.Helper()
	c := Command{ID: 1, Verb: verb, App: theApp}
	for _, f := range change {
		f(&c)
	}
	r.step(c)
}

func permitted(v bool) func(*Command) { return func(c *Command) { c.Permitted = v } }
func everywhere(c *Command)           { c.All = true }
func ofType(t policy.RestartType) func(*Command) {
	return func(c *Command) { c.Type = t }
}

// mySlot is what the own session writes into a slot.
func (r *rig) mySlot(epoch policy.Epoch, nonce policy.Nonce) policy.Slot {
	s := r.m.slot()
	s.Epoch, s.Nonce = epoch, nonce
	return s
}

// fenceNow lets the lease run out.
func (r *rig) fenceNow() {
	r.t.Helper()
	r.now = max(r.now, r.m.session.deadline)
	r.step(Tick{})
}
