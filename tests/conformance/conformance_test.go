//go:build linux

package conformance

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/tests/scenario"
)

var (
	which    = flag.String("conformance", "", "play the scenarios that match one of these patterns (a,b*) on real nodes")
	together = flag.Int("together", 8, "play so many at once")
	verbose  = flag.Bool("traces", false, "print what was seen")
)

// TestConformance plays every scenario on the pure machine, on nodes of regent
// and on nodes of Erlang, and compares.
func TestConformance(t *testing.T) {
	if *which == "" {
		t.Skip("SKIPPED: plays for minutes: make conformance")
	}
	all, err := scenario.Load("../scenario/testdata")
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(s *scenario.Scenario) bool { return !chosen(t, s.Name) })
	if len(all) == 0 {
		t.Fatalf("no scenario matches %q", *which)
	}
	l := newLab(t)
	slots := make(chan struct{}, *together)
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				l.play(t, s)
			})
		}
	})
	l.summary(t)
}

// chosen: the flag is a list of patterns with commas between them.
func chosen(t *testing.T, name string) bool {
	t.Helper()
	return slices.ContainsFunc(strings.Split(*which, ","), func(pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
}

// lab is what the scenarios share.
type lab struct {
	engines []scenario.Engine // of real nodes

	mu     sync.Mutex
	played map[string]int // by engine
	pairs  int            // expected differences
	again  int
	alone  sync.Mutex // of those that are played again
	failed int
	begin  time.Time

	starved atomic.Int64 // when this process, with the NATS server in it, last did not get the processor
}

// watch notices when this process does not get the processor in time.
func (l *lab) watch(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		time.Sleep(100 * time.Millisecond)
		if time.Since(last) > 400*time.Millisecond {
			l.starved.Store(time.Now().UnixNano())
		}
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{played: map[string]int{}, begin: time.Now()}
	go l.watch(t.Context())
	r, err := newRegent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	l.engines = append(l.engines, r)
	if _, err := exec.LookPath("erl"); err == nil {
		e, err := newErlang(t.TempDir(), port.Free(t, 1)[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.end)
		l.engines = append(l.engines, e)
	}
	return l
}

// plays is how often a scenario is played before what was seen is believed
// although the machine was too busy for it.
const plays = 4

// play plays one scenario on all engines, the real ones at once, and compares.
// Where it fails while processes did not get the processor, or Erlang's nodes
// did not find one another at boot or did not do what they mostly do, that says
// nothing: it is played again, one such scenario at a time.
func (l *lab) play(t *testing.T, s *scenario.Scenario) {
	virtual, err := scenario.Play(scenario.Virtual{T: t}, s)
	if err != nil {
		t.Error(err)
		l.count(s, nil, true)
		return
	}
	for try := 1; ; try++ {
		begin := time.Now()
		seen := l.all(s)
		failures, excuse := judge(s, virtual, seen)
		if time.Unix(0, l.starved.Load()).After(begin) {
			excuse = cmp.Or(excuse, "the test did not get the processor in time")
		}
		if len(failures) > 0 && excuse != "" && try < plays {
			t.Logf("played again: %s", excuse)
			l.mu.Lock()
			l.again++
			l.mu.Unlock()
			if try == 1 {
				l.alone.Lock()
				defer l.alone.Unlock()
			}
			continue
		}
		for _, f := range failures {
			t.Error(f)
		}
		for _, k := range seen {
			if *verbose {
				t.Logf("%s\n%s", k.Name(), k.trace)
			}
		}
		l.count(s, seen, t.Failed())
		return
	}
}

// all plays on the real engines.
func (l *lab) all(s *scenario.Scenario) []*keeper {
	var wg sync.WaitGroup
	var seen []*keeper
	for _, e := range l.engines {
		k := &keeper{Engine: e}
		seen = append(seen, k)
		wg.Go(func() { k.trace, k.err = scenario.Play(k, s) })
	}
	wg.Wait()
	return seen
}

// judge says what is wrong with what was seen, and what may excuse it.
func judge(s *scenario.Scenario, virtual *scenario.Trace, seen []*keeper) (failures []string, excuse string) {
	traces := []*scenario.Trace{virtual}
	for _, k := range seen {
		if k.c != nil {
			excuse = cmp.Or(excuse, k.c.excuse())
		}
		if k.err != nil {
			failures = append(failures, fmt.Sprintf("%v\n%s", k.err, k.c.log()))
			if _, is := k.Engine.(*erlang); is {
				excuse = cmp.Or(excuse, "OTP came out otherwise: its nodes race where it has no rule")
			}
			continue
		}
		traces = append(traces, k.trace)
	}
	for i, a := range traces {
		for _, b := range traces[i+1:] {
			failures = append(failures, scenario.Differences(s, a, b)...)
		}
	}
	return failures, excuse
}

// keeper is one play on one engine.
type keeper struct {
	scenario.Engine
	c     *cluster
	trace *scenario.Trace
	err   error
}

func (k *keeper) Begin(s *scenario.Scenario) (scenario.World, error) {
	w, err := k.Engine.Begin(s)
	if err == nil {
		k.c = w.(*cluster)
	}
	return w, err
}

func (l *lab) count(s *scenario.Scenario, seen []*keeper, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.played["machine"]++
	for _, k := range seen {
		l.played[k.Name()]++
	}
	if failed {
		l.failed++
	}
	for _, st := range s.Steps {
		if _, is := st.Expects(); is && st.Only == scenario.Regent {
			l.pairs++
		}
	}
}

// summary says what was compared, and what was not.
func (l *lab) summary(t *testing.T) {
	names := []string{"machine", "regent", "Erlang/OTP"}
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s %d", n, l.played[n]))
	}
	fmt.Printf("conformance: scenarios played: %s; %d failed; differences asserted: %d; %d plays repeated; %.0f s\n",
		strings.Join(parts, ", "), l.failed, l.pairs, l.again, time.Since(l.begin).Seconds())
	if l.played["Erlang/OTP"] == 0 {
		fmt.Println("conformance: Erlang/OTP SKIPPED: no erl on PATH; the machine and regent were compared with each other; of the differences regent's side was asserted")
	}
}
