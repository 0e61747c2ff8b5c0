package embedded

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrNoQuorum is wrapped when JetStream has no leader: at the first boot until
// all voters met once, later while there is no majority.
var ErrNoQuorum = errors.New("no quorum")

// quorumEvery is how often state is polled that the server announces to nobody.
const quorumEvery = 10 * time.Millisecond

// handOverMax bounds the wait for new leaders in Shutdown. An election takes
// at most 0.6 s with fast timing; with stock timing a hand-over names the
// successor too, and nothing here is worth waiting 9 s for.
const handOverMax = time.Second

// Leader is the voter that leads JetStream's meta group as far as this server
// knows, the server itself if it is alone, and "" if there is none. A server
// that was cut off learns of it 1.2 to 2.4 s later.
func (s *Server) Leader() string {
	if !s.nats.JetStreamEnabled() {
		return ""
	}
	if !s.options.clustered() {
		return s.options.Name
	}
	info, err := s.nats.Jsz(nil)
	if err != nil || info.Meta == nil {
		return ""
	}
	return info.Meta.Leader
}

// Ready reports whether JetStream has a leader and this server is up to date
// with it.
func (s *Server) Ready() bool { return s.Leader() != "" && s.nats.JetStreamIsCurrent() }

// WaitReady waits until Ready. When ctx ends first it returns ErrNoQuorum, the
// voters that are missing, and the cause of ctx.
//
// Ready is what this server sees. A request to JetStream's API that reaches
// another server too early is still not answered at all: try again after 300 to
// 500 ms, not after the usual 5 s.
func (s *Server) WaitReady(ctx context.Context) error {
	if s.poll(ctx, s.Ready) {
		return nil
	}
	if missing := s.Missing(); len(missing) > 0 {
		return fmt.Errorf("%w: waiting for %s: %w", ErrNoQuorum, strings.Join(missing, ", "), context.Cause(ctx))
	}
	return fmt.Errorf("%w: all voters are connected, none leads: %w", ErrNoQuorum, context.Cause(ctx))
}

// poll reports whether done held before ctx or the server ended.
func (s *Server) poll(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(quorumEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return false
		case <-s.stopped:
			return false
		case <-tick.C:
		}
	}
	return true
}

// handOver gives the streams that this server leads to other voters and waits
// until these lead, so that Shutdown interrupts nothing. When those that stay
// are no majority, nobody can take over and nothing is done.
func (s *Server) handOver(ctx context.Context) {
	s.poll(ctx, func() bool {
		if len(s.routed()) < len(s.options.Voters)/2+1 {
			return true
		}
		waiting := false
		for _, stream := range s.streams() {
			if stream.Cluster == nil || len(stream.Cluster.Replicas) == 0 {
				continue // not replicated: nobody can take it
			}
			if stream.Cluster.Leader == s.options.Name {
				// An error means that it is not ours any more.
				_ = s.nats.JetStreamStepdownStream(s.first.Identity().App, stream.Name)
			}
			waiting = waiting || stream.Cluster.Leader == s.options.Name || stream.Cluster.Leader == ""
		}
		return !waiting
	})
}

func (s *Server) streams() []server.StreamDetail {
	detail, err := s.nats.JszAccount(&server.JSzOptions{Account: s.first.Identity().App, Streams: true})
	if err != nil {
		return nil // JetStream is off, or was never used
	}
	return detail.Streams
}
