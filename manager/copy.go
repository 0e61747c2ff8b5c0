package manager

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/manager/machine"
)

const (
	copyEvery = 200 * time.Millisecond // how often a voter looks at its own copy
	copyMax   = 2 * time.Second        // so old a look says nothing any more
	copyStop  = time.Second            // the end of a node waits no longer for a look
)

// ownCopy is what is known of the copy of the records on this node's own disk.
// A look at it waits for the disk where that stands still, and a status must
// not: so it is looked at beside.
type ownCopy struct {
	last atomic.Pointer[look]
}

type look struct {
	at     machine.Instant
	behind string
}

// watch looks at the copy of s until ctx ends. What it returns waits for the
// end of the last look, but not for a disk.
func (c *ownCopy) watch(ctx context.Context, s *embedded.Server) (wait func()) {
	if s == nil {
		c.last.Store(nil)
		return func() {}
	}
	c.last.Store(&look{at: clock{}.Now(), behind: "not looked at yet"})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(copyEvery)
		defer tick.Stop()
		for {
			behind := s.Behind()
			c.last.Store(&look{at: clock{}.Now(), behind: behind})
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(copyStop):
		}
	}
}

// behind says why the copy is not complete; empty when it is, and for a node
// that has none.
func (c *ownCopy) behind(now machine.Instant) string {
	l := c.last.Load()
	if l == nil {
		return ""
	}
	if age := now.Sub(l.at); age > copyMax {
		return fmt.Sprintf("the server has said nothing of it for %v: does its disk stand still?", age.Round(time.Second))
	}
	return l.behind
}
