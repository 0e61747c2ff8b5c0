package warden

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// agent is the parent, by a descriptor that can't be taken for another process.
type agent struct{ fd int }

// errOrphan: the agent had ended before its warden was awake.
var errOrphan = errors.New("the agent has ended")

func openAgent(pid int) (*agent, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open agent %d: %w", pid, err)
	}
	if os.Getppid() != pid { // pid may have been given to somebody else
		return nil, errOrphan
	}
	return &agent{fd}, nil
}

func (a *agent) kill() { _ = unix.PidfdSendSignal(a.fd, unix.SIGKILL, nil, 0) }

func (a *agent) gone() bool { return a.poll(0) }

// wait returns when the agent is gone, or after the limit.
func (a *agent) wait(limit time.Duration) { a.poll(limit) }

func (a *agent) poll(limit time.Duration) bool {
	for until := time.Now().Add(limit); ; {
		fds := []unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(time.Until(until), 0).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
		}
	}
}
