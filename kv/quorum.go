package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Quorum is what the leader of the bucket's stream says about its group. It is
// for people and for placing the leader: only Probe proves that writes work.
type Quorum struct {
	OK      bool   // there is a leader, and a majority keeps up with it
	Servers int    // replicas of the bucket
	Leader  string // server name
	Peers   []Peer // the other replicas, as listed by the leader
}

// Peer is one follower.
type Peer struct {
	Name    string
	Current bool   // has everything
	Offline bool   // is not heard
	Lag     uint64 // operations behind
}

// Quorum asks the leader. With an error nothing but Servers, as last seen, is
// known.
func (s *Store) Quorum(ctx context.Context) (Quorum, error) {
	info, err := s.api.info(ctx, s.stream, "")
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return Quorum{Servers: s.replicas}, fmt.Errorf("quorum of bucket %q: %w", s.bucket, err)
	}
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return Quorum{OK: true, Servers: 1, Leader: s.api.nc.ConnectedServerName()}, nil
	}
	return quorumOf(info.Cluster), nil
}

func quorumOf(c *jetstream.ClusterInfo) Quorum {
	q := Quorum{Servers: 1 + len(c.Replicas), Leader: c.Leader}
	heard := 1
	for _, p := range c.Replicas {
		q.Peers = append(q.Peers, Peer{Name: p.Name, Current: p.Current, Offline: p.Offline, Lag: p.Lag})
		if !p.Offline {
			heard++
		}
	}
	q.OK = heard > q.Servers/2
	return q
}

// ServerTime is the wall clock of the server that leads the bucket's stream.
// It is for people: nothing is decided by it.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	info, err := s.api.info(ctx, s.stream, "")
	if err != nil {
		return time.Time{}, err
	}
	return info.TimeStamp, nil
}

// Leader is the name of the server that leads the bucket's stream.
func (s *Store) Leader(ctx context.Context) (string, error) {
	q, err := s.Quorum(ctx)
	return q.Leader, err
}

// codeStepDown refuses a preferred leader that leads already, or is none of
// the replicas.
const codeStepDown jetstream.ErrorCode = 10005

// StepDown makes the leader of the bucket's stream hand over, to the server
// named preferred if that is not empty. It happens once; nothing keeps the
// leader there. If preferred leads already nothing happens.
func (s *Store) StepDown(ctx context.Context, preferred string) error {
	type placement struct {
		Preferred string `json:"preferred"`
	}
	var req struct {
		Placement *placement `json:"placement,omitempty"`
	}
	if preferred != "" {
		req.Placement = &placement{preferred}
	}
	var resp struct {
		Success bool `json:"success"`
	}
	err := s.api.call(ctx, "STREAM.LEADER.STEPDOWN."+s.stream, req, &resp)
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == codeStepDown && strings.Contains(e.Description, "already leader") {
		return nil
	}
	return err
}
