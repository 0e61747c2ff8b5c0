//go:build !windows

package embeddedtest

import "syscall"

// Pause stops member i as SIGSTOP does.
func (c *Cluster) Pause(i int) { c.signal(i, syscall.SIGSTOP) }

// Resume lets a paused member go on.
func (c *Cluster) Resume(i int) { c.signal(i, syscall.SIGCONT) }

func (c *Cluster) signal(i int, sig syscall.Signal) {
	c.t.Helper()
	p := c.running(i)
	if err := p.cmd.Process.Signal(sig); err != nil {
		c.t.Fatalf("%v to %s: %v", sig, p.config.Name, err)
	}
}
