package manager

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Foreign is a node of another cluster, with another cookie.
type Foreign struct {
	Node    NodeName
	Cookie  Cookie // of its cluster
	Cluster string // default: the own one's name
	Server  string // NATS URLs of its cluster, with commas between them
}

// Errors of SetCookie, beside those of the connection (bus.ErrRefused,
// bus.ErrUnreachable).
var (
	// ErrForeign is wrapped by errors about what was given.
	ErrForeign = errors.New("invalid foreign node")
	// ErrForeignName: a node of the other cluster has this node's name.
	ErrForeignName = errors.New("the other cluster has a node of this name")
)

// SetCookie lets this node exchange messages with a node of another cluster, by
// a connection of its own with that cluster's cookie (OTP: erlang:set_cookie/2).
// The other side needs nothing set. Nothing but messages crosses: neither
// cluster knows of the other's apps, and groups and node lists only of this one
// node. A second call for a node replaces the first.
func (n *Node) SetCookie(ctx context.Context, f Foreign) error {
	n.mu.Lock()
	r := n.router
	n.mu.Unlock()
	if r == nil {
		return ErrNotRunning
	}
	if f.Cluster == "" {
		f.Cluster = n.opts.Cluster
	}
	cluster, err := bus.ParseCluster(f.Cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if _, err := node.Parse(string(f.Node)); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if f.Node == n.plan.self {
		return fmt.Errorf("%w: %w", ErrForeign, ErrForeignName)
	}
	var servers plan
	if err := servers.planServers(f.Server); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	authority, err := cred.Derive(f.Cookie, f.Cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	login, err := authority.ConnOptions(cred.App, string(n.plan.self))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	conn, err := bus.Dial(ctx, bus.Options{
		URLs: servers.clientURLs, Name: string(n.plan.self) + " (foreign)", Logger: n.log, Login: login,
	})
	if err != nil {
		return err
	}
	route, err := n.foreignRoute(ctx, conn, cluster, r)
	if err != nil {
		conn.Close()
		return err
	}
	r.add(f.Node, route)
	return nil
}

// foreignRoute listens in the other cluster as this node, and answers pings, so
// that the other side may speak first.
func (n *Node) foreignRoute(ctx context.Context, conn *bus.Conn, cluster bus.Cluster, r *router) (*foreignRoute, error) {
	m := bus.NewMessenger(conn.NATS(), cluster, n.plan.self)
	// By another route to the same cluster this very node may answer.
	if who := m.Agent(ctx, n.plan.self); who != "" && who != policy.Nonce(r.life) {
		return nil, fmt.Errorf("%w: %s", ErrForeignName, n.plan.self)
	}
	// Pings before messages: when Listen returns the server knows of both.
	stopPings, err := bus.New(conn, cluster, n.plan.self, policy.Nonce(r.life)).AnswerPings()
	if err != nil {
		return nil, err
	}
	stopMessages, err := m.Listen(r.receive)
	if err != nil {
		stopPings()
		return nil, err
	}
	return &foreignRoute{m, func() { stopPings(); stopMessages(); conn.Close() }}, nil
}

// router is the transport of the node's processes: its own cluster's, and one
// for each foreign node.
type router struct {
	life           proc.Life
	*bus.Messenger // of the own cluster

	receiving sync.Mutex // one frame at a time, from wherever it comes
	deliver   func(frame []byte)

	mu     sync.RWMutex
	routes map[node.Name]*foreignRoute
	closed bool
}

type foreignRoute struct {
	*bus.Messenger
	close func()
}

func (r *router) receive(frame []byte) {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	r.deliver(frame)
}

// to is the way to a node.
func (r *router) to(n node.Name) *bus.Messenger {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if route := r.routes[n]; route != nil {
		return route.Messenger
	}
	return r.Messenger
}

// Send is bus.Messenger.Send on the way to the node.
func (r *router) Send(n node.Name, frame []byte) error { return r.to(n).Send(n, frame) }

// Absent is bus.Messenger.Absent likewise.
func (r *router) Absent(ctx context.Context, n node.Name) bool { return r.to(n).Absent(ctx, n) }

func (r *router) add(n node.Name, route *foreignRoute) {
	r.mu.Lock()
	old := r.routes[n]
	if r.closed {
		old = route
	} else {
		r.routes[n] = route
	}
	r.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// close ends the ways to foreign nodes.
func (r *router) close() {
	r.mu.Lock()
	routes := r.routes
	r.routes, r.closed = nil, true
	r.mu.Unlock()
	for _, route := range routes {
		route.close()
	}
}
