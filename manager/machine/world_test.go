package machine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// world is everything around one machine, as hostile as its contract allows
// and more: answers come late, twice, wrong or never, other nodes write what
// they like, views and heartbeats arrive in any order and any number of times.
// Only the store is honest: a compare-and-set is one, and OK means applied.
type world struct {
	t    testing.TB
	pick func(n int) int // the next choice: 0 ≤ pick(n) < n

	m     *Machine
	now   Instant
	rev   policy.Revision
	cells map[policy.Key]policy.Cell
	ids   int
	beats uint64
	exit  bool

	mail   []Event // heartbeats and views under way
	writes []Write
	reads  []Read
	disk   []Remember
	runs   []StartApp // not ended yet
	proves []Prove
	acked  map[policy.App]map[policy.Epoch]bool
}

var worldApps = []policy.App{"ex", "local", "over"}

func newWorld(t testing.TB, pick func(int) int) *world {
	w := &world{t: t, pick: pick, now: Instant(time.Hour), rev: 5, cells: map[policy.Key]policy.Cell{}, acked: map[policy.App]map[policy.Epoch]bool{}}
	groups := [][]node.Name{{n1}, {n2, n3}}
	spec := func(a policy.App, mode policy.TakeoverMode) *policy.Spec {
		return &policy.Spec{App: a, Timeout: policy.Timeout(time.Second), Takeover: mode, Groups: groups}
	}
	restart := Restart{Max: 2, Within: time.Minute, Backoff: 100 * time.Millisecond}
	kinds := []policy.RestartType{policy.Temporary, policy.Transient, policy.Permanent}
	files := &policy.SpecRecord{Digest: "d", Specs: []policy.Spec{*spec("ex", policy.Exclusive), *spec("over", policy.Overlap)}}
	if pick(2) == 0 {
		files = nil
	}
	w.m = New(Config{
		Specification: files,
		Self:          n2, Agent: "agent-2", Host: hostA, Lease: policy.NewLease(3*time.Second, time.Second), Digest: "d",
		Apps: []AppConfig{
			{App: "ex", Spec: spec("ex", policy.Exclusive), Defined: true, Type: kinds[pick(3)], Restart: restart},
			{App: "local", Defined: true, Type: policy.Temporary, Restart: restart},
			{App: "over", Spec: spec("over", policy.Overlap), Defined: true, Type: kinds[pick(3)], Restart: restart},
		},
		Memory: Memory{Identity: bucketID}, FirstBoot: []node.Name{n1, n2, n3},
		NewID: func() string { w.ids++; return fmt.Sprintf("id%d", w.ids) },
		Wall:  func() int64 { return int64(w.now / Instant(time.Millisecond)) },
	}, w.now)
	w.step(w.snapshot())
	return w
}

// idleTicksMax is how often the machine may be due at one instant.
const idleTicksMax = 100

func (w *world) step(ev Event) {
	if w.exit {
		return
	}
	w.perform(w.m.Step(w.now, ev))
	for range idleTicksMax {
		if err := w.m.Check(); err != nil {
			w.t.Fatalf("after %T %+v: %v", ev, ev, err)
		}
		if w.exit || w.m.Wake() > w.now {
			return
		}
		w.perform(w.m.Step(w.now, Tick{}))
	}
	w.t.Fatalf("after %T %+v: never comes to rest", ev, ev)
}

func (w *world) perform(actions []Action) {
	for _, a := range actions {
		if w.exit {
			w.t.Fatalf("%T after Exit", a)
		}
		switch a := a.(type) {
		case Write:
			w.writes = append(w.writes, a)
		case Read:
			w.reads = append(w.reads, a)
		case Remember:
			w.disk = append(w.disk, a)
		case StartApp:
			w.started(a)
		case Prove:
			w.proves = append(w.proves, a)
		case Exit:
			w.exit = true
		}
	}
}

// started checks the licence of a start.
func (w *world) started(s StartApp) {
	if slices.ContainsFunc(w.runs, func(r StartApp) bool { return r.App == s.App }) {
		w.t.Fatalf("a second instance of %s: %+v", s.App, s)
	}
	if s.Session != "" && !w.acked[s.App][s.Epoch] {
		w.t.Fatalf("%s starts with epoch %d, which was never acknowledged", s.App, s.Epoch)
	}
	w.runs = append(w.runs, s)
}

func (w *world) snapshot() Viewed {
	v := policy.View{Snapshot: true, Identity: bucketID, Seq: w.rev}
	for _, c := range w.cells {
		v.Cells = append(v.Cells, c)
	}
	slices.SortFunc(v.Cells, func(a, b policy.Cell) int { return int(a.Rev) - int(b.Rev) })
	return Viewed{View: v}
}

// put stores a value; its view is under way.
func (w *world) put(c policy.Cell) policy.Cell {
	w.rev++
	c.Rev = w.rev
	w.cells[c.Key] = c
	w.mail = append(w.mail, Viewed{View: policy.View{Identity: bucketID, Seq: w.rev, Cells: []policy.Cell{c}}})
	return c
}

// take removes a random element.
func take[T any](w *world, from *[]T) (T, bool) {
	var zero T
	if len(*from) == 0 {
		return zero, false
	}
	i := w.pick(len(*from))
	v := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return v, true
}

// turn lets one thing happen.
func (w *world) turn() {
	turns := []func(){
		w.turnTime, w.turnTime, w.turnWrite, w.turnWrite, w.turnWrite, w.turnMail, w.turnMail, w.turnRead,
		w.turnDisk, w.turnRun, w.turnRun, w.turnCommand, w.turnPeer, w.turnBeat, w.turnBeat, w.turnOdd, w.turnShared,
	}
	turns[w.pick(len(turns))]()
}

func (w *world) turnTime() {
	steps := []time.Duration{time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second, 3 * time.Second}
	w.now = w.now.Add(steps[w.pick(len(steps))])
	w.step(Tick{})
}

// turnWrite answers a write: with the truth, or with nothing although it was
// applied, or not, or with both.
func (w *world) turnWrite() {
	a, ok := take(w, &w.writes)
	if !ok {
		return
	}
	fate := w.pick(6)
	if fate == 0 { // lost
		w.step(Wrote{Req: a.Req})
		return
	}
	if w.cells[a.Write.Cell.Key].Rev != a.Write.Expect {
		w.step(Wrote{Req: a.Req, Outcome: policy.OutcomeRefused})
		return
	}
	if fate == 1 { // unanswered, and applied later
		w.writes = append(w.writes, a)
		w.step(Wrote{Req: a.Req})
		return
	}
	c := w.put(a.Write.Cell)
	if a.Op == OpReassert { // by an owner: to read it there is as good as the answer
		w.ack(c.App)
	}
	if fate == 2 { // applied and unanswered
		w.step(Wrote{Req: a.Req})
		return
	}
	if a.Op == OpClaim || a.Op == OpReserve {
		w.ack(c.App)
	}
	w.step(Wrote{Req: a.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
	if fate == 3 { // answered twice
		w.step(Wrote{Req: a.Req, Outcome: policy.OutcomeOK, Rev: c.Rev})
	}
}

// ack notes that the newest epoch of the record may be started with.
func (w *world) ack(rec *policy.AppRecord) {
	if w.acked[rec.App] == nil {
		w.acked[rec.App] = map[policy.Epoch]bool{}
	}
	w.acked[rec.App][max(rec.Owner.Epoch, rec.Next.Epoch)] = true
}

// turnMail delivers anything that is under way, and perhaps keeps it for
// another time.
func (w *world) turnMail() {
	if ev, ok := take(w, &w.mail); ok {
		if w.pick(3) == 0 {
			w.mail = append(w.mail, ev)
		}
		w.step(ev)
	}
}

func (w *world) turnRead() {
	if a, ok := take(w, &w.reads); ok {
		c := w.cells[a.Key]
		c.Key = a.Key
		w.step(ReadDone{Req: a.Req, OK: w.pick(4) > 0, Cell: c})
	}
}

func (w *world) turnDisk() {
	if a, ok := take(w, &w.disk); ok {
		w.step(Remembered{Req: a.Req, OK: w.pick(4) > 0})
	}
}

func (w *world) turnRun() {
	if len(w.runs) == 0 {
		return
	}
	if w.pick(3) > 0 {
		w.step(Started{Run: w.runs[w.pick(len(w.runs))].Run})
		return
	}
	r, _ := take(w, &w.runs)
	if w.pick(3) == 0 {
		w.step(StartFailed{Run: r.Run, Reason: "boom"})
		return
	}
	w.step(Exited{Run: r.Run, Normal: w.pick(2) == 0, Reason: "exit", Payload: []byte("p")})
}

func (w *world) turnCommand() {
	verbs := []Verb{VerbStart, VerbStart, VerbStart, VerbStop, VerbTakeover, VerbPermit, VerbPermit, VerbLoad, VerbConfig, "nonsense"}
	c := Command{
		ID: CallID(w.pick(100)), Verb: verbs[w.pick(len(verbs))], App: worldApps[w.pick(len(worldApps))],
		All: w.pick(3) == 0, Permitted: w.pick(3) > 0, Persist: w.pick(3) == 0,
	}
	switch c.Verb {
	case VerbConfig:
		c.Apply = w.specification()
	case VerbLoad:
		if w.pick(3) > 0 {
			s := w.spec(c.App)
			c.Spec = &s
		}
	}
	w.step(c)
}

// spec is any specification of an app. How many of it may run stays.
func (w *world) spec(a policy.App) policy.Spec {
	mode := policy.Exclusive
	if a == "over" {
		mode = policy.Overlap
	}
	lists := [][][]node.Name{{{n1}, {n2, n3}}, {{n2}, {n1}}, {{n3, n1}}, {{n1, n2, n3}}}
	return policy.Spec{
		App: a, Timeout: policy.Timeout(time.Duration(w.pick(3)) * time.Second), Takeover: mode, Groups: lists[w.pick(len(lists))],
	}
}

func (w *world) specification() *policy.SpecRecord {
	rec := &policy.SpecRecord{Node: w.other(), Session: "s", Applied: w.pick(2) == 0, Digest: []string{"d", "e", "f"}[w.pick(3)]}
	for _, a := range worldApps {
		if w.pick(4) > 0 {
			rec.Specs = append(rec.Specs, w.spec(a))
		}
	}
	if w.pick(4) == 0 {
		rec.Loaded = []policy.Spec{w.spec("new")}
	}
	return rec
}

// turnShared writes what needs no right.
func (w *world) turnShared() {
	app := worldApps[w.pick(len(worldApps))]
	switch w.pick(4) {
	case 0:
		w.put(policy.Cell{Key: policy.ConfigKey(), Damaged: "garbage"})
	case 1:
		w.put(policy.Cell{Key: policy.ConfigKey(), Config: w.specification()})
	default:
		rec := (&policy.PermitRecord{App: app}).With(policy.NodePermit{Node: nodes(n1, n2)[w.pick(2)], Permitted: w.pick(2) == 0})
		w.put(policy.Cell{Key: policy.PermitKey(app), Permit: rec})
	}
}

func (w *world) other() node.Name { return nodes(n1, n3)[w.pick(2)] }

func (w *world) session(n node.Name) policy.Session {
	return policy.Session(fmt.Sprintf("%s-%d", n, w.pick(3)))
}

// turnPeer writes what another node might have written, sensible or not.
func (w *world) turnPeer() {
	n := w.other()
	if w.pick(3) == 0 {
		states := []policy.SessionState{policy.SessionLive, policy.SessionLive, policy.SessionExpired, policy.SessionDead}
		name := nodes(n, n, n, n2)[w.pick(4)]
		rec := policy.SessionRecord{Node: name, Session: w.session(name), Agent: policy.Nonce(n), State: states[w.pick(4)], TTL: 3 * time.Second, Seq: uint64(w.rev)}
		if w.pick(2) == 0 {
			rec.Host = hostA
		}
		w.put(policy.Cell{Key: policy.NodeKey(name), Node: &rec})
		return
	}
	app := []policy.App{"ex", "over"}[w.pick(2)]
	key := policy.AppKey(app)
	if w.pick(12) == 0 {
		w.put(policy.Cell{Key: key, Damaged: "garbage"})
		return
	}
	rec := policy.AppRecord{App: app, Want: policy.WantRun}
	if old := w.cells[key].App; old != nil {
		rec = *old
	}
	w.edit(&rec, policy.Slot{Node: n, Session: w.session(n), SRev: w.rev, Nonce: "peer", Epoch: rec.High})
	w.put(policy.Cell{Key: key, App: &rec})
}

func (w *world) edit(rec *policy.AppRecord, slot policy.Slot) {
	switch w.pick(9) {
	case 0:
		rec.High++
		slot.Epoch = rec.High
		rec.Owner, rec.Phase, rec.First, rec.Next, rec.Prev = slot, policy.PhaseRunning, policy.FirstNone, policy.Slot{}, policy.Slot{}
	case 1:
		rec.Owner = policy.Slot{}
	case 2:
		rec.Next = slot
	case 3:
		rec.Next = policy.Slot{}
	case 4:
		rec.Prev = slot
	case 5:
		rec.Prev = policy.Slot{}
	case 6:
		rec.Want, rec.First = policy.WantStopped, policy.FirstNone
	case 7:
		rec.Want, rec.First = policy.WantRun, []policy.First{policy.FirstGo, policy.FirstWait, policy.FirstNone}[w.pick(3)]
	case 8:
		rec.Phase = []policy.AppPhase{policy.PhaseStarting, policy.PhaseRunning}[w.pick(2)]
	}
}

func (w *world) turnBeat() {
	n := w.other()
	w.beats++
	b := Beat{
		Node: n, Agent: policy.Nonce(n), Session: w.session(n), N: w.beats, Full: w.pick(4) > 0, Digest: "d",
		Phase: []BeatPhase{BeatUp, BeatUp, BeatUp, BeatSyncing, BeatClosing, BeatLeft}[w.pick(6)],
	}
	for _, a := range []policy.App{"ex", "over"} {
		b.Apps = append(b.Apps, AppBeat{App: a, Started: w.pick(2) == 0, Denied: w.pick(4) == 0, Failed: w.pick(4) == 0})
	}
	w.mail = append(w.mail, Heard{Beat: b})
}

func (w *world) turnOdd() {
	switch w.pick(10) {
	case 0:
		w.step(Slept{})
	case 1:
		w.step(Disconnected{Node: w.other()})
	case 2:
		w.step(RefusedBy{Node: w.other()})
	case 3:
		w.step(Cancel{ID: CallID(w.pick(100))})
	case 4:
		w.mail = append(w.mail, w.snapshot())
	case 5:
		w.step(Viewed{View: policy.View{Lost: "cut"}})
	case 6:
		w.step(Wrote{Req: RequestID(w.pick(200)), Outcome: policy.OutcomeUnknown})
	case 7:
		w.step(Exited{Run: 1000 + RunID(w.pick(100))})
	case 8:
		if p, ok := take(w, &w.proves); ok {
			w.step(Proved{Node: p.Record.Node, Agent: p.Record.Agent, Gone: w.pick(2) == 0})
		}
	case 9:
		if w.pick(8) == 0 {
			w.step(Command{Verb: VerbShutdown})
		}
	}
}

// turnsMax bounds one run of the fuzzer.
const turnsMax = 400

// FuzzMachine: whatever happens, the machine does not panic, comes to rest at
// every instant, keeps its invariants, and starts only what it may.
func FuzzMachine(f *testing.F) {
	for seed := range byte(16) {
		script := make([]byte, 1500)
		x := uint32(seed)*2654435761 + 1
		for i := range script {
			x = x*1664525 + 1013904223
			script[i] = byte(x >> 24)
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		pick := func(n int) int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b) % n
		}
		w := newWorld(t, pick)
		for range turnsMax {
			if len(script) == 0 || w.exit {
				return
			}
			w.turn()
		}
		_ = w.m.Status()
	})
}

// Heartbeats and views that are repeated and reordered never start a second
// instance on one machine, and never one without an acknowledged claim.
func TestReorderedNews(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "pick") }
		w := newWorld(rapidTB{t, rt}, pick)
		for range 400 {
			if w.exit {
				return
			}
			w.turn()
		}
	})
}

// rapidTB fails the run that rapid can shrink.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (r rapidTB) Fatalf(format string, args ...any) { r.rt.Fatalf(format, args...) }
