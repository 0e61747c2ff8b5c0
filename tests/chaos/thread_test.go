//go:build linux

package chaos

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is an OS thread that stands in the namespaces of one host: what it
// opens and starts is the host's. It lives as long as the host, since the
// kernel's signal on the death of the parent follows the thread.
type thread struct {
	orders chan func()
	done   chan struct{}
}

// newThread makes a thread that enters the namespaces of a process; 0 means
// those of the test.
func newThread(pid int, namespaces ...string) (*thread, error) {
	t := &thread{make(chan func()), make(chan struct{})}
	entered := make(chan error, 1)
	go func() {
		defer close(t.done)
		runtime.LockOSThread() // without unlocking: the thread ends with the goroutine
		entered <- enter(pid, namespaces)
		for order := range t.orders {
			order()
		}
	}()
	if err := <-entered; err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func enter(pid int, namespaces []string) error {
	if pid == 0 {
		return nil
	}
	var fds []int
	for _, ns := range namespaces {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("namespace %s of process %d: %w", ns, pid, err)
		}
		defer func() { _ = unix.Close(fd) }()
		fds = append(fds, fd)
	}
	// A mount namespace is for threads with a working directory of their own.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", os.NewSyscallError("unshare", err))
	}
	for i, fd := range fds {
		if err := unix.Setns(fd, 0); err != nil {
			return fmt.Errorf("enter namespace %s of process %d: %w", namespaces[i], pid, err)
		}
	}
	return nil
}

// do runs f on the thread.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.orders <- func() { defer close(done); f() }
	<-done
}

func (t *thread) close() {
	close(t.orders)
	<-t.done
}
