package trace

import "golang.org/x/sys/unix"

// Now reads the clock.
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every kernel that Go runs on has it
	}
	return Instant(ts.Nano())
}
