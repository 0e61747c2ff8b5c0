package manager

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy/node"
)

const (
	leaderEvery = 2 * time.Second  // between two looks at the bucket's leader
	leaderCalm  = 10 * time.Second // after a move: elections settle, and two nodes don't play ball
)

// watchLeader keeps the bucket's leadership away from where the apps are: a
// node that owns apps hands it to the voter that owns fewest, so that the
// common failure, the death of an owner, does not meet an election. It gives
// the store as many replicas as there are voters, when their number was raised.
// And it ends
// the leadership of a server that looks healthy and acknowledges nothing:
// renewals are the write probe.
func (n *Node) watchLeader(ctx context.Context, p *parts) {
	for {
		wait := leaderEvery
		if n.moveLeader(ctx, p) {
			wait = leaderCalm
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (n *Node) moveLeader(ctx context.Context, p *parts) bool {
	o := p.store.opened.Load()
	if o == nil || n.plan.external { // those servers have an owner of their own
		return false
	}
	ask, cancel := context.WithTimeout(ctx, quorumMax)
	defer cancel()
	q, err := o.kv.Quorum(ask)
	if err != nil || !q.OK {
		return false
	}
	if q.Leader == string(n.plan.self) && q.Servers < len(n.plan.voters) {
		n.log.Info("the store gets more replicas", "from", q.Servers, "to", len(n.plan.voters), "err", o.kv.Grow(ask))
		return true
	}
	st := p.agent.Status()
	to, move := leaderTarget(q, st, n.plan.self)
	if !move {
		if !n.wedged(st) {
			return false
		}
		n.log.Warn("the store looks healthy but acknowledges nothing: its leader is changed", "leader", q.Leader)
	}
	if err := o.kv.StepDown(ask, to); err != nil {
		n.log.Debug("step down", "err", err)
		return false
	}
	n.log.Debug("store leadership moves", "from", q.Leader, "to", to)
	return true
}

// leaderTarget names the follower that owns fewest apps, if this node leads
// and owns more.
func leaderTarget(q kv.Quorum, st *machine.Status, self node.Name) (string, bool) {
	owned := map[string]int{}
	for _, a := range st.Apps {
		owned[string(a.Node)]++
	}
	peers := slices.DeleteFunc(slices.Clone(q.Peers), func(p kv.Peer) bool { return p.Offline || !p.Current })
	if q.Leader != string(self) || len(peers) == 0 {
		return "", false
	}
	best := slices.MinFunc(peers, func(a, b kv.Peer) int {
		return cmp.Or(cmp.Compare(owned[a.Name], owned[b.Name]), cmp.Compare(a.Name, b.Name))
	})
	return best.Name, owned[best.Name] < owned[string(self)]
}

// wedged: no renewal has been acknowledged for two thirds of the time there is.
func (n *Node) wedged(st *machine.Status) bool {
	left := st.Fence.Sub(clock{}.Now())
	return st.Session != "" && st.Fence > 0 && left < n.plan.lease.Fence()/3
}
