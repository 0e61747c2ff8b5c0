package sim

import (
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

// clock is the clock of one host: it began somewhere and runs a little too
// fast or too slow, for ever.
type clock struct {
	offset time.Duration // what it showed when the world began
	ppm    int64         // how much faster than real time
}

const million = 1_000_000

// read is what the clock shows at a real time.
func (c clock) read(t Time) machine.Instant {
	return machine.Instant(c.offset + t + t*time.Duration(c.ppm)/million)
}

// when is the first real time at which the clock shows i or later.
func (c clock) when(i machine.Instant) Time {
	d := int64(i) - int64(c.offset)
	if d <= 0 {
		return 0
	}
	rate := million + c.ppm
	t := Time(d/rate*million + d%rate*million/rate)
	for c.read(t) < i {
		t++
	}
	return t
}
