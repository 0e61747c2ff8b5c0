package manager

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy/node"
)

const (
	peersEvery = time.Second            // between two rounds of probes
	peersMax   = 900 * time.Millisecond // one probe
)

// watchPeers finds out why voters are not there: whether they refuse this
// node's cookie, or whether somebody else listens at their address. It matters
// only until this node has a session.
func (n *Node) watchPeers(ctx context.Context, p *parts) {
	var refused time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(peersEvery):
		}
		if p.agent.Status().Session != "" {
			return
		}
		accepts, refuses := n.probePeers(ctx, p)
		switch {
		case accepts > 0 || refuses == 0:
			refused = time.Time{}
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) >= refusedFor:
			n.end(Exit{Code: ExitRefused, Reason: "refused: every node that answers has another cookie", Hint: hintCookie})
			return
		}
	}
}

// nameTaken reports whether what listens at this node's client address is a
// node of this very name, with the same cookie: not a stranger in its port but
// another life of it.
func (n *Node) nameTaken(ctx context.Context) bool {
	login, err := n.ring.Authority().ConnOptions(cred.App, string(n.plan.self))
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, nameTakenMax)
	defer cancel()
	c, err := bus.Dial(ctx, bus.Options{URLs: n.plan.clientURLs[:1], Login: login})
	if err != nil {
		return false
	}
	defer c.Close()
	return c.NATS().ConnectedServerName() == string(n.plan.self)
}

// nameTakenMax is for a server that has just begun, on a busy host.
const nameTakenMax = 2 * time.Second

// probePeers asks every other voter what it thinks of us.
func (n *Node) probePeers(ctx context.Context, p *parts) (accepts, refuses int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, peer := range n.plan.server.Voters {
		if peer.Name == n.opts.Name {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, peersMax)
			defer cancel()
			answer := embedded.ProbePeer(ctx, n.ring.Authority(), peer.ClusterAddr, peer.Name)
			mu.Lock()
			defer mu.Unlock()
			switch answer.Answer {
			case embedded.Accepts:
				accepts++
			case embedded.OtherCookie:
				refuses++
				p.agent.Post(machine.RefusedBy{Node: node.Name(peer.Name)})
			case embedded.WrongName:
				n.end(Exit{Code: ExitConfig, Reason: fmt.Sprintf("at %s is %s, but the port map says %s", peer.ClusterAddr, answer.Name, peer.Name),
					Hint: "all nodes need the same configuration of nodes, hosts, ports and addresses: regent config check FILE..."})
			}
		})
	}
	wg.Wait()
	return accepts, refuses
}
