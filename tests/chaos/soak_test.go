//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/checkers"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// soakPlan is four nodes, three of them voters, and an app of each mode.
var soakPlan = plan{
	nodes: 4, wired: true, apps: []string{"exclusive", "overlap", "never"},
	yaml: func(app func(string) string) string {
		return `distributed:
  - {app: exclusive, timeout: 0s, nodes: [node1@h1, [node2@h2, node3@h3], node4@h4]}
  - {app: overlap, timeout: 0s, nodes: [node2@h2, node3@h3, node1@h1]}
  - {app: never, timeout: 1s, nodes: [[node3@h3, node1@h1], node4@h4]}
apps:
  exclusive: ` + app(", restart: {max: 1000}") + `
  overlap: ` + app(", restart: {max: 1000}, takeover: overlap") + `
  never: ` + app(", restart: {max: 1000}, takeover: never") + "\n"
	},
}

// soakBest is where an app is at rest; one that never moves by itself may be
// anywhere.
var soakBest = map[string][]string{"exclusive": {"node1@h1"}, "overlap": {"node2@h2"}, "never": nil}

// soakCells is how many cells the probers of a storm fight over: what goes wrong
// once in a hundred thousand compare-and-sets is to be found in an hour.
const soakCells = 6

// soakTimeout is the longest Timeout of the plan.
const soakTimeout = time.Second

// TestSoak alternates between storms, in which faults are drawn at random, and
// calms, in which everything must come to rest.
func TestSoak(t *testing.T) {
	if *soakFor <= 0 {
		t.Skip("SKIPPED: breaks a cluster for as long as it is told, as root: make soak")
	}
	need(t)
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	t.Logf("seed %d: make soak DURATION=%v SEED=%d", seed, *soakFor, seed)
	s := newSoak(t, seed)
	defer s.finish()
	for end := time.Now().Add(*soakFor); time.Now().Before(end) && !t.Failed(); {
		s.storm()
		s.calm()
	}
}

// soak is a cluster in a sequence of storms. The faults are a function of the
// seed; what the machine makes of them is not.
type soak struct {
	*cluster
	rnd     *rand.Rand
	probers [][]*prober // of each cell
	storms  int
	begun   time.Time
	counts  map[string]int
	undo    []undo
	broken  map[string]bool // violations that were told

	keeper  chan struct{} // closed: the supervisor ends
	kept    sync.WaitGroup
	mu      sync.Mutex
	ends    map[int]int // exits by code; -1 by a signal
	hits    map[string]struct{ agent, warden trace.Instant }
	bereft  map[string]bool // instances whose node and warden were hit together
	ops     [3]int
	longest time.Duration // until everything was at rest
}

// undo ends a fault when its time has come.
type undo struct {
	at time.Time
	do func()
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{
		cluster: newCluster(t, soakPlan), rnd: rand.New(rand.NewPCG(seed, 1)), begun: time.Now(),
		counts: map[string]int{}, broken: map[string]bool{}, keeper: make(chan struct{}), ends: map[int]int{},
		hits: map[string]struct{ agent, warden trace.Instant }{}, bereft: map[string]bool{},
	}
	s.kept.Add(1)
	go s.supervise(rand.New(rand.NewPCG(seed, 2)))
	t.Cleanup(s.dismiss)
	return s
}

// between is a random time.
func (s *soak) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rnd.Int64N(int64(most-least)))
}

// supervise starts nodes that have ended, as a supervisor does.
func (s *soak) supervise(rnd *rand.Rand) {
	defer s.kept.Done()
	due := map[*member]time.Time{}
	for {
		select {
		case <-s.keeper:
			return
		case <-time.After(20 * time.Millisecond):
		}
		for _, m := range s.nodes[1:] {
			at, waits := due[m]
			switch {
			case m.running():
			case !waits:
				due[m] = time.Now().Add(100*time.Millisecond + time.Duration(rnd.Int64N(int64(1900*time.Millisecond))))
				s.mu.Lock()
				s.ends[m.cmd.ProcessState.ExitCode()]++
				s.mu.Unlock()
			case time.Now().After(at):
				err := s.begin(m)
				if errors.Is(err, errFrozen) {
					continue // so is the supervisor
				}
				delete(due, m)
				if err != nil {
					s.t.Errorf("start %s again: %v", m.name, err)
				}
			}
		}
	}
}

func (s *soak) dismiss() {
	select {
	case <-s.keeper:
	default:
		close(s.keeper)
	}
	s.kept.Wait()
}

// storm draws faults for a while.
func (s *soak) storm() {
	s.storms++
	s.probers = nil
	for cell := range soakCells {
		s.probers = append(s.probers, newProbers(s.t, s.cluster, fmt.Sprintf("chaos-%d-%d", s.storms, cell)))
	}
	for end := time.Now().Add(s.between(8*time.Second, 25*time.Second)); time.Now().Before(end); {
		s.strike()
		s.settleUntil(time.Now().Add(s.between(200*time.Millisecond, 4*time.Second)))
		s.tell(s.overlaps())
	}
}

// settleUntil waits, and ends the faults whose time comes.
func (s *soak) settleUntil(at time.Time) {
	for {
		next := at
		s.undo = slices.DeleteFunc(s.undo, func(u undo) bool {
			if time.Now().Before(u.at) {
				if u.at.Before(next) {
					next = u.at
				}
				return false
			}
			u.do()
			return true
		})
		if !time.Now().Before(at) {
			return
		}
		time.Sleep(time.Until(next))
	}
}

// later ends a fault after a random time.
func (s *soak) later(least, most time.Duration, do func()) {
	s.undo = append(s.undo, undo{time.Now().Add(s.between(least, most)), do})
}

// tell reports each violation once.
func (s *soak) tell(all []checkers.Violation) {
	for _, v := range all {
		if s.broken[v.Rule] {
			continue // of one kind the first is enough
		}
		s.broken[v.Rule] = true
		s.t.Errorf("storm %d: %s", s.storms, v)
	}
}

func (s *soak) modes(h *checkers.History) {
	for app := range soakBest {
		h.Modes[app] = app
	}
	h.Leaders = func(in *trace.Instance) bool { return s.bereft[in.Instance] }
}

// overlaps is what has to hold in the middle of a storm, too.
func (s *soak) overlaps() []checkers.Violation {
	h := checkers.History{Modes: map[string]string{}, Instances: s.rec.instances(""), Now: trace.Now()}
	s.modes(&h)
	var all []checkers.Violation
	for _, o := range h.Together() {
		if !o.Declared {
			all = append(all, checkers.Violation{Rule: "I1", Detail: o.String()})
		}
	}
	return append(all, h.Epochs()...)
}

// calm ends all faults; everything must come to rest, and the whole history
// must be sound.
func (s *soak) calm() {
	for _, u := range s.undo {
		u.do()
	}
	s.undo = nil
	if err := s.net.heal(); err != nil {
		s.t.Fatal(err)
	}
	healed := trace.Now()
	limit := bound(soakTimeout) + 3*time.Second // the supervisor's, and a node's start
	for since := healed; trace.Now() < healed.Add(limit+5*time.Second) && trace.Now().Sub(since) < quiet; time.Sleep(20 * time.Millisecond) {
		if !s.rested() {
			since = trace.Now()
		}
	}
	h := s.history()
	s.modes(&h)
	for app, best := range soakBest {
		took, all := h.Settle(app, healed, limit+s.lag.since(healed), best...)
		s.tell(all)
		s.longest = max(s.longest, took)
	}
	s.tell(h.Check())
	for _, probers := range s.probers {
		ops := history(probers)
		s.tell(checkers.Linear(ops, 30*time.Second))
		for _, op := range ops {
			s.ops[op.Outcome]++
		}
	}
	s.panics()
	if s.t.Failed() {
		s.t.Log(s.story(h, trace.Now().Add(-time.Minute)))
		return
	}
	s.t.Log(s.summary(h))
}

// rested reports whether every app runs once, where it belongs, and every node
// is there.
func (s *soak) rested() bool {
	for app, best := range soakBest {
		alive := s.rec.alive(app)
		if len(alive) != 1 || len(best) > 0 && !slices.Contains(best, alive[0].Node) {
			return false
		}
	}
	for _, m := range s.nodes[1:] {
		if !m.running() {
			return false
		}
	}
	return true
}

// panics looks for what no node may ever print.
func (s *soak) panics() {
	for _, m := range s.nodes[1:] {
		text, err := os.ReadFile(m.log)
		if err != nil {
			s.t.Fatal(err)
		}
		if i := strings.Index(string(text), "\npanic:"); i >= 0 {
			s.t.Errorf("%s panics:\n%s", m.name, string(text)[i:min(i+4000, len(text))])
		}
	}
}

// summary is one line.
func (s *soak) summary(h checkers.History) string {
	kinds, overlaps, declared := map[string]int{}, 0, 0
	for _, in := range h.Instances {
		kinds[in.Start]++
	}
	for _, o := range h.Together() {
		if o.Declared {
			declared++
		} else {
			overlaps++
		}
	}
	var worst time.Duration
	for app := range soakBest {
		for _, g := range h.Gaps(app) {
			worst = max(worst, g.Length)
		}
	}
	total := 0
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		total += s.counts[name]
		faults = append(faults, fmt.Sprintf("%s %d", name, s.counts[name]))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%v, %d storms, %d faults (%s), %d starts, %d failovers, %d takeovers, %d overlaps, %d declared, nobody ran an app for at most %v, at rest after at most %v, compare-and-sets ok %d refused %d unknown %d, exits %v",
		time.Since(s.begun).Round(time.Second), s.storms, total, strings.Join(faults, ", "), len(h.Instances), kinds["failover"], kinds["takeover"],
		overlaps, declared, worst.Round(time.Millisecond), s.longest.Round(time.Millisecond), s.ops[trace.OK], s.ops[trace.Refused], s.ops[trace.Unknown], s.ends)
}

func (s *soak) finish() {
	s.dismiss()
	h := s.history()
	s.modes(&h)
	fmt.Println("soak:", s.summary(h))
	s.close()
}

// hit notes that a node or its warden is hit. If both are within a lease nothing
// is promised of the children of the apps that run there.
func (s *soak) hit(m *member, agent, warden bool) {
	h := s.hits[m.name]
	now := trace.Now()
	if agent {
		h.agent = now
	}
	if warden {
		h.warden = now
	}
	s.hits[m.name] = h
	const together = 10 * time.Second // a lease, and the longest that a process stands still
	if h.agent == 0 || h.warden == 0 || max(h.agent.Sub(h.warden), h.warden.Sub(h.agent)) > together {
		return
	}
	for _, in := range s.rec.alive("") {
		if in.Node == m.name {
			s.bereft[in.Instance] = true
		}
	}
}

// stop stops processes for a while.
func (s *soak) stop(pids ...int) {
	send(syscall.SIGSTOP, pids...)
	s.later(200*time.Millisecond, 7*time.Second, func() { send(syscall.SIGCONT, pids...) })
}
