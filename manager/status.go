package manager

import (
	"context"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// quorumMax bounds the question to the store in a status: what is known
// without it is told anyway.
const quorumMax = 400 * time.Millisecond

// Status is the cluster as this node sees it, with the state of the store.
// The error is ErrNotRunning.
func (n *Node) Status(ctx context.Context) (status.Document, error) {
	n.mu.Lock()
	a, st := n.agent, n.store
	n.mu.Unlock()
	if a == nil {
		return status.Document{}, ErrNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, quorumMax)
	defer cancel()
	q, err := st.quorum(ctx)
	return status.From(a.Status(), status.Extra{
		Cluster: n.opts.Cluster,
		Quorum:  n.quorum(q, err),
		Absent:  n.absentVoters(q, err),
		Now:     clock{}.Now(),
		Wall:    clock{}.Wall(),
	}), nil
}

func (n *Node) quorum(q kv.Quorum, err error) status.Quorum {
	s := status.Quorum{OK: q.OK && err == nil, Servers: q.Servers, Leader: q.Leader, Mode: status.Embedded}
	if n.plan.external {
		s.Mode = status.External
	}
	if s.Servers == 0 {
		s.Servers = len(n.plan.voters)
	}
	s.Behind = n.copy.behind(clock{}.Now())
	return s
}

// absentVoters are the servers that are missed, as far as anybody can say.
func (n *Node) absentVoters(q kv.Quorum, err error) []node.Name {
	var absent []node.Name
	for _, p := range q.Peers {
		if p.Offline {
			absent = append(absent, node.Name(p.Name))
		}
	}
	if err == nil {
		return absent
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.missing != nil {
		for _, name := range n.missing() {
			absent = append(absent, node.Name(name))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(absent)))
}
