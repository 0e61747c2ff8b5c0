//go:build !unix

package osproc

import (
	"fmt"
	"os"
	"syscall"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// child is a command; what it starts is not known here.
type child struct {
	proc  *os.Process
	group samehost.Group
	state *os.ProcessState
}

func spawn(p plan, stdio []*os.File) (*child, error) {
	proc, err := os.StartProcess(p.path, p.args, &os.ProcAttr{Dir: p.dir, Env: p.env, Files: stdio})
	if err != nil {
		return nil, fmt.Errorf("execute %q: %w", p.path, err)
	}
	return &child{proc: proc, group: samehost.Group{PGID: proc.Pid}}, nil
}

// release has nothing to do: the command is running.
func (c *child) release(plan) error { return nil }

func (c *child) awaitLeader() {
	state, err := c.proc.Wait()
	if err != nil {
		panic(fmt.Sprintf("wait for child %d: %v", c.group.PGID, err))
	}
	c.state = state
}

// signal kills: there is no polite way that every process understands.
func (c *child) signal(syscall.Signal) { c.kill() }

func (c *child) kill() { _ = c.proc.Kill() }

func (c *child) othersAlive() bool { return false }

func (c *child) reap() *os.ProcessState { return c.state }
