package samehost

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boottime is the time since boot, suspend included (CLOCK_BOOTTIME). Go's own
// monotonic clock stands still while the machine sleeps, and a lease doesn't.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}
