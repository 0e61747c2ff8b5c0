//go:build !linux

package samehost

import "time"

var processStart = time.Now()

// Boottime is the time since this process began, by Go's monotonic clock, which
// may stand still while the machine sleeps.
func Boottime() time.Duration { return time.Since(processStart) }

// ClockID is empty: every process has a clock of its own.
func ClockID() string { return "" }
