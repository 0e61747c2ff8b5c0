package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Limits of the frames that wait for their receiver. Senders wait long before,
// unless they mean harm; what doesn't fit is dropped, which their receiver
// notices.
const (
	framesMax     = 1 << 20   // messages
	framesSizeMax = 256 << 20 // bytes
)

// Messenger carries the frames of processes between nodes: the transport of
// package manager/proc. It should have a connection of its own: a server that
// can't get rid of what a node is sent ends that connection, and the lease and
// the heartbeats must not be on it.
type Messenger struct {
	nc      *nats.Conn
	cluster Cluster
	self    node.Name

	mu       sync.RWMutex
	subjects map[node.Name]string // those built before
}

// NewMessenger gives node self its place on a connection.
func NewMessenger(nc *nats.Conn, cluster Cluster, self node.Name) *Messenger {
	return &Messenger{nc: nc, cluster: cluster, self: self, subjects: map[node.Name]string{}}
}

// Send hands over a frame for n. It doesn't wait for the network and doesn't
// keep frame. An error means that nobody gets it.
func (m *Messenger) Send(n node.Name, frame []byte) error {
	if err := m.nc.Publish(m.subject(n), frame); err != nil {
		return fmt.Errorf("send to %s: %w", n, err)
	}
	return nil
}

// subjectsMax bounds what is remembered: names come from outside.
const subjectsMax = 4096

func (m *Messenger) subject(n node.Name) string {
	m.mu.RLock()
	s, ok := m.subjects[n]
	m.mu.RUnlock()
	if ok {
		return s
	}
	s = m.cluster.Messages(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.subjects) >= subjectsMax {
		clear(m.subjects)
	}
	m.subjects[n] = s
	return s
}

// Absent reports whether the servers know of nobody under that name. It waits
// for their answer, at most until ctx ends or for a second.
func (m *Messenger) Absent(ctx context.Context, n node.Name) bool {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	_, err := m.nc.RequestWithContext(ctx, m.cluster.Ping(n), nil)
	return errors.Is(err, nats.ErrNoResponders)
}

// Agent asks which agent has the name n; empty: nobody answers.
func (m *Messenger) Agent(ctx context.Context, n node.Name) policy.Nonce {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	msg, err := m.nc.RequestWithContext(ctx, m.cluster.Ping(n), nil)
	if err != nil {
		return ""
	}
	var p pong
	if json.Unmarshal(msg.Data, &p) != nil {
		return ""
	}
	return policy.Nonce(p.Agent)
}

// MaxFrame is the size of the largest frame that the server takes.
func (m *Messenger) MaxFrame() int { return int(m.nc.MaxPayload()) }

// Listen calls receive with every frame for this node, one after the other, and
// returns when the server knows of it. stop returns when receive runs no more.
func (m *Messenger) Listen(receive func(frame []byte)) (stop func(), err error) {
	subject := m.cluster.Messages(m.self)
	sub, err := m.nc.Subscribe(subject, func(msg *nats.Msg) { receive(msg.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", subject, err)
	}
	done := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(done) })
	// Limits that are not 0 are accepted; and a server that does not answer now
	// will know of the subscription before it knows of anything sent later.
	_, _ = sub.SetPendingLimits(framesMax, framesSizeMax), m.nc.FlushTimeout(probeMax)
	return func() {
		_ = sub.Unsubscribe() // an error: the connection was closed before
		<-done
	}, nil
}
