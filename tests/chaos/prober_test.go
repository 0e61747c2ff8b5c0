//go:build linux

package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// probeCell is the key that the probers of a row fight over. It is none of
// regent's.
const probeCell = "chaos"

// probePause is between two compare-and-sets of one prober.
const probePause = 40 * time.Millisecond

// prober does compare-and-sets from a host: on the value that the leader shows
// it, so that some are refused.
type prober struct {
	*client
	cell   string
	number int
	stop   context.CancelFunc
	done   chan struct{}
	ended  sync.Once
	mu     sync.Mutex
	ops    []trace.Op
}

// newProbers starts one on each host.
func newProbers(t testing.TB, c *cluster, cell string) (all []*prober) {
	t.Helper()
	for i, m := range c.nodes[1:] {
		ctx, stop := context.WithCancel(context.Background())
		p := &prober{client: newClient(t, m.host, c.urlsFrom(i+1), "prober"), cell: cell, number: i + 1, stop: stop, done: make(chan struct{})}
		go p.loop(ctx)
		t.Cleanup(p.end)
		all = append(all, p)
	}
	return all
}

func (p *prober) loop(ctx context.Context) {
	defer close(p.done)
	for n := 0; ctx.Err() == nil; n++ {
		p.once(ctx, fmt.Sprintf("%d.%d", p.number, n))
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
		}
	}
}

// once reads and writes. Its own end leaves no operation open: that would be one
// more of unknown outcome.
func (p *prober) once(ctx context.Context, value string) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	old, rev, err := p.store.ReadKey(call, p.cell)
	if err != nil {
		return
	}
	op := trace.Op{Client: p.number, Expect: string(old), New: value, Rev: uint64(rev), Call: trace.Now()}
	_, outcome, _ := p.store.CASKey(call, p.cell, []byte(value), rev, p.cell+"-"+value)
	op.Return = trace.Now()
	op.Outcome = map[policy.Outcome]trace.Outcome{policy.OutcomeOK: trace.OK, policy.OutcomeRefused: trace.Refused, policy.OutcomeUnknown: trace.Unknown}[outcome]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ops = append(p.ops, op)
}

func (p *prober) end() {
	p.ended.Do(func() {
		p.stop()
		<-p.done
		p.client.close()
	})
}

// history ends all probers. The last one to go shows what stands in the cell, so
// that no value that was applied stays unseen.
func history(probers []*prober) (ops []trace.Op) {
	for _, p := range probers {
		p.stop()
		<-p.done
	}
	for _, p := range probers {
		p.once(context.Background(), fmt.Sprintf("%d.last", p.number))
		ops = append(ops, p.ops...)
	}
	for _, p := range probers {
		p.end()
	}
	return ops
}
