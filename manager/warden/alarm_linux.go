package warden

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings at a moment on CLOCK_BOOTTIME, which counts through suspend; Go's
// timers don't.
type alarm struct {
	fd   int
	file *os.File
	rung chan struct{}
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create alarm: %w", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "alarm"), rung: make(chan struct{})}, nil
}

// set replaces the moment; 0 is never.
func (a *alarm) set(at time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		return fmt.Errorf("set alarm: %w", err)
	}
	return nil
}

// ring tells every time that the alarm goes off.
func (a *alarm) ring() {
	count := make([]byte, 8)
	for {
		if _, err := a.file.Read(count); err != nil {
			return
		}
		a.rung <- struct{}{}
	}
}
