package agent

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

// clocks are read by hand; torn is how long each of the next readings of the
// clock since boot takes.
type clocks struct {
	boot time.Duration
	wall time.Duration
	torn []time.Duration
}

func (c *clocks) Now() machine.Instant {
	now := machine.Instant(c.boot)
	if len(c.torn) > 0 {
		c.boot, c.wall = c.boot+c.torn[0], c.wall+c.torn[0]
		c.torn = c.torn[1:]
	}
	return now
}

func (c *clocks) Wall() int64 { return c.wall.Milliseconds() }

func TestSleepDetector(t *testing.T) {
	const late = 100 * time.Millisecond
	c := &clocks{boot: time.Hour, wall: 1000 * time.Hour}
	d := newSleepDetector(c, late)
	for _, step := range []struct {
		what       string
		boot, wall time.Duration
		want       bool
	}{
		{"time passes", time.Minute, time.Minute, false},
		{"wall ahead by less than the margin", time.Second, time.Second + late, false},
		{"and again: looks are compared with the one before", time.Second, time.Second + late, false},
		{"wall ahead by more", time.Second, time.Second + late + 2*time.Millisecond, true},
		{"said once", time.Second, time.Second, false},
		{"wall set back", time.Second, -time.Hour, false},
		{"set right again is a jump ahead", time.Second, time.Hour, true},
		{"both ahead: suspended, which the deadline notices", time.Hour, time.Hour, false},
	} {
		c.boot, c.wall = c.boot+step.boot, c.wall+step.wall
		if got := d.slept(); got != step.want {
			t.Errorf("%s: slept %t", step.what, got)
		}
	}
}

// A goroutine that loses its processor between two readings is no sleep.
func TestTornReadingsAreNoSleep(t *testing.T) {
	const late = 100 * time.Millisecond
	for _, torn := range [][]time.Duration{
		{time.Second},
		{0, time.Second},
		{time.Second, 0, time.Second},
		{time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second},
	} {
		c := &clocks{boot: time.Hour, wall: 1000 * time.Hour}
		d := newSleepDetector(c, late)
		c.torn = torn
		for range 3 {
			if d.slept() {
				t.Errorf("torn by %v: slept", torn)
			}
		}
		c.wall += time.Second
		if !d.slept() {
			t.Errorf("torn by %v: a later jump was missed", torn)
		}
	}
	c := &clocks{torn: []time.Duration{time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second}}
	d := newSleepDetector(c, late)
	c.wall += time.Hour
	if d.slept() {
		t.Error("without a first reading there is nothing to compare with")
	}
}
