package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// store is the agent's port to the bucket. The bucket is opened in the
// background by Watch: a node hears heartbeats and passes its barrier before
// JetStream has a quorum.
type store struct {
	nc     *nats.Conn
	opts   kv.Options
	log    *slog.Logger
	fatal  func(error) // the bucket will never be ours
	opened atomic.Pointer[opened]
}

type opened struct {
	kv     *kv.Store
	ledger *kv.Ledger
}

// look reads a key, also before the bucket was opened: heartbeats alone may have
// told this node to end.
func (s *store) look(ctx context.Context, k policy.Key) (policy.Cell, error) {
	if o := s.opened.Load(); o != nil {
		return o.kv.Read(ctx, k)
	}
	b, err := kv.Bind(ctx, s.nc, s.opts)
	if err != nil {
		return policy.Cell{}, err
	}
	return b.Read(ctx, k)
}

// errNotOpen is why a write has no outcome yet: it was not sent.
var errNotOpen = errors.New("the bucket is not open yet")

// Watch opens the bucket and then follows it until ctx ends.
func (s *store) Watch(ctx context.Context, deliver func(policy.View)) error {
	if s.opened.Load() == nil {
		if err := s.open(ctx, deliver); err != nil {
			return err
		}
	}
	return s.opened.Load().kv.Watch(ctx, deliver)
}

func (s *store) open(ctx context.Context, deliver func(policy.View)) error {
	opts := s.opts
	opts.Waiting = func(err error) {
		s.log.Debug("store", "waits", err)
		deliver(policy.View{Lost: err.Error()})
	}
	b, err := kv.Open(ctx, s.nc, opts)
	if err != nil {
		if ctx.Err() == nil && s.fatal != nil {
			s.fatal(err)
		}
		return err
	}
	ledger, err := kv.OpenLedger(ctx, b)
	if err != nil {
		if ctx.Err() == nil && s.fatal != nil {
			if left := b.Abandon(ctx); left != nil {
				s.log.Warn("the bucket that was just made is left behind", "bucket", b.Bucket(), "err", left)
			}
			s.fatal(err)
		}
		return err
	}
	s.opened.Store(&opened{b, ledger})
	return nil
}

// Turn lets the bucket go by another cookie: see [kv.Store.Turn].
func (s *store) Turn(ctx context.Context, own string, accepted []string) error {
	o := s.opened.Load()
	if o == nil {
		return errNotOpen
	}
	return o.kv.Turn(ctx, own, accepted)
}

func (s *store) CAS(ctx context.Context, w policy.Write) (policy.Revision, policy.Outcome, error) {
	o := s.opened.Load()
	if o == nil {
		return 0, policy.OutcomeUnknown, errNotOpen
	}
	return o.kv.CAS(ctx, w)
}

func (s *store) Read(ctx context.Context, key policy.Key) (policy.Cell, error) {
	o := s.opened.Load()
	if o == nil {
		return policy.Cell{}, errNotOpen
	}
	return o.kv.Read(ctx, key)
}

// Append writes a line of history.
func (s *store) Append(ctx context.Context, l agent.Line) error {
	o := s.opened.Load()
	if o == nil {
		return errNotOpen
	}
	_, err := o.ledger.Append(ctx, s.event(l), l.ID())
	if err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	return nil
}

// event is a line as it is kept.
func (s *store) event(l agent.Line) kv.Event {
	return kv.Event{
		Time: time.UnixMilli(l.Wall).UTC(), Type: kv.EventType(l.Type), App: l.App, Node: l.Node,
		From: l.From, Epoch: l.Epoch, Detail: l.Detail,
		Session: l.Session, Claim: l.Claim, Run: uint64(l.Run), Op: string(l.Op),
		By: node.Name(s.opts.Node), Life: l.Life, N: l.N, Lost: l.Lost,
		Clock: clockOf(l.Life), Mono: int64(l.At), Sent: int64(l.Sent),
	}
}

// clockOf names the clock that this process reads. Where nothing tells that two
// processes read the same one, it is each life's own.
func clockOf(life policy.Nonce) string {
	if id := samehost.ClockID(); id != "" {
		return id
	}
	return string(life)
}

// quorum is what the store says of itself; the zero value before it is open.
func (s *store) quorum(ctx context.Context) (kv.Quorum, error) {
	o := s.opened.Load()
	if o == nil {
		return kv.Quorum{}, errNotOpen
	}
	return o.kv.Quorum(ctx)
}
