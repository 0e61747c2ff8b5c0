package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/lastresort"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/manager/warden"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Exit is how a node ended: with which exit code and why.
type Exit = agent.Exit

// Exit codes of a node, as cmd/regent ends with them.
const (
	ExitOK        = 0
	ExitFailed    = 1
	ExitConfig    = 2 // the configuration, or what was asked for, is wrong
	ExitMandatory = 3 // a mandatory node did not come in time
	ExitRefused   = 4 // every peer that answers refuses the cookie
	ExitDigest    = 6 // running nodes were told something else
	ExitDuplicate = 7 // a live node has this name
	ExitApp       = 8 // a permanent app ended
)

// Node is one node of a cluster. Its methods may be called from any goroutine
// once Run has begun; before, and after it has returned, calls fail with
// ErrNotRunning.
type Node struct {
	opts Options
	plan plan
	log  *slog.Logger

	mu      sync.Mutex
	parts   *parts       // nil before the node is connected, and once it has ended
	agent   *agent.Agent // likewise
	store   *store
	procs   *proc.System
	router  *router
	verdict *Exit // what ends the node from outside the protocol

	ring    *cred.Ring // set when the node is run: it is slow to derive
	cookies cookies

	connected chan struct{} // closed when agent is there
	ended     chan struct{}
	url       string
	missing   func() []string // voters that the own server has no route to; nil for clients
	copy      ownCopy
}

// ErrNotRunning is returned by calls to a node that has not connected yet or
// has ended.
var ErrNotRunning = errors.New("the node is not running")

// ErrNameTaken is wrapped when the port of this node is taken by a live node of
// the same name.
var ErrNameTaken = errors.New("a live node has this name")

// New checks the options and plans the node: its place in the port map, its
// lease, its apps. It touches neither network nor disk, except to resolve host
// names. Errors wrap ErrOptions or ErrConfig.
func New(opts Options) (*Node, error) {
	if opts.Cluster == "" {
		opts.Cluster = "default"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := opts.plan()
	if err != nil {
		return nil, err
	}
	return &Node{
		opts: opts, plan: p, log: opts.Logger.With("self", opts.Name),
		connected: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// Name is the node's name.
func (n *Node) Name() node.Name { return n.plan.self }

// Connected is closed when the node has its NATS connection and answers calls;
// its barrier begins then. It stays open when Run ends before that, so wait for
// both.
func (n *Node) Connected() <-chan struct{} { return n.connected }

// URL is where clients of this host reach the cluster. It is valid when
// Connected is closed.
func (n *Node) URL() string { return n.url }

// Run is the node's life: it returns when the node and everything it started
// have ended. The end of ctx asks it to stop gracefully: its apps are stopped
// and its session is closed, so that others start them after their Timeout
// (OTP: init:stop/0).
func (n *Node) Run(ctx context.Context) Exit {
	defer close(n.ended)
	exit := n.run(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts, n.agent, n.missing, n.router = nil, nil, nil, nil
	if n.verdict != nil {
		return *n.verdict
	}
	return exit
}

func (n *Node) run(ctx context.Context) Exit {
	parts := &parts{node: n}
	defer parts.close()
	if err := parts.open(ctx); err != nil {
		if ctx.Err() != nil {
			return Exit{Code: ExitOK, Reason: "told to stop"}
		}
		return n.exitFor(err)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	looked := n.copy.watch(watch, parts.server) // before anybody can ask
	n.mu.Lock()
	n.parts = parts
	n.agent, n.store, n.url = parts.agent, parts.store, parts.url
	n.procs, n.router = parts.procs, parts.router
	if parts.server != nil {
		n.missing = parts.server.Missing
	}
	if n.verdict != nil { // from before there was an agent to tell
		n.agent.Shutdown(n.verdict.Code)
	}
	n.mu.Unlock()
	stopProcesses := parts.runProcesses()
	close(n.connected)
	var watching sync.WaitGroup
	watching.Go(func() { n.watchPeers(watch, parts) })
	watching.Go(func() { n.watchLeader(watch, parts) })
	watching.Go(func() { n.watchStatus(watch, parts) })
	watching.Go(func() { n.tidy(watch, parts) })
	watching.Go(func() { n.talkToForeign(watch) })
	watching.Go(func() { parts.store.writeLeft(watch, parts.dir, parts.left, n.log) })
	watching.Go(func() { n.startUnknown(watch, parts) })
	exit := n.explainDigest(parts, parts.agent.Run(ctx))
	stop()
	watching.Wait()
	looked()
	stopProcesses()
	return exit
}

// end stops the node for a reason that the protocol does not know. The first
// reason counts.
func (n *Node) end(e Exit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.verdict == nil {
		n.verdict = &e
	}
	if n.agent != nil {
		n.agent.Shutdown(e.Code)
	}
}

// exitFor maps what can go wrong while a node comes up.
func (n *Node) exitFor(err error) Exit {
	e := Exit{Code: ExitFailed, Reason: err.Error()}
	switch {
	case errors.Is(err, ErrOptions), errors.Is(err, ErrConfig), errors.Is(err, embedded.ErrOptions):
		e.Code = ExitConfig
	case errors.Is(err, ErrCookieDropped):
		e.Code, e.Hint = ExitRefused, "put the new cookie into the cookie file; compare with another machine of the cluster: regent cookie show"
	case errors.Is(err, kv.ErrOtherCookie):
		e.Code, e.Hint = ExitRefused, kv.Hint(err)
	case errors.Is(err, bus.ErrRefused) && n.plan.external:
		e.Code, e.Hint = ExitRefused, hintLogin
	case errors.Is(err, kv.ErrNoRights):
		e.Code, e.Hint = ExitRefused, kv.Hint(err)
	case errors.Is(err, bus.ErrRefused):
		e.Code, e.Hint = ExitRefused, hintCookie
	case errors.Is(err, embedded.ErrDataDirInUse), errors.Is(err, ErrNameTaken):
		e.Code, e.Hint = ExitDuplicate, "a node of this name runs here already"
	case errors.Is(err, embedded.ErrModeChanged):
		e.Hint = "a store can't change between one voter and several; start with an empty --data directory, or with the configuration it was made with"
	case errors.Is(err, embedded.ErrPortTaken):
		e.Hint = "another program has the port; choose other bases with ports, or stop it"
	case errors.Is(err, kv.ErrNoJetStream), errors.Is(err, kv.ErrForeignBucket), errors.Is(err, kv.ErrOldServer), errors.Is(err, kv.ErrOverlap),
		errors.Is(err, kv.ErrTooFewServers), errors.Is(err, kv.ErrNoSpace):
		e.Hint = kv.Hint(err)
	case errors.Is(err, errHTTP):
		e.Hint = "choose another address with --http, or stop what has it"
	case errors.Is(err, ErrState):
		e.Hint = "it keeps epochs from repeating; restore it, or remove it and accept the wait for a bucket this node does not know"
	}
	return e
}

// parts are what a running node is made of, in the order they are opened.
type parts struct {
	node      *Node
	id        policy.Nonce
	lock      *os.File // keeps a second node out of the data directory
	groups    *samehost.Groups
	warden    *warden.Client // nil: none
	server    *embedded.Server
	conn      *bus.Conn
	cookieKey bool // an external NATS knows the key that follows from the cookie
	bus       *bus.Bus
	store     *store
	agent     *agent.Agent
	url       string
	starts    string // directory
	messages  *bus.Conn
	logins    logins
	procs     *proc.System
	router    *router

	service *service.Service
	web     *web // nil: nothing is shown over HTTP
	dir     string
	left    []kv.Event // history of former lives that is in no ledger yet
	stops   []func()   // run in reverse order
}

func (p *parts) open(ctx context.Context) error {
	n := p.node
	p.id = policy.Nonce(uuid.NewString())
	dir, err := n.opts.dataDir()
	if err != nil {
		return err
	}
	p.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if p.lock, err = embedded.LockDir(dir); err != nil {
		return err
	}
	p.stops = append(p.stops, func() { _ = p.lock.Close() })
	n.endFormerLives(dir)
	if err := p.openStarts(dir); err != nil {
		return err
	}
	if err := p.openWeb(); err != nil {
		return err
	}
	state := openState(dir)
	memory, err := state.Load(n.opts.Name)
	if err != nil {
		return err
	}
	if err := p.openServer(ctx, dir); err != nil {
		return err
	}
	if p.groups, err = samehost.CreateGroups(filepath.Join(dir, groupsPrefix+string(p.id))); err != nil {
		return err
	}
	p.stops = append(p.stops, func() { _ = p.groups.Close() })
	if err := p.connect(ctx); err != nil {
		return err
	}
	if err := p.openWarden(); err != nil {
		return err
	}
	if err := p.openProcesses(ctx); err != nil {
		return err
	}
	return p.openAgent(memory, state)
}

// openServer starts the NATS server of a voter. Everybody else is a client.
func (p *parts) openServer(ctx context.Context, dir string) error {
	n := p.node
	authority, err := n.firstCookies(dir)
	if err != nil {
		return err
	}
	n.ring = cred.NewRing(authority)
	debug.FreeOSMemory() // the stretching of the cookie needed 64 MiB, once
	if !n.plan.voter {
		return nil
	}
	opts := n.plan.server
	opts.Authority, opts.DataDir, opts.Logger = authority, filepath.Join(dir, "nats"), n.log
	opts.OnPeer = p.peerChanged
	p.server, err = embedded.Start(ctx, opts)
	if errors.Is(err, embedded.ErrPortTaken) && n.nameTaken(ctx) {
		return fmt.Errorf("%w: %s (%w)", ErrNameTaken, n.plan.self, err)
	}
	if err != nil {
		return err
	}
	p.stops = append(p.stops, p.stopServer)
	return nil
}

// serverStop bounds the graceful stop of the server: leadership is handed
// over, then it shuts down.
const serverStop = 3 * time.Second

func (p *parts) stopServer() {
	ctx, cancel := context.WithTimeout(context.Background(), serverStop)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		p.node.log.Warn("stop server", "err", err)
	}
}

// peerChanged hears from the server when the route to another voter goes: its
// process has ended, or its host is cut off.
func (p *parts) peerChanged(name string, up bool) {
	n := p.node
	n.mu.Lock()
	a, procs := n.agent, n.procs
	n.mu.Unlock()
	if a != nil && !up {
		a.Post(machine.Disconnected{Node: node.Name(name)})
		procs.Lost(node.Name(name))
	}
}

// refusedFor is how long everybody who answers must refuse before a node gives
// up: a peer may be about to be restarted with our cookie.
const refusedFor = 3 * time.Second

func (p *parts) connect(ctx context.Context) error {
	n := p.node
	var err error
	if p.conn, err = p.dial(ctx); err != nil {
		return err
	}
	p.stops = append(p.stops, p.conn.Close)
	p.url = p.conn.NATS().ConnectedUrl()
	if p.server != nil {
		p.url = p.server.ClientURL()
	}
	p.bus = bus.New(p.conn, bus.Cluster(n.opts.Cluster), n.plan.self, p.id)
	p.store = &store{
		nc: p.conn.NATS(), log: n.log, opts: p.storeOptions(),
		fatal: func(err error) { n.end(n.exitFor(err)) },
	}
	return nil
}

// externalWait is how long an external NATS may look unfit before that is
// believed: its servers may be coming up.
const externalWait = 10 * time.Second

func (p *parts) storeOptions() kv.Options {
	n := p.node
	o := kv.Options{
		Cluster: n.opts.Cluster, Node: n.opts.Name,
		Alternate: p.conn.Alternate, Recreate: true, Replicas: max(len(n.plan.voters), 1), APIPrefix: n.opts.JetStream,
		Doubt: func(what, hint string) { n.log.Warn(what, "hint", hint) },
	}
	if n.plan.external {
		o.Replicas, o.WaitFor = 0, externalWait
		// The nodes' own servers let in nobody with another cookie, and the bucket
		// outlives the one that it was made with.
		o.Fingerprint, o.Accepted = n.ring.Authority().Fingerprint(), n.ring.Authority().Fingerprints()
	}
	return o
}

func (p *parts) openAgent(memory machine.Memory, state stateFile) error {
	n := p.node
	l := n.plan.lease
	n.log.Info("lease", "ttl", l.TTL, "renewal", l.Renew, "fence", l.Fence(), "kv_outage", l.KVOutage, "failover_at_most", l.FailoverMax())
	if tick := n.opts.Config.NetTicktime; tick > 0 {
		n.log.Info("net_ticktime is accepted, and is that of connections for messages; for apps the lease decides", "net_ticktime", tick, "silent_node_keeps_its_apps_for", l.TTL)
	}
	ready := n.nursery(p.cradle())
	p.stops = append(p.stops, ready.Close)
	j, left, err := openJournal(p.dir, p.store)
	if err != nil {
		return err
	}
	p.stops = append(p.stops, j.Close)
	p.left = left
	a, err := agent.New(agent.Options{
		Machine: n.machineConfig(p, memory),
		Cluster: n.opts.Cluster,
		Store:   p.store, Bus: p.bus, Ledger: p.store,
		Disk:    disk{state, n.opts.Name},
		Prover:  newProver(l.Renew, n.log),
		Runners: p.runners(ready),
		Clock:   clock{},
		Last:    p.lastResort(),
		Logger:  n.log,
		Args:    n.args, Phases: n.phases,
		Observer: p.web.observe(), Journal: j,
	})
	if err != nil {
		return err
	}
	p.agent = a
	p.web.connected(p)
	hearing := newHearing(n.opts.Config, a.Status, n.log)
	stop, err := p.bus.SubscribeBeats(func(b machine.Beat) {
		if b, ok := hearing.take(b); ok {
			a.Post(machine.Heard{Beat: b})
			p.heard(b)
		}
	})
	if err != nil {
		return err
	}
	p.stops = append(p.stops, stop)
	if stop, err = p.bus.SubscribeCertificates(func(c machine.Certified) { p.web.heard(c); a.Post(c); p.procs.Lost(c.Node) }); err != nil {
		return err
	}
	p.stops = append(p.stops, stop)
	if stop, err = p.bus.AnswerPings(); err != nil {
		return err
	}
	p.stops = append(p.stops, stop)
	return p.serve()
}

func (p *parts) close() {
	for i := len(p.stops) - 1; i >= 0; i-- {
		p.stops[i]()
	}
}

// doom is the agent's port to those who end it if it stands still: the warden,
// and the kernel.
type doom struct {
	timer  *lastresort.Timer
	warden *warden.Client
	log    *slog.Logger
}

func (d doom) Arm(at machine.Instant) {
	if err := d.timer.Arm(time.Duration(at)); err != nil {
		d.log.Warn("the kernel won't end this process should it stand still", "err", err)
	}
	d.warden.Arm(time.Duration(at))
}

func (p *parts) lastResort() agent.LastResort {
	if p.node.opts.Shared {
		return nil
	}
	t, err := lastresort.New()
	if err != nil || t == nil {
		p.node.log.Info("no kernel timer here: a process that stands still is not ended", "cause", err)
		return nil
	}
	p.stops = append(p.stops, t.Close)
	return doom{t, p.warden, p.node.log}
}

// clock is this host's time: CLOCK_BOOTTIME where there is one.
type clock struct{}

func (clock) Now() machine.Instant { return machine.Instant(samehost.Boottime()) }
func (clock) Wall() int64          { return time.Now().UnixMilli() }

// startUnknown starts what was to be started and stands in no file: it may have
// been loaded at run time. What was not is told.
func (n *Node) startUnknown(ctx context.Context, p *parts) {
	unknown := slices.DeleteFunc(slices.Clone(n.opts.Start), func(s StartRequest) bool {
		_, configured := n.opts.Config.App(s.App)
		return configured || n.opts.Apps[string(s.App)] != nil
	})
	if len(unknown) == 0 || !p.awaitSession(ctx) {
		return
	}
	var starting sync.WaitGroup
	for _, s := range unknown {
		starting.Go(func() {
			if err := n.StartApp(ctx, s.App, s.Type); err != nil && ctx.Err() == nil {
				n.Note(machine.History{Type: "app_start_failed", App: s.App, Node: n.plan.self, Detail: err.Error()})
			}
		})
	}
	starting.Wait()
}

// awaitSession reports false if ctx ended first.
func (p *parts) awaitSession(ctx context.Context) bool {
	for {
		changed := p.agent.Changed()
		if p.agent.Status().Session != "" {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

const groupsPrefix = "groups-"

// formerMax is how long what a former life has left may take to be gone after
// SIGKILL.
const formerMax = 2 * time.Second

// endFormerLives ends what former lives of this node have left. Where agent and
// warden went together nobody else does: their lease has run out since, and
// others may run these apps by now.
func (n *Node) endFormerLives(dir string) {
	lists, _ := filepath.Glob(filepath.Join(dir, groupsPrefix+"*"))
	for _, list := range lists {
		killed, err := samehost.EndFormer(list, n.opts.Name, formerMax)
		if killed > 0 {
			n.log.Warn("ended processes that a former life has left", "processes", killed)
		}
		if err != nil && !errors.Is(err, samehost.ErrNoProof) {
			n.log.Error("a former life of this node has left processes that can't be ended", "err", err)
		}
	}
}

// tidy removes the lists of process groups of former lives, and their cgroups,
// once this life has a session: they were needed to prove those lives' ends,
// and that is done.
func (n *Node) tidy(ctx context.Context, p *parts) {
	if !p.awaitSession(ctx) {
		return
	}
	own := p.groups.Path()
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(own), groupsPrefix+"*"))
	for _, path := range old {
		if path != own {
			warden.RemoveCgroups(cgroupName(policy.Nonce(strings.TrimPrefix(filepath.Base(path), groupsPrefix))))
			_ = os.Remove(path)
		}
	}
}
