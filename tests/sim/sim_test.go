package sim

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	flagSeed     = flag.Uint64("seed", 0, "TestSeed: live this life, and tell it event by event with -v")
	flagAll      = flag.Bool("all", false, "TestSeed: tell heartbeats, ticks and renewals too")
	flagHours    = flag.Float64("hours", defaultHours, "simulated hours of a life")
	flagSeeds    = flag.Int("seeds", 0, "TestSim: how many lives; 0: as many as fit into -duration")
	flagFrom     = flag.Uint64("from", 1, "TestSim: the first seed")
	flagKeep     = flag.Bool("keep", false, "TestSim: go on after a failing life, and tell only its violation")
	flagDuration = flag.Duration("duration", 45*time.Second, "TestSim: begin no life after this much real time")
)

// TestMain lets garbage lie longer: a life makes a lot of it.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// defaultHours of a life, and those of a seed in seeds.txt that names none.
const (
	defaultHours = 10
	seedHours    = 3
)

// tailLines of a failing life are shown, up to the violation.
const tailLines = 60

// seedsAlways failed once. One a line, with the hours after it if not 3.
//
//go:embed seeds.txt
var seedsAlways string

// TestSeed replays one life.
func TestSeed(t *testing.T) {
	if *flagSeed == 0 {
		t.Skip("no -seed given; TestSim lives many")
	}
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = os.Stdout
	}
	k := NewKnobs(*flagSeed)
	w := New(*flagSeed, k)
	fmt.Fprint(out, k.Describe())
	w.Trace(out, *flagAll)
	if v := w.Live(*flagHours); v != nil {
		t.Fatalf("seed %d at %v: %v", *flagSeed, w.Now(), v)
	}
	t.Logf("seed %d: %.1f h, hash %016x, %+v", *flagSeed, w.Now().Hours(), w.Hash(), w.Stats)
}

// TestSim lives as many lives as fit into its time.
func TestSim(t *testing.T) {
	hours, limit := *flagHours, *flagDuration
	if testing.Short() {
		limit = min(limit, 5*time.Second)
	}
	if raceDetector {
		limit, hours = min(limit, 15*time.Second), min(hours, 1)
	}
	began := time.Now()
	more := func(n int) bool {
		if *flagSeeds > 0 {
			return n < *flagSeeds
		}
		return time.Since(began) < limit
	}
	s := liveMany(t, *flagFrom, hours, more)
	took := time.Since(began)
	t.Logf("%d lives, %.0f simulated hours in %.1f s: %.1f h/s, %d CPUs", s.lives, s.hours, took.Seconds(), s.hours/took.Seconds(), runtime.GOMAXPROCS(0))
	t.Logf("%+v", s.stats)
	if s.lives > 60 && !t.Failed() {
		demandEvents(t, &s.stats)
	}
}

// demandEvents fails a run in which nothing happened.
func demandEvents(t *testing.T, s *Stats) {
	t.Helper()
	for _, n := range []int{s.Faults, s.Starts, s.Failovers, s.Takeovers, s.Restarts, s.Overlaps, s.Freezes, s.Pauses, s.Buckets, s.Expired, s.Certified, s.Closed, s.Fenced, s.Unknown, s.Late, s.Calm, s.Commands,
		s.Wardens, s.Avenged, s.Avengers, s.Certificates, s.Clans, s.Forsaken, s.Leftovers, s.Sleeps, s.Rollbacks, s.Judged,
	} {
		if n == 0 {
			t.Fatalf("something never happened: %+v", *s)
		}
	}
}

// TestSeeds lives those lives again that failed once.
func TestSeeds(t *testing.T) {
	for line := range strings.Lines(seedsAlways) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		seed, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		hours := float64(seedHours)
		if len(f) > 1 {
			if hours, err = strconv.ParseFloat(f[1], 64); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(f[0], func(t *testing.T) {
			if v := New(seed, NewKnobs(seed)).Live(hours); v != nil {
				t.Error(failure(seed, hours, NewKnobs))
			}
		})
	}
}

// TestSameSeedSameLife: a life is a function of its seed.
func TestSameSeedSameLife(t *testing.T) {
	for seed := range uint64(5) {
		a, b := New(seed+1, NewKnobs(seed+1)), New(seed+1, NewKnobs(seed+1))
		va, vb := a.Live(0.5), b.Live(0.5)
		if a.Hash() != b.Hash() || a.Stats != b.Stats || fmt.Sprint(va) != fmt.Sprint(vb) {
			t.Errorf("seed %d: two different lives: %x %v, %x %v", seed+1, a.Hash(), va, b.Hash(), vb)
		}
	}
}

type many struct {
	lives int
	hours float64
	stats Stats
}

// liveMany lives one life after another on every CPU, until more says no or
// one fails.
func liveMany(t *testing.T, from uint64, hours float64, more func(n int) bool) (sum many) {
	t.Helper()
	var next atomic.Int64
	var failed atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !failed.Load() {
				n := int(next.Add(1)) - 1
				if !more(n) {
					return
				}
				seed := from + uint64(n)
				w := New(seed, NewKnobs(seed))
				v := w.Live(hours)
				mu.Lock()
				sum.lives++
				sum.hours += w.Now().Hours()
				sum.stats.Add(w.Stats)
				mu.Unlock()
				switch {
				case v != nil && *flagKeep:
					t.Errorf("seed %d at %v: %v", seed, w.Now(), v)
				case v != nil:
					failed.Store(true)
					t.Error(failure(seed, hours, NewKnobs))
				}
			}
		})
	}
	wg.Wait()
	return sum
}

// failure lives a failing life again, and tells its end.
func failure(seed uint64, hours float64, knobs func(uint64) *Knobs) string {
	k := knobs(seed)
	w, tail := New(seed, k), &tail{}
	w.Trace(tail, false)
	v := w.Live(hours)
	flags := ""
	if hours != defaultHours {
		flags = fmt.Sprintf(" -hours=%g", hours)
	}
	return fmt.Sprintf("seed %d at %v: %v\n%s%s\nreplay: go test ./tests/sim -run TestSeed$ -seed=%d%s -v", seed, w.Now(), v, k.Describe(), tail, seed, flags)
}

// tail keeps the last lines written to it.
type tail struct{ lines [tailLines][]byte }

func (l *tail) Write(p []byte) (int, error) {
	copy(l.lines[:], l.lines[1:])
	l.lines[tailLines-1] = bytes.Clone(p)
	return len(p), nil
}

func (l *tail) String() string { return string(bytes.Join(l.lines[:], nil)) }
