package agent

import "time"

// sleepDetector notices that the wall clock has jumped ahead of the clock
// since boot: the machine stood still (a paused VM advances neither clock, and
// is then set right). A wall clock that is set back is none of its business.
type sleepDetector struct {
	clock  Clock
	margin time.Duration
	offset time.Duration // the lead at the last look
	known  bool          // offset was read
}

func newSleepDetector(c Clock, late time.Duration) *sleepDetector {
	d := &sleepDetector{clock: c, margin: late}
	d.offset, d.known = d.lead()
	return d
}

// readTries bounds the readings of the two clocks in one look.
const readTries = 4

// lead is how far the wall clock is ahead of the clock since boot. The two are
// not read at once: on a busy host this goroutine may lose its processor in
// between, and a lead that is off by that time would look like a sleep. Such
// readings don't count.
func (d *sleepDetector) lead() (lead time.Duration, ok bool) {
	for range readTries {
		before := d.clock.Now()
		wall := d.clock.Wall()
		if d.clock.Now().Sub(before) <= d.margin/4 {
			return time.Duration(wall)*time.Millisecond - time.Duration(before), true
		}
	}
	return 0, false
}

// slept reports a jump since the last look.
func (d *sleepDetector) slept() bool {
	lead, ok := d.lead()
	if !ok {
		return false
	}
	jump := lead - d.offset
	known := d.known
	d.offset, d.known = lead, true
	return known && jump > d.margin
}
