//go:build unix && !linux

package osproc

import (
	"fmt"
	"os"
	"syscall"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// child is a command and its group.
type child struct {
	proc  *os.Process
	group samehost.Group
	state *os.ProcessState
}

func spawn(p plan, stdio []*os.File) (*child, error) {
	proc, err := os.StartProcess(p.path, p.args, &os.ProcAttr{
		Dir: p.dir, Env: p.env, Files: stdio, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("execute %q: %w", p.path, err)
	}
	return &child{proc: proc, group: samehost.Group{PGID: proc.Pid}}, nil
}

// release has nothing to do: the command is running.
func (c *child) release(plan) error { return nil }

// awaitLeader reaps the first process. From here on only its other members
// keep the group's number from being used again.
func (c *child) awaitLeader() {
	state, err := c.proc.Wait()
	if err != nil {
		panic(fmt.Sprintf("reap child %d: %v", c.group.PGID, err)) // somebody else has reaped it
	}
	c.state = state
}

func (c *child) signal(sig syscall.Signal) {
	_ = syscall.Kill(-c.group.PGID, sig)
	_ = syscall.Kill(-c.group.PGID, syscall.SIGCONT)
}

func (c *child) kill() { _ = syscall.Kill(-c.group.PGID, syscall.SIGKILL) }

// othersAlive asks the kernel for members of the group. Orphaned zombies count
// until init has reaped them.
func (c *child) othersAlive() bool { return syscall.Kill(-c.group.PGID, 0) == nil }

func (c *child) reap() *os.ProcessState { return c.state }
