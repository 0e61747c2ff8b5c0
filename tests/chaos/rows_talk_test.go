//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// talkRows hit a node while others call it and spawn on it.
func talkRows() []row {
	return []row{
		{name: "talk-cut", what: "the owner's host is cut off, amid calls and spawns", plan: rankedPlan, do: func(r *run) {
			talk := r.talk(1)
			r.strike(func(m *member) { r.must(r.net.isolate(m.host.i)) })
			r.moves()
			r.heal()
			r.rest(1)
			talk.end()
		}},
		{name: "talk-kill", what: "kill -9: node, amid calls and spawns", plan: rankedPlan, do: func(r *run) {
			talk := r.talk(1)
			r.kills(func(m *member) []int { return []int{m.pid()} })
			talk.end()
		}},
	}
}

// answerMax is how long an operation on a node that is gone may take, by what
// is promised: the tick time, or the time until a node that does not answer is
// given up; and how long a connection to NATS that is cut takes to be noticed.
const answerMax = 2*time.Second + 3*time.Second + 3*time.Second

// conversation is processes on the hosts that are not hit, which call a node
// and spawn on it.
type conversation struct {
	r       *run
	to      node.Name
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closers []func()

	mu             sync.Mutex
	calls, spawned int // that went well
	told           int // that were told
	back           trace.Instant
	longest        time.Duration
}

// talk begins once everybody has talked to node i.
func (r *run) talk(i int) *conversation {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &conversation{r: r, to: node.Name(nodeName(i)), stop: stop}
	for j, m := range r.nodes[1:] {
		if j+1 == i {
			continue
		}
		cl := newClient(r.t, m.host, r.urlsFrom(j+1), "talker")
		m := bus.NewMessenger(cl.nc, clusterName, node.Name(fmt.Sprintf("talker%d@h%d", j+1, j+1)))
		s, err := proc.New(proc.Options{Node: node.Name(fmt.Sprintf("talker%d@h%d", j+1, j+1)), Life: proc.Life(uuid.NewString()), Hidden: true, Transport: m})
		r.must(err)
		unlisten, err := m.Listen(s.Receive)
		r.must(err)
		running := make(chan struct{})
		go func() { s.Run(ctx); close(running) }()
		c.closers = append(c.closers, func() { <-running; unlisten(); cl.close() })
		for range 4 {
			c.loop(ctx, s, func(self *proc.Self, n int) error { return c.call(ctx, self, n) })
			c.loop(ctx, s, func(self *proc.Self, _ int) error { return c.spawn(ctx, self) })
		}
	}
	until(r.t, "everybody talks", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.calls > 100 && c.spawned > 100
	})
	return c
}

// loop does something in a process, again and again.
func (c *conversation) loop(ctx context.Context, s *proc.System, do func(self *proc.Self, n int) error) {
	c.wg.Add(1)
	_, err := s.Go(func(_ context.Context, self *proc.Self) error {
		defer c.wg.Done()
		for n := 0; ctx.Err() == nil; n++ {
			begun := time.Now()
			err := do(self, n)
			if ctx.Err() != nil {
				return nil
			}
			c.note(time.Since(begun), err)
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	})
	c.r.must(err)
}

// errWrong is an answer to something else.
var errWrong = errors.New("a wrong answer")

func (c *conversation) call(ctx context.Context, self *proc.Self, n int) error {
	text := fmt.Sprintf("%s %d", self.PID(), n)
	got, err := proc.Apply[string](ctx, self, c.to, proc.FunctionEcho, text)
	if err == nil && got != text {
		err = fmt.Errorf("%w: %s for %s", errWrong, got, text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.calls++
	}
	return err
}

func (c *conversation) spawn(ctx context.Context, self *proc.Self) error {
	var ref proc.Ref
	pid, err := self.Spawn(ctx, c.to, proc.FunctionEcho, nil, proc.Monitored(&ref))
	if err != nil {
		return err
	}
	m, err := self.ReceiveIf(ctx, func(m proc.Message) bool { d, ok := m.(proc.Down); return ok && d.Ref == ref })
	if err != nil {
		return err
	}
	switch d := m.(proc.Down); {
	case d.Target != proc.Dest(pid):
		return fmt.Errorf("%w: down of %v, expected %v", errWrong, d.Target, pid)
	case d.Reason == proc.NoConnection:
		return proc.ErrNoConnection
	case d.Reason != proc.Normal:
		return &proc.ExitError{Reason: d.Reason}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spawned++
	return nil
}

// note judges one operation: it ends in time, with its own answer, or is told
// that the connection, the process or the node is gone.
func (c *conversation) note(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longest = max(c.longest, took)
	var exit *proc.ExitError
	switch {
	case err == nil:
		c.back = trace.Now()
	case errors.Is(err, proc.ErrNoConnection), errors.As(err, &exit) && exit.Reason == proc.Shutdown:
		c.told++
	default:
		c.r.fail("talk", "%v", err)
	}
}

// end waits until all goes well again, and judges.
func (c *conversation) end() {
	c.r.t.Helper()
	healed := trace.Now()
	until(c.r.t, "the node answers again", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.back > healed
	})
	c.stop()
	c.wg.Wait()
	for _, end := range c.closers {
		end()
	}
	if most := answerMax + c.r.lag.since(c.r.hitAt); c.longest > most {
		c.r.fail("talk", "an operation took %v, at most %v is promised", c.longest, most)
	}
	if c.told == 0 {
		c.r.fail("talk", "nobody was told of the fault")
	}
	c.r.note("%d calls and %d spawns were answered, %d were told noconnection, the longest took %v", c.calls, c.spawned, c.told, c.longest.Round(time.Millisecond))
}
