package lastresort

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Timer is one kernel timer. It is used by one goroutine.
type Timer struct {
	id    int32
	armed time.Duration // 0: disarmed
}

// sigevent is struct sigevent of <signal.h>, which x/sys/unix does not have:
// a value, a signal, how to notify, and room up to 64 bytes.
type sigevent struct {
	value  uintptr
	signo  int32
	notify int32
	_      [64 - unsafe.Sizeof(uintptr(0)) - 8]byte
}

const (
	sigevSignal  = 0 // SIGEV_SIGNAL: to the process
	timerAbstime = 1 // TIMER_ABSTIME
)

// New makes a timer that is not armed.
func New() (*Timer, error) {
	t := &Timer{}
	ev := sigevent{signo: int32(unix.SIGKILL), notify: sigevSignal}
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&t.id)))
	if errno != 0 {
		return nil, fmt.Errorf("create timer: %w", errno)
	}
	return t, nil
}

// Arm makes the kernel end this process when CLOCK_BOOTTIME reaches at, in
// place of what was set before. 0 disarms.
func (t *Timer) Arm(at time.Duration) error {
	if t == nil || at == t.armed {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	_, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(t.id), timerAbstime, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set timer: %w", errno)
	}
	t.armed = at
	return nil
}

// Close removes the timer.
func (t *Timer) Close() {
	if t != nil {
		_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(t.id), 0, 0) // fails for a timer that is not there
	}
}
