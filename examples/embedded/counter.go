package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/seed7529eb29/regent/manager"
)

// countEvery is the time between two lines of a counter.
const countEvery = 500 * time.Millisecond

// counter is the app: it counts, and says where. One value is one instance, of
// which the cluster has one at most.
type counter struct {
	out   io.Writer
	start manager.Start
	count int
}

// Start tells why the instance is started. A predecessor that was stopped in
// good order has handed over how far it had counted; one that crashed has not,
// and the count begins anew.
func (c *counter) Start(_ context.Context, s manager.Start) error {
	c.start = s
	if s.Payload != nil {
		var err error
		if c.count, err = strconv.Atoi(string(s.Payload)); err != nil {
			return fmt.Errorf("handed over: %w", err)
		}
	}
	c.say("started as %s from %q with epoch %d at %d", s.Kind, s.From, s.Epoch, c.count)
	return nil
}

// Run is the life of the instance.
func (c *counter) Run(ctx context.Context) error {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.say("stopped at %d: %v", c.count, context.Cause(ctx))
			return nil
		case <-tick.C:
			c.count++
			c.say("count %d", c.count)
		}
	}
}

// Stop hands the count over to the next instance, wherever it starts.
func (c *counter) Stop(context.Context) ([]byte, error) {
	return []byte(strconv.Itoa(c.count)), nil
}

func (c *counter) say(format string, args ...any) {
	fmt.Fprintf(c.out, "%s on %s: %s\n", c.start.App, c.start.Node, fmt.Sprintf(format, args...))
}
