package manager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/osproc"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/manager/warden"
	"github.com/seed7529eb29/regent/manager/warden/vigil"
	"github.com/seed7529eb29/regent/policy"
)

// Main must be called first thing in main by a program that is a node. The
// processes that a node starts begin as copies of the program: an app's command,
// which binds its life to the node's before it becomes the command, and the
// node's warden, which ends what a killed node leaves behind and proves it. A
// program that does not call it can run apps in Go alone, without a warden.
func Main() {
	osproc.Main()
	warden.Main(func(l warden.Life, log *slog.Logger) (warden.Certifier, error) { return newCertifier(l, log) })
}

// WardenMode says how much a node relies on its warden.
type WardenMode string

// Warden modes.
const (
	WardenAuto    WardenMode = "auto"    // one is kept; without one for a renewal period apps start all the same
	WardenOff     WardenMode = "off"     // none: the lease and the kernel's timer alone
	WardenRequire WardenMode = "require" // apps don't start without one
)

// reach is how a warden gets to the cluster. It is secret.
type reach struct {
	URLs    []string `json:"urls"`              // the agent's own server last: it dies with the agent
	Derived string   `json:"derived,omitempty"` // of the cookie, where the servers are the nodes'
	Also    string   `json:"also,omitempty"`    // likewise, of the cookie that is accepted too
	NKey    string   `json:"nkey,omitempty"`    // of the cookie, where somebody else's know the key that follows from it
	Access  Access   `json:"access"`            // for servers of somebody else

	JetStream   string `json:"jetstream,omitempty"`
	InboxPrefix string `json:"inbox,omitempty"`
}

// openWarden starts the node's second process.
func (p *parts) openWarden() error {
	n := p.node
	if n.opts.Shared || n.opts.Warden == WardenOff {
		return nil
	}
	text, err := p.reach(n.cookies.own, n.cookies.also)
	if err != nil {
		return err
	}
	p.warden, err = warden.Start(warden.Options{
		Life:   warden.Life{Cluster: n.opts.Cluster, Node: n.plan.self, Agent: p.id, TTL: n.plan.lease.TTL, Reach: text},
		Groups: p.groups, Renew: n.plan.lease.Renew, Late: n.plan.lease.Late, Log: n.log,
		Required: n.opts.Warden == WardenRequire, Cgroup: cgroupName(p.id),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	p.stops = append(p.stops, p.warden.Close)
	return nil
}

// reach is what a warden is told of these cookies.
func (p *parts) reach(own, also Cookie) (json.RawMessage, error) {
	n := p.node
	r := reach{URLs: slices.Clone(n.plan.clientURLs), Access: n.plan.login, JetStream: n.opts.JetStream, InboxPrefix: n.opts.InboxPrefix}
	switch {
	case !n.plan.external:
		r.Derived = own.Derived()
		if !also.IsZero() {
			r.Also = also.Derived()
		}
		if n.plan.voter {
			r.URLs = append(r.URLs[1:], r.URLs[0])
		}
	case p.cookieKey:
		r.NKey = own.Derived()
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("warden: %w", err)
	}
	return text, nil
}

// cgroupName is of the directory of one life.
func cgroupName(agent policy.Nonce) string { return "regent-" + string(agent) }

// ledger is told of every process group before it executes anything.
func (p *parts) ledger() osproc.Ledger {
	if p.warden != nil {
		return p.warden
	}
	return p.groups
}

// cradle is where processes are born; nil: nowhere in particular.
func (p *parts) cradle() osproc.Cradle {
	if p.warden != nil {
		return p.warden
	}
	return nil
}

// certifier is a warden's way to the records.
type certifier struct {
	life      warden.Life
	jetStream string // prefix of its API, "" for the usual one
	log       *slog.Logger
	ring      *cred.Ring // of the cookie; nil: something else lets us in
	stop      context.CancelFunc
	open      chan *records // one, when it is there
	sent      time.Duration // when a certificate was sent first; 0: none was
	cert      *kv.Event     // what this process certified; nil: nothing
}

// records are a connection and what is reached through it.
type records struct {
	conn   *bus.Conn
	store  *kv.Store
	ledger *kv.Ledger
}

func newCertifier(l warden.Life, log *slog.Logger) (*certifier, error) {
	var r reach
	if err := json.Unmarshal(l.Reach, &r); err != nil {
		return nil, fmt.Errorf("what the agent says of the cluster: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &certifier{life: l, jetStream: r.JetStream, log: log, stop: stop, open: make(chan *records, 1)}
	o := bus.Options{URLs: r.URLs, Name: string(l.Node) + " warden", InboxPrefix: r.InboxPrefix}
	if err := c.login(&r, &o); err != nil {
		stop()
		return nil, err
	}
	go c.connect(ctx, o)
	return c, nil
}

func (c *certifier) login(r *reach, o *bus.Options) error {
	a, err := r.authority(c.life.Cluster)
	if err != nil {
		return err
	}
	if a != nil {
		c.ring = cred.NewRing(a)
	}
	if r.Derived != "" {
		o.Login, err = c.ring.ConnOptions(cred.App, string(c.life.Node))
		return err
	}
	if c.ring != nil {
		o.Key = func() (string, nats.SignatureHandler) { return c.ring.NKey(cred.App) }
	}
	o.Login, err = r.Access.Options()
	return err
}

// authority is that of the cookie; nil: it lets nobody in.
func (r *reach) authority(cluster string) (*cred.Authority, error) {
	own := cmp.Or(r.Derived, r.NKey)
	if own == "" {
		return nil, nil
	}
	a, err := cred.FromDerived(own, cluster)
	if err != nil || r.Also == "" {
		return a, err
	}
	other, err := cred.FromDerived(r.Also, cluster)
	if err != nil {
		return nil, err
	}
	return a.Accepting(other), nil
}

// connectAgain is the pause after an attempt that failed: the agent may be the
// first of its cluster.
const connectAgain = 500 * time.Millisecond

func (c *certifier) connect(ctx context.Context, o bus.Options) {
	for ctx.Err() == nil {
		if r, err := c.tryConnect(ctx, o); err == nil {
			c.open <- r
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(connectAgain):
		}
	}
}

func (c *certifier) tryConnect(ctx context.Context, o bus.Options) (*records, error) {
	conn, err := bus.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	store, err := kv.Bind(ctx, conn.NATS(), kv.Options{Cluster: c.life.Cluster, Node: string(c.life.Node), APIPrefix: c.jetStream})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &records{conn, store, kv.BindLedger(store)}, nil
}

// Renew implements warden.Certifier.
func (c *certifier) Renew(text json.RawMessage) error {
	var r reach
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("what the agent says of the cluster: %w", err)
	}
	a, err := r.authority(c.life.Cluster)
	if err != nil || a == nil || c.ring == nil {
		return err
	}
	c.ring.Turn(a)
	select {
	case now := <-c.open:
		c.open <- now
		return now.conn.NATS().ForceReconnect()
	default: // it is being made, and asks the ring
		return nil
	}
}

// Close implements warden.Certifier.
func (c *certifier) Close() {
	c.stop()
	select {
	case r := <-c.open:
		r.conn.Close()
	default:
	}
}

// Certify implements warden.Certifier: transition S4. The cell is read after the
// deaths were confirmed, and exactly what was read is replaced, so that a
// certificate can't hit another life.
func (c *certifier) Certify(ctx context.Context) error {
	var r *records
	select {
	case r = <-c.open:
	case <-ctx.Done():
		return fmt.Errorf("no connection: %w", context.Cause(ctx))
	}
	defer r.conn.Close()
	for said := ""; ; {
		done, err := c.attempt(ctx, r)
		if done {
			if c.cert != nil {
				c.write(ctx, r)
			}
			return nil
		}
		if err != nil && err.Error() != said { // not a hundred times a second
			said = err.Error()
			c.log.Warn("certificate", "err", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(certifyAgain):
		}
	}
}

// One attempt at a certificate, and the pause after one that failed: a new
// leader of the store is there within half a second.
const (
	certifyMax   = 400 * time.Millisecond
	certifyAgain = 10 * time.Millisecond
)

// attempt reads and writes once. It is done when the cell says that the life is
// over, or names another one. After anything else the cell is read again: a
// write of unknown outcome is seen there, or voided by the next.
func (c *certifier) attempt(ctx context.Context, r *records) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, certifyMax)
	defer cancel()
	cell, err := r.store.Read(ctx, policy.NodeKey(c.life.Node))
	if err != nil {
		return false, err
	}
	w, over := vigil.Life{Node: c.life.Node, Agent: c.life.Agent, TTL: c.life.TTL}.Certificate(cell)
	if over {
		if c.sent != 0 && cell.Node != nil && cell.Node.Agent == c.life.Agent && cell.Node.State == policy.SessionDead {
			c.cert = c.event(*cell.Node, c.sent) // its answer was lost
		}
		return true, nil
	}
	w.ID = uuid.NewString()
	c.sent = cmp.Or(c.sent, samehost.Boottime())
	rev, outcome, err := r.store.CAS(ctx, w)
	if outcome != policy.OutcomeOK {
		return false, err
	}
	c.announce(r, *w.Cell.Node, rev)
	c.cert = c.event(*w.Cell.Node, c.sent)
	return true, nil
}

// announce tells everybody; the record is what counts.
func (c *certifier) announce(r *records, dead policy.SessionRecord, rev policy.Revision) {
	cert := machine.Certified{Node: dead.Node, Session: dead.Session, Agent: dead.Agent, Rev: rev}
	if err := bus.PublishCertificate(r.conn.NATS(), bus.Cluster(c.life.Cluster), cert); err != nil {
		c.log.Warn("certificate", "err", err)
	}
}

// event is the certificate as a line of history. The deaths were confirmed
// before it was sent.
func (c *certifier) event(dead policy.SessionRecord, sent time.Duration) *kv.Event {
	life := c.life.Agent + "/warden"
	return &kv.Event{
		Time: time.Now().UTC().Truncate(time.Millisecond), Type: kv.Certified, Node: dead.Node, Detail: "by its warden: its processes are gone",
		Session: dead.Session, Op: string(machine.OpCertify), By: c.life.Node, Life: life, N: 1,
		Clock: clockOf(life), Mono: int64(samehost.Boottime()), Sent: int64(sent),
	}
}

// write puts the certificate into the history, as often as it takes: nothing
// waits for this process any more.
func (c *certifier) write(ctx context.Context, r *records) {
	for {
		_, err := r.ledger.Append(ctx, *c.cert, string(c.cert.Life)+"-1")
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			c.log.Warn("the certificate is not in the history", "err", err)
			return
		case <-time.After(connectAgain):
		}
	}
}
