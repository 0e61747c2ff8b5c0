package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/wire"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Limits of the heartbeats that wait for their receiver. A hundred nodes send
// four hundred a second; whoever is ten seconds behind gains nothing from
// older ones.
const (
	beatsMax     = 4096     // messages
	beatsSizeMax = 16 << 20 // bytes
)

// Bus is one node's place among the nodes of its cluster.
type Bus struct {
	conn    *Conn
	cluster Cluster
	self    node.Name
	agent   policy.Nonce
	log     *slog.Logger

	logged   seldom
	counts   counts
	badCerts atomic.Uint64
}

// New gives node self, in the life of agent, its place on a connection.
func New(conn *Conn, cluster Cluster, self node.Name, agent policy.Nonce) *Bus {
	return &Bus{conn: conn, cluster: cluster, self: self, agent: agent, log: conn.log, logged: seldom{every: logEvery}}
}

// PublishBeat sends a heartbeat to everybody. It doesn't wait for the network;
// an error (no connection, or a beat that can't be encoded) means that nobody
// will hear this one.
func (b *Bus) PublishBeat(beat machine.Beat) error {
	data, err := wire.Encode(beat)
	if err != nil {
		return fmt.Errorf("publish heartbeat: %w", err)
	}
	if err := b.conn.NATS().Publish(b.cluster.Beat(beat.Node), data); err != nil {
		return fmt.Errorf("publish heartbeat: %w", err)
	}
	return nil
}

// SubscribeBeats calls heard for every heartbeat of the cluster but those of
// this very agent, one after the other. Beats of another agent with this node's
// name are among them: they show that the name is taken twice. stop returns
// when heard runs no more; it must not be called from heard.
func (b *Bus) SubscribeBeats(heard func(machine.Beat)) (stop func(), err error) {
	return b.subscribe(b.cluster.Beats(), func(msg *nats.Msg) {
		beat, err := b.readBeat(msg)
		switch {
		case err != nil:
			b.dropped(msg, err)
		case beat.Agent == b.agent:
			b.counts.own.Add(1)
		default:
			b.counts.heard.Add(1)
			heard(beat)
		}
	})
}

func (b *Bus) readBeat(msg *nats.Msg) (machine.Beat, error) {
	s, err := b.cluster.Parse(msg.Subject)
	if err != nil {
		return machine.Beat{}, fmt.Errorf("%w: %w", wire.ErrForeign, err)
	}
	return wire.Decode(s.Node, msg.Data)
}

// dropped counts a heartbeat that wasn't understood.
func (b *Bus) dropped(msg *nats.Msg, err error) {
	kind, count := "malformed", &b.counts.malformed
	switch {
	case errors.Is(err, wire.ErrNewer):
		kind, count = "newer", &b.counts.newer
	case errors.Is(err, wire.ErrForeign):
		kind, count = "foreign", &b.counts.foreign
	case errors.Is(err, wire.ErrTooLarge):
		kind, count = "too large", &b.counts.tooLarge
	}
	count.Add(1)
	if n, due := b.logged.due(kind); due {
		b.log.Warn("heartbeat dropped", "subject", msg.Subject, "cause", err, "suppressed", n)
	}
}

// subscribe calls handle on a goroutine of its own, behind a bounded queue:
// what doesn't fit is dropped by the client library and counted.
func (b *Bus) subscribe(subject string, handle nats.MsgHandler) (stop func(), err error) {
	sub, err := b.conn.NATS().Subscribe(subject, handle)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", subject, err)
	}
	done := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(done) })
	if err := sub.SetPendingLimits(beatsMax, beatsSizeMax); err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", subject, err)
	}
	b.counts.watch(sub)
	return func() {
		// An error means that the connection was closed before, and then the
		// subscription is over too.
		_ = sub.Unsubscribe()
		<-done
	}, nil
}

// pong is the answer to a ping: who answers. Of two answers that differ, the
// later comes from another life.
type pong struct {
	V     int    `json:"v"`
	Node  string `json:"node"`
	Agent string `json:"agent"`
}

// AnswerPings lets others see that this node is connected, until stop.
func (b *Bus) AnswerPings() (stop func(), err error) {
	answer, err := json.Marshal(pong{V: wire.Version, Node: string(b.self), Agent: string(b.agent)})
	if err != nil {
		return nil, fmt.Errorf("answer pings: %w", err)
	}
	return b.subscribe(b.cluster.Ping(b.self), func(msg *nats.Msg) {
		if err := msg.Respond(answer); err != nil && msg.Reply != "" {
			b.log.Debug("ping not answered", "cause", err)
		}
	})
}

const probeMax = time.Second

// Probe asks whether n is connected. noResponders means that the servers know
// of nobody who would answer: its connection has ended, a good reason to
// suspect it at once. Neither means that nothing was learned before ctx was
// done, or for a second: a ping that arrives while the connection breaks is
// lost, but the next one is answered at once. None of it proves a death.
func (b *Bus) Probe(ctx context.Context, n node.Name) (alive, noResponders bool) {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	_, err := b.conn.NATS().RequestWithContext(ctx, b.cluster.Ping(n), nil)
	return err == nil, errors.Is(err, nats.ErrNoResponders)
}

// Stats count heartbeats since New.
type Stats struct {
	Heard     uint64 // given to the callback
	Own       uint64 // of this very agent
	Malformed uint64
	Newer     uint64 // of a newer version of the protocol
	Foreign   uint64 // in another node's name
	TooLarge  uint64
	Overflow  uint64 // dropped because the receiver was too slow; pings too
}

type counts struct {
	heard, own, malformed, newer, foreign, tooLarge atomic.Uint64

	mu   sync.Mutex
	subs []*nats.Subscription // a few, kept for their own counts
}

func (c *counts) watch(sub *nats.Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, sub)
}

// overflow asks the subscriptions that are still open.
func (c *counts) overflow() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum uint64
	for _, sub := range c.subs {
		if n, err := sub.Dropped(); err == nil {
			sum += uint64(n)
		}
	}
	return sum
}

// Stats returns the counts so far.
func (b *Bus) Stats() Stats {
	c := &b.counts
	return Stats{
		Heard: c.heard.Load(), Own: c.own.Load(), Malformed: c.malformed.Load(), Newer: c.newer.Load(),
		Foreign: c.foreign.Load(), TooLarge: c.tooLarge.Load(), Overflow: c.overflow(),
	}
}
