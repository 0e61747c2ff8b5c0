package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy/node"
)

// TestGuarantees throws faults at three nodes that talk, and checks what the
// package promises: order and at most once for every pair of processes, nothing
// for or from a former life, and no silence: whatever was sent without an error
// to a process that was never reported gone has arrived, and every call has
// ended.
func TestGuarantees(t *testing.T) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; testing.Short() && runs > 15 {
			return // each run is thousands of messages
		}
		x := ordeal{
			seed:   rapid.Uint64().Draw(rt, "seed"),
			lose:   rapid.SampledFrom([]int{0, 0, 5, 50}).Draw(rt, "lose"),
			repeat: rapid.SampledFrom([]int{0, 0, 20, 200}).Draw(rt, "repeat"),
			swap:   rapid.SampledFrom([]int{0, 0, 5, 100}).Draw(rt, "reorder"),
			delay:  time.Duration(rapid.IntRange(0, 300).Draw(rt, "delay")) * time.Millisecond,
			pace:   rapid.IntRange(0, len(paces)-1).Draw(rt, "pace"),
			old:    rapid.IntRange(0, 3).Draw(rt, "old"),
			burst:  rapid.SampledFrom([]int{1, 1, 5, 60}).Draw(rt, "burst"),
			events: rapid.SliceOfN(rapid.IntRange(0, 11), 0, 12).Draw(rt, "events"),
		}
		var failures []string
		synctest.Test(t, func(t *testing.T) { failures = x.run(t) })
		if len(failures) > 0 {
			rt.Fatalf("%+v: %d failures, the first: %s", x, len(failures), failures[0])
		}
	})
}

// ordeal is one run.
type ordeal struct {
	seed               uint64
	lose, repeat, swap int
	delay              time.Duration
	pace, old          int // how frames gather; which node reads no batches, 3: all do
	burst              int // messages without a pause
	events             []int
}

// paces are the usual one and those that make batches of everything, of a few
// frames, and wait for every acknowledgement.
var paces = []pace{
	defaultPace,
	{atOnce: 0, batch: 32 << 10, network: 512 << 10, frames: 4096, gather: time.Millisecond, ackAt: 1, ackSize: 1},
	{atOnce: 2, batch: 300, network: 1000, frames: 50, gather: 50 * time.Millisecond, ackAt: 4, ackSize: 500},
	{atOnce: 1, batch: 1, network: 0, gather: time.Second, ackAt: 2, ackSize: 100_000},
}

// item is what a sender says: where it comes from and goes to, and its number.
type item struct {
	From, To PID
	N        int
}

// court collects what happened and judges it.
type court struct {
	mu       sync.Mutex
	sent     map[[2]PID]int // sent without an error
	got      map[[2]PID][]int
	down     map[[2]PID]bool
	lives    map[PID]map[node.Name]Life // of whom a process heard last
	former   map[PID]map[Life]bool
	calls    int // that have not ended
	failures []string
}

func (c *court) calling() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func (c *court) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls += n
}

// call asks a sink who it is.
func (c *court) call(ctx context.Context, self *Self, to Dest) (PID, error) {
	c.count(1)
	defer c.count(-1)
	return Call[PID](ctx, self, to, nil)
}

func (c *court) failf(format string, args ...any) {
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

func (c *court) received(self *Self, m Msg) {
	it, err := As[item](m.Payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch me := self.PID(); {
	case err != nil:
		c.failf("%v: %v", me, err)
	case it.To != me:
		c.failf("%v got what was sent to %v", me, it.To)
	case it.From != m.From:
		c.failf("%v: from %v, which claims to be %v", me, m.From, it.From)
	default:
		pair := [2]PID{it.From, me}
		if list := c.got[pair]; len(list) > 0 && list[len(list)-1] >= it.N {
			c.failf("%v got %d from %v after %d", me, it.N, it.From, list[len(list)-1])
		}
		c.got[pair] = append(c.got[pair], it.N)
		c.heardLife(me, it.From)
	}
}

// heardLife: once a new life of a node was heard, the one before is silent.
func (c *court) heardLife(me, from PID) {
	if c.lives[me] == nil {
		c.lives[me], c.former[me] = map[node.Name]Life{}, map[Life]bool{}
	}
	if c.former[me][from.Life] {
		c.failf("%v heard %v after a later life of its node", me, from)
	}
	if last := c.lives[me][from.Node]; last != "" && last != from.Life {
		c.former[me][last] = true
	}
	c.lives[me][from.Node] = from.Life
}

func (x ordeal) run(t *testing.T) []string {
	f := newFabric(t)
	defer f.close()
	f.rng = rand.New(rand.NewPCG(x.seed, 1))
	c := &court{
		sent: map[[2]PID]int{}, got: map[[2]PID][]int{}, down: map[[2]PID]bool{},
		lives: map[PID]map[node.Name]Life{}, former: map[PID]map[Life]bool{},
	}
	stopBeats := f.beats()
	defer stopBeats()
	rng := rand.New(rand.NewPCG(x.seed, 2))
	nodes := []node.Name{n1, n2, n3}
	boot := func(n node.Name) {
		x.populate(f.start(n, f.paced(x.paceOf(slices.Index(nodes, n)))), nodes, c, rand.New(rand.NewPCG(rng.Uint64(), 3)))
	}
	for _, n := range nodes {
		boot(n)
	}
	f.setFaults(faults{lose: x.lose, repeat: x.repeat, reorder: x.swap, delay: x.delay})
	for _, e := range x.events {
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		n, other := nodes[e%3], nodes[(e+1)%3]
		switch e / 3 {
		case 0:
			f.kill(n)
			boot(n)
		case 1:
			f.cut(n, other, true)
		case 2:
			f.cut(n, other, false)
		case 3:
			f.mu.Lock()
			s := f.ports[n].s
			f.mu.Unlock()
			s.Disconnect(other)
		}
	}
	time.Sleep(5 * time.Second)
	f.setFaults(faults{})
	for i, n := range nodes {
		f.cut(n, nodes[(i+1)%3], false)
	}
	time.Sleep(30 * time.Second)
	for deadline := time.Now().Add(time.Minute); c.calling() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls > 0 {
		c.failf("%d calls have not ended", c.calls)
	}
	x.judge(f, c)
	return c.failures
}

func (x ordeal) paceOf(i int) pace {
	if i == x.old {
		return pace{}
	}
	return paces[x.pace]
}

func (x ordeal) judge(f *fabric, c *court) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pair, n := range c.sent {
		from, to := f.ports[pair[0].Node], f.ports[pair[1].Node]
		if from == nil || from.s.life != pair[0].Life || to == nil || to.s.life != pair[1].Life {
			continue // the sender is gone, or the receiver is and was
		}
		if got := len(c.got[pair]); !c.down[pair] && got != n {
			c.failf("%v sent %d to %v, %d arrived, and no Down came", pair[0], n, pair[1], got)
		}
	}
}

// populate gives a node a receiver, and senders for all nodes.
func (x ordeal) populate(s *System, nodes []node.Name, c *court, rng *rand.Rand) {
	_, _ = s.Go(func(ctx context.Context, self *Self) error {
		if err := self.Register("sink"); err != nil {
			return err
		}
		for {
			m, err := self.Receive(ctx)
			if err != nil {
				return err
			}
			switch m := m.(type) {
			case *Request:
				m.Reply(self.PID())
			case Msg:
				c.received(self, m)
			}
		}
	})
	for _, n := range nodes {
		if n == s.self {
			continue
		}
		seed := rng.Uint64()
		_, _ = s.Go(func(ctx context.Context, self *Self) error {
			rng := rand.New(rand.NewPCG(seed, 4))
			for ctx.Err() == nil && time.Since(bubbleStart) < talking {
				x.talk(ctx, self, n, c, rng)
				pauseFor(ctx, 200*time.Millisecond)
			}
			return sleeper(ctx, self)
		})
	}
}

// talking is how long all talk: shorter than the shortest run.
const talking = 25 * time.Second

// bubbleStart is when every bubble's clock begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// talk finds the sink of a node, monitors it and sends until it is reported
// gone, or enough was said.
func (x ordeal) talk(ctx context.Context, self *Self, n node.Name, c *court, rng *rand.Rand) {
	sink, err := c.call(ctx, self, Name{"sink", n})
	if err != nil {
		return
	}
	pair := [2]PID{self.PID(), sink}
	ref := self.Monitor(ctx, sink)
	for i := 0; i < 200 && time.Since(bubbleStart) < talking; i++ {
		if ctx.Err() != nil {
			return
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		m, err := self.ReceiveIf(short, func(m Message) bool { d, ok := m.(Down); return ok && d.Ref == ref })
		cancel()
		if err == nil {
			if d := m.(Down); d.Target != Dest(sink) {
				c.mu.Lock()
				c.failf("down of %v, expected %v", d.Target, sink)
				c.mu.Unlock()
			}
			c.mu.Lock()
			c.down[pair] = true
			c.mu.Unlock()
			return
		}
		c.mu.Lock()
		number := c.sent[pair] + 1
		c.mu.Unlock()
		err = self.Send(ctx, sink, item{self.PID(), sink, number})
		c.mu.Lock()
		if err == nil {
			c.sent[pair] = number
		} else if !errors.Is(err, ErrNoConnection) && !errors.Is(err, ErrClosed) && ctx.Err() == nil {
			c.failf("send: %v", err)
		} else {
			c.sent[pair] = number // it may have arrived
			c.down[pair] = true
		}
		c.mu.Unlock()
		if rng.IntN(20) == 0 {
			_, _ = c.call(ctx, self, sink)
		}
		if number%x.burst == 0 {
			// Not beyond the end of the process: the last pause may begin late, behind
			// a send and a call that waited.
			pauseFor(ctx, time.Duration(x.burst*rng.IntN(150))*time.Millisecond)
		}
	}
	self.Demonitor(ref)
	// Without a monitor nobody would tell of what is lost from now on, nor of
	// what was lost just before.
	c.mu.Lock()
	c.down[pair] = true
	c.mu.Unlock()
}
