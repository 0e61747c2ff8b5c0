//go:build linux

package conformance

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/tests/scenario"
)

var (
	which    = flag.String("conformance", "", "play the scenarios that match one of these patterns (a,b*) on real nodes")
	together = flag.Int("together", 8, "play so many at once")
	verbose  = flag.Bool("traces", false, "print what was seen")
)

// oddBoots is how often a scenario is played anew when Erlang's nodes did not
// find one another.
const oddBoots = 3

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
	l := newLab(t)
	slots := make(chan struct{}, *together)
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range all {
			if !chosen(t, s.Name) {
				continue
			}
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
	pairs  int            // asserted differences
	again  int
	failed int
	begin  time.Time
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{played: map[string]int{}, begin: time.Now()}
	r, err := newRegent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	l.engines = append(l.engines, r)
	if _, err := exec.LookPath("erl"); err == nil {
		e, err := newErlang(t.TempDir(), freePort(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.end)
		l.engines = append(l.engines, e)
	}
	return l
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// play plays one scenario on all engines, the real ones at once.
func (l *lab) play(t *testing.T, s *scenario.Scenario) {
	virtual, err := scenario.Play(scenario.Virtual{T: t}, s)
	if err != nil {
		t.Error(err)
	}
	traces := []*scenario.Trace{virtual}
	errs := make([]error, len(l.engines))
	more := make([]*scenario.Trace, len(l.engines))
	var wg sync.WaitGroup
	for i, e := range l.engines {
		wg.Go(func() { more[i], errs[i] = l.real(e, s) })
	}
	wg.Wait()
	for i, trace := range more {
		if errs[i] != nil {
			t.Error(errs[i])
			continue
		}
		traces = append(traces, trace)
	}
	if *verbose {
		for _, trace := range traces {
			t.Logf("%s\n%s", trace.Engine, trace)
		}
	}
	for i, a := range traces {
		for _, b := range traces[i+1:] {
			for _, d := range scenario.Differences(s, a, b) {
				t.Error(d)
			}
		}
	}
	l.count(s, traces, t.Failed())
}

// real plays on real nodes. A boot that left a mesh that is not whole, which
// happens to Erlang under load, says nothing about the scenario.
func (l *lab) real(e scenario.Engine, s *scenario.Scenario) (*scenario.Trace, error) {
	for try := 1; ; try++ {
		k := &keeper{Engine: e}
		trace, err := scenario.Play(k, s)
		if errors.Is(err, errOdd) && try < oddBoots {
			l.mu.Lock()
			l.again++
			l.mu.Unlock()
			continue
		}
		if err != nil {
			return trace, fmt.Errorf("%w\n%s", err, k.c.log())
		}
		return trace, nil
	}
}

// keeper keeps the cluster of an engine, for its log.
type keeper struct {
	scenario.Engine
	c *cluster
}

func (k *keeper) Begin(s *scenario.Scenario) (scenario.World, error) {
	w, err := k.Engine.Begin(s)
	if err == nil {
		k.c = w.(*cluster)
	}
	return w, err
}

func (l *lab) count(s *scenario.Scenario, traces []*scenario.Trace, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range traces {
		l.played[t.Engine]++
	}
	if failed {
		l.failed++
	}
	for _, st := range s.Steps {
		if st.Only == scenario.Regent {
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
	fmt.Printf("conformance: scenarios played: %s; %d failed; %d differences asserted; %d played again after an odd boot; %.0f s\n",
		strings.Join(parts, ", "), l.failed, l.pairs, l.again, time.Since(l.begin).Seconds())
	if l.played["Erlang/OTP"] == 0 {
		fmt.Println("conformance: Erlang/OTP SKIPPED: no erl on PATH; the machine and regent were compared with each other and with the scenarios")
	}
}
