package samehost

import (
	"os"
	"strings"
	"sync"
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

// ClockID names the clock that Boottime reads, empty where it can't be named:
// times of two processes can be compared if both name the same one. A time
// namespace shifts the clock since boot, so it belongs to the name.
var ClockID = sync.OnceValue(func() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(boot))
	if err != nil || id == "" {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		return id // a kernel without time namespaces
	}
	return id + "/" + strings.Trim(strings.TrimPrefix(space, "time:"), "[]")
})
