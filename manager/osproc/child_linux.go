package osproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// child is a process that waits to become a command, and later its group. From
// its birth until reap its number belongs to it, dead or alive.
type child struct {
	proc   *os.Process
	group  samehost.Group
	gate   pipe // this process writes: what to become
	report pipe // the child writes: what it was about to do, and why not
}

// spawn starts this program again, in a new process group and in the cgroup
// whose directory place is; see Main for what happens there.
func spawn(stdio []*os.File, place *os.File) (*child, error) {
	if !mainCalled.Load() {
		return nil, ErrNoMain
	}
	c := &child{}
	if err := c.open(); err != nil {
		return nil, err
	}
	err := c.start(stdio, place)
	// The child has its own copies; with these closed, the end of the child is
	// the end of the pipe.
	closeAll(c.gate.r, c.report.w)
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *child) open() (err error) {
	if c.gate, err = newPipe(); err != nil {
		return err
	}
	if c.report, err = newPipe(); err != nil {
		c.gate.close()
	}
	return err
}

func (c *child) close() { c.gate.close(); c.report.close() }

func (c *child) start(stdio []*os.File, place *os.File) (err error) {
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if place != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, int(place.Fd())
	}
	// Not the path of the program: it may have been replaced since.
	c.proc, err = os.StartProcess("/proc/self/exe", []string{shimName}, &os.ProcAttr{
		Env:   []string{shimParent + "=" + strconv.Itoa(os.Getpid())},
		Files: append(stdio, c.gate.r, c.report.w),
		Sys:   sys,
	})
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return fmt.Errorf("start a process: %w", err)
	}
	c.group.PGID = c.proc.Pid
	leader, err := samehost.Find(c.proc.Pid)
	if err != nil {
		c.kill()
		c.reap()
		return err
	}
	c.group.StartTime = leader.StartTime
	return nil
}

// release lets the child become the command. It returns nil when it has.
func (c *child) release(p plan) error {
	_, _ = c.gate.w.Write(p.pack()) // to a dead child in vain, as the report tells
	text, err := c.report.message()
	c.close()
	if err != nil {
		return err
	}
	return parseReport(text, p)
}

// awaitLeader returns when the first process of the group has ended, and leaves
// it a zombie.
func (c *child) awaitLeader() {
	for unix.Waitid(unix.P_PID, c.group.PGID, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// signal asks the group to end, and a stopped group to hear it.
func (c *child) signal(sig syscall.Signal) {
	_ = unix.Kill(-c.group.PGID, sig)
	_ = unix.Kill(-c.group.PGID, unix.SIGCONT)
}

func (c *child) kill() { _ = unix.Kill(-c.group.PGID, unix.SIGKILL) }

// othersAlive looks for a living process in the group. What can't be looked at
// is alive.
func (c *child) othersAlive() bool {
	members, err := samehost.Members(c.group.PGID)
	return err != nil || len(members) > 0
}

func (c *child) reap() *os.ProcessState {
	state, err := c.proc.Wait()
	if err != nil {
		panic(fmt.Sprintf("reap child %d: %v", c.group.PGID, err)) // somebody else has reaped it
	}
	c.close()
	return state
}

// alive reports whether a child that waits at its gate is still there.
func (c *child) alive() bool {
	p, err := samehost.Find(c.group.PGID)
	return err == nil && !p.Gone()
}
