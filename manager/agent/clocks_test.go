package agent

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// offClock is that of a host which was started at another time and whose date
// is wrong by years.
type offClock struct {
	Clock
	up   time.Duration
	date time.Duration
}

func (c offClock) Now() machine.Instant { return c.Clock.Now().Add(c.up) }
func (c offClock) Wall() int64          { return c.Clock.Wall() + c.date.Milliseconds() }

const year = 365 * 24 * time.Hour

// cutStore and cutBus are those of a host that can be cut off.
type cutStore struct {
	*kvtest.Memory
	cut *atomic.Bool
}

func (s cutStore) CAS(ctx context.Context, w policy.Write) (policy.Revision, policy.Outcome, error) {
	if s.cut.Load() {
		return 0, policy.OutcomeUnknown, errDown
	}
	return s.Memory.CAS(ctx, w)
}

func (s cutStore) Read(ctx context.Context, key policy.Key) (policy.Cell, error) {
	if s.cut.Load() {
		return policy.Cell{}, errDown
	}
	return s.Memory.Read(ctx, key)
}

type cutBus struct {
	Bus
	cut *atomic.Bool
}

func (b cutBus) PublishBeat(beat machine.Beat) error {
	if b.cut.Load() {
		return errDown
	}
	return b.Bus.PublishBeat(beat)
}

// No clock is trusted for what time it is: nodes whose dates are decades apart
// share a lease as others do, and the one that is cut off has ended its app
// before the other starts it.
func TestDatesDecadesApart(t *testing.T) {
	for name, dates := range map[string][2]time.Duration{
		"owner ahead":     {30 * year, -40 * year},
		"owner behind":    {-40 * year, 30 * year},
		"beyond any date": {280 * year, -280 * year},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				var cut atomic.Bool
				n1 := r.boot("n1@h", func(o *Options) {
					o.Clock = offClock{r.clock, 9 * year, dates[0]}
					o.Store, o.Bus = cutStore{r.store, &cut}, cutBus{r.bus, &cut}
				})
				n2 := r.boot("n2@h", func(o *Options) { o.Clock = offClock{r.clock, 0, dates[1]} })
				n1.startApp(r.t)
				n1.await(r.t, "n1 runs the app", n1.runs)
				n2.startApp(r.t)
				cut.Store(true)
				off := time.Now()
				n2.await(r.t, "failover", n2.runs)
				first, second := n1.apps.last(), n2.apps.last()
				<-first.ended
				if !first.end.Before(second.begin) {
					r.t.Errorf("ended at %v, the next began at %v", first.end, second.begin)
				}
				if took, most := second.begin.Sub(off), lease.FailoverMax()+time.Duration(r.spec.Timeout); took > most {
					r.t.Errorf("failover took %v, at most %v are promised", took, most)
				}
				cut.Store(false)
				n1.await(r.t, "n1 is back", func(s *machine.Status) bool { return s.Session != "" })
				n1.await(r.t, "takeover", n1.runs)
			})
		})
	}
}
