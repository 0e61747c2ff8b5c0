//go:build !linux

package lastresort

import "time"

// Timer does nothing on this system.
type Timer struct{}

// New returns nil: there is no such timer here.
func New() (*Timer, error) { return nil, nil }

// Arm does nothing.
func (t *Timer) Arm(time.Duration) error { return nil }

// Close does nothing.
func (t *Timer) Close() {}
