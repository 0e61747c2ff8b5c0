package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/proc"
)

// appName is the app's name, and the name of its process on the node where it
// runs.
const appName = "counter"

const (
	countEvery = 200 * time.Millisecond
	askMax     = time.Second     // a predecessor that says nothing is not waited for longer
	frozen     = 5 * time.Second // after it has told its count, an instance does not count on: it is about to be stopped
)

// handOver is what the new instance asks the old one.
const handOver = "hand over"

// counter is one instance of the app.
type counter struct {
	out       io.Writer
	processes *proc.System
	start     manager.Start
	count     int
}

// Start finds out how far the predecessor has counted. With an overlapping
// takeover it still runs (OTP: {takeover, Node}), and answers by its name on its
// node. If it can't be asked the start fails, and the old one stays.
func (c *counter) Start(ctx context.Context, s manager.Start) error {
	c.start = s
	if s.Kind == manager.StartTakeover {
		asking, cancel := context.WithTimeout(ctx, askMax)
		defer cancel()
		var err error
		c.count, err = proc.Call[int](asking, c.processes, proc.Name{Name: appName, Node: s.From}, handOver)
		if err != nil {
			return fmt.Errorf("ask the instance on %s: %w", s.From, err)
		}
	}
	c.say("started as %s from %q at %d", s.Kind, s.From, c.count)
	return nil
}

// Run is the life of the instance: its process.
func (c *counter) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	pid, err := c.processes.Go(func(ctx context.Context, self *proc.Self) error {
		err := c.serve(ctx, self)
		ended <- err
		return err
	})
	if err != nil {
		return err
	}
	select {
	case err = <-ended:
		return err
	case <-ctx.Done():
	}
	_ = c.processes.Exit(context.WithoutCancel(ctx), pid, proc.Shutdown) // a process of this node can always be told
	<-ended
	c.say("stopped at %d", c.count)
	return nil
}

// serve counts, and answers whoever asks.
func (c *counter) serve(ctx context.Context, self *proc.Self) error {
	if err := self.Register(appName); err != nil {
		return err
	}
	next := time.Now().Add(countEvery)
	for {
		waiting, cancel := context.WithDeadline(ctx, next)
		m, err := self.Receive(waiting)
		cancel()
		if r, ok := m.(*proc.Request); ok {
			c.say("asked by %s at %d", r.From, c.count)
			r.Reply(c.count)
			next = time.Now().Add(frozen)
			continue
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			c.count++
			c.say("count %d", c.count)
			next = time.Now().Add(countEvery)
		}
	}
}

func (c *counter) say(format string, args ...any) {
	fmt.Fprintf(c.out, "%s on %s: %s\n", appName, c.start.Node, fmt.Sprintf(format, args...))
}
