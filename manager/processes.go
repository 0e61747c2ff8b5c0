package manager

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// FunctionApps and FunctionExec are what every node has beside the functions of
// a proc.System. FunctionApps returns the apps as this node sees them.
const FunctionApps = "apps"

// Processes is where the node's processes live, and from where those of other
// nodes are reached. It is nil until Connected is closed, and its calls fail
// once Run has returned.
func (n *Node) Processes() *proc.System {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.procs
}

// openProcesses connects a second time, for the messages of processes: a flood
// of them must not stand before heartbeats and renewals.
func (p *parts) openProcesses(ctx context.Context) error {
	n := p.node
	o := bus.Options{
		URLs: n.plan.clientURLs, Name: string(n.plan.self) + " (messages)", RefusedFor: refusedFor, Logger: n.log,
		InboxPrefix: n.opts.InboxPrefix,
	}
	if err := p.sameLogin(&o); err != nil {
		return err
	}
	conn, err := bus.Dial(ctx, o)
	if err != nil {
		return err
	}
	p.stops, p.messages = append(p.stops, conn.Close), conn
	r := &router{life: proc.Life(p.id), Messenger: bus.NewMessenger(conn.NATS(), bus.Cluster(n.opts.Cluster), n.plan.self), routes: map[node.Name]*foreignRoute{}}
	p.procs, err = proc.New(proc.Options{
		Node: n.plan.self, Life: proc.Life(p.id), Hidden: n.opts.Hidden, Transport: r,
		TickTime: n.opts.Config.NetTicktime, Suspicion: n.plan.lease.Suspicion(), Names: globalNames{p.store}, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err := n.register(p.procs); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	r.deliver = p.procs.Receive
	stop, err := r.Listen(r.receive)
	if err != nil {
		return err
	}
	p.router = r
	p.stops = append(p.stops, stop, r.close)
	return nil
}

// register gives the system the functions of this node and of the program.
func (n *Node) register(s *proc.System) error {
	apps := proc.Function(func(ctx context.Context, _ *proc.Self, _ any) ([]status.App, error) {
		doc, err := n.Status(ctx)
		return doc.Apps, err
	})
	if err := s.Handle(FunctionApps, apps, proc.Mailbox{}); err != nil {
		return err
	}
	if err := s.Handle(FunctionExec, n.execFunc(), proc.Mailbox{}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.opts.Functions)) {
		if err := s.Handle(name, n.opts.Functions[name], proc.Mailbox{}); err != nil {
			return err
		}
	}
	return nil
}

// runProcesses looks after them until the node has stopped its apps, which may
// have something to say as they go. The returned function ends that.
func (p *parts) runProcesses() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.procs.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// heard tells the processes of a heartbeat.
func (p *parts) heard(b machine.Beat) {
	p.procs.Heard(proc.Beat{Node: b.Node, Life: proc.Life(b.Agent), Hidden: b.Hidden, Leaving: b.Phase == machine.BeatLeft})
}

// globalNames keeps the names of the cluster in its bucket.
type globalNames struct{ store *store }

func (g globalNames) open() (*kv.Store, error) {
	if o := g.store.opened.Load(); o != nil {
		return o.kv, nil
	}
	return nil, errNotOpen
}

func (g globalNames) Read(ctx context.Context, name string) (proc.Holder, error) {
	s, err := g.open()
	if err != nil {
		return proc.Holder{}, err
	}
	n, rev, err := s.ReadName(ctx, name)
	if err != nil {
		return proc.Holder{}, err
	}
	h := proc.Holder{Epoch: uint64(n.Epoch), Since: uint64(n.SRev), Revision: uint64(rev)}
	if n.PID != "" {
		// A PID that can't be read names nobody who could give the name back.
		h.PID, _ = proc.ParsePID(n.PID)
	}
	return h, nil
}

func (g globalNames) Write(ctx context.Context, name string, h proc.Holder) (bool, error) {
	s, err := g.open()
	if err != nil {
		return false, err
	}
	n := kv.GlobalName{Name: name, Node: h.PID.Node, Epoch: policy.Epoch(h.Epoch)}
	if !h.PID.IsZero() {
		n.PID = h.PID.String()
		if n.SRev, err = sessionOf(ctx, s, h.PID); err != nil {
			return false, err
		}
	}
	outcome, err := s.WriteName(ctx, n, policy.Revision(h.Revision))
	return outcome == policy.OutcomeOK, err
}

// sessionOf is a revision at which a process's node has its session, in the
// life of the process.
func sessionOf(ctx context.Context, s *kv.Store, pid proc.PID) (policy.Revision, error) {
	c, err := s.Read(ctx, policy.NodeKey(pid.Node))
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", proc.ErrNoSession, err)
	case c.Node == nil || c.Node.Agent != policy.Nonce(pid.Life) || c.Node.State != policy.SessionLive:
		return 0, proc.ErrNoSession
	}
	return c.Rev, nil
}

// Ended: the record of the node says that this life has ended, or it is of
// another one at a later revision, as in policy.Slot.Ended. An expired session
// proves nothing here: the lease ends the apps of a node, not its other
// processes.
func (g globalNames) Ended(ctx context.Context, h proc.Holder) (bool, error) {
	s, err := g.open()
	if err != nil {
		return false, err
	}
	c, err := s.Read(ctx, policy.NodeKey(h.PID.Node))
	if err != nil || c.Node == nil {
		return false, err
	}
	if c.Node.Agent == policy.Nonce(h.PID.Life) {
		return c.Node.State == policy.SessionDead || c.Node.State == policy.SessionClosed, nil
	}
	return uint64(c.Rev) > h.Since, nil
}
