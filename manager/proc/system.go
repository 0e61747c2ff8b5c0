package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// Transport carries frames between systems. It may lose, delay, repeat and
// reorder them; whoever it does that to notices.
type Transport interface {
	// Send hands over a frame for a node and does not wait until it has arrived.
	// It does not keep frame. An error means that the node will not get it.
	Send(n node.Name, frame []byte) error

	// Absent reports whether it is known that nobody would receive a frame for n
	// now. It waits for the answer, at most until ctx ends.
	Absent(ctx context.Context, n node.Name) bool

	// MaxFrame is the size of the largest frame.
	MaxFrame() int
}

// Options are what a System is made of. Node, Life and Transport are needed.
type Options struct {
	Node      node.Name
	Life      Life // never used before: the nonce of this process
	Hidden    bool // OTP: -hidden
	Transport Transport

	// Codec encodes what is sent; nil: JSON. Codecs can be decoded too.
	Codec  Codec
	Codecs []Codec

	// TickTime is how long a connection may owe an answer: after it the other
	// node counts as gone (OTP: net_ticktime). Default 2 s.
	TickTime time.Duration

	// Suspicion is the silence after which a node whose heartbeats were heard
	// counts as gone. Default 750 ms, three heartbeats.
	Suspicion time.Duration

	// Mailbox limits the mailboxes of processes that say nothing themselves.
	Mailbox Mailbox

	Names  Names        // keeps the global names; nil: there are none
	Logger *slog.Logger // nil: none
}

// Defaults and limits of time.
const (
	tickTimeDefault  = 2 * time.Second
	tickTimeMin      = 100 * time.Millisecond
	suspicionDefault = 750 * time.Millisecond
	ticksPerTime     = 8 // questions within a tick time, at least: the first ones may be lost

	// However long the tick time is, silent heartbeats are noticed soon.
	looksPerSuspicion = 3

	dialMax   = 3 * time.Second // until a node that answers nothing counts as unreachable
	dialEvery = 250 * time.Millisecond
	closeMax  = 2 * time.Second // for the functions of processes to return
)

// ErrOptions is wrapped by the errors of New.
var ErrOptions = errors.New("invalid options of a system")

// System is a node in one life: its processes, names and connections. Its
// methods may be called from any goroutine.
type System struct {
	self    node.Name
	life    Life
	hidden  bool
	t       Transport
	log     *slog.Logger
	codecs  codecs
	mailbox Mailbox
	store   Names

	tickTime  atomic.Int64 // a time.Duration
	suspicion time.Duration
	refs      atomic.Uint64
	counts    counts

	disallowedAt atomic.Int64 // the second of the last line about it in the log

	life0  context.Context // ends with Run
	end    context.CancelCauseFunc
	work   sync.WaitGroup // processes and attempts to connect
	local  *conn          // holds the calls within this system
	groups groups

	mu        sync.RWMutex
	closed    bool
	serial    uint64
	procs     map[uint64]*process
	names     map[string]*process
	functions map[string]function
	peers     map[node.Name]*peer
	conns     map[uint64]*conn
	watches   map[uint64]*watch
	allowed   map[node.Name]bool // nil: all
	observers map[*process]map[NodeType]int
}

// New makes a system. It answers others once Run runs.
func New(o Options) (*System, error) {
	if _, err := node.Parse(string(o.Node)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if _, err := ParseLife(string(o.Life)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if o.Transport == nil {
		return nil, fmt.Errorf("%w: no transport", ErrOptions)
	}
	s := &System{
		self: o.Node, life: o.Life, hidden: o.Hidden, t: o.Transport, log: o.Logger, mailbox: o.Mailbox,
		store: o.Names, suspicion: o.Suspicion,
		procs: map[uint64]*process{}, names: map[string]*process{}, functions: map[string]function{},
		peers: map[node.Name]*peer{}, conns: map[uint64]*conn{}, watches: map[uint64]*watch{},
		observers: map[*process]map[NodeType]int{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.suspicion <= 0 {
		s.suspicion = suspicionDefault
	}
	s.tickTime.Store(int64(tickTimeDefault))
	if o.TickTime > 0 {
		s.tickTime.Store(int64(max(o.TickTime, tickTimeMin)))
	}
	s.codecs.first = o.Codec
	if o.Codec != nil {
		o.Codecs = append(o.Codecs, o.Codec)
	}
	if err := s.codecs.add(o.Codecs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	s.local = newConn(s, o.Node, 0)
	s.local.life, s.local.state = o.Life, connUp
	s.life0, s.end = context.WithCancelCause(context.Background())
	s.groups.init()
	s.builtIn()
	return s, nil
}

// Node is the name of this node (OTP: node/0).
func (s *System) Node() node.Name { return s.self }

// Life is this life of the node.
func (s *System) Life() Life { return s.life }

// SetTickTime changes how long a connection may owe an answer (OTP:
// net_kernel:set_net_ticktime/1). It is at least 100 ms.
func (s *System) SetTickTime(d time.Duration) { s.tickTime.Store(int64(max(d, tickTimeMin))) }

// TickTime is that time.
func (s *System) TickTime() time.Duration { return time.Duration(s.tickTime.Load()) }

// Run looks after the connections until ctx ends; then it ends all processes
// with Shutdown, takes leave of the other nodes, and returns. A process whose
// function does not return within two seconds is left behind, and logged.
func (s *System) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(min(s.TickTime()/ticksPerTime, s.suspicion/looksPerSuspicion))
		select {
		case <-ctx.Done():
			timer.Stop()
			s.close()
			return
		case <-timer.C:
			s.tick(time.Now())
		}
	}
}

func (s *System) close() {
	s.mu.Lock()
	s.closed = true
	procs := values(s.procs)
	conns := values(s.conns)
	s.mu.Unlock()
	for _, p := range procs {
		s.terminate(p, Shutdown)
	}
	for _, c := range conns {
		s.breakConn(c, ConnectionClosed, true)
	}
	s.end(ErrClosed)
	s.local.fail(ErrClosed)
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeMax):
		s.log.Warn("functions of processes have not returned although their contexts have ended")
	}
}

func values[K comparable, V any](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// Stats count what did not arrive, and what is there.
type Stats struct {
	Processes   int
	Connections int
	Unreadable  uint64 // frames that can't be read
	Newer       uint64 // frames of a newer version
	Stale       uint64 // frames of connections that are over, or never were
	Repeated    uint64 // frames that came twice
	Lost        uint64 // connections that ended because a frame was missing
	NoProcess   uint64 // messages to processes that are not there
	Dropped     uint64 // messages that found a mailbox full
}

type counts struct{ unreadable, newer, stale, repeated, lost, noProcess, dropped atomic.Uint64 }

// Stats returns the counts so far.
func (s *System) Stats() Stats {
	s.mu.RLock()
	processes, connections := len(s.procs), len(s.conns)
	s.mu.RUnlock()
	c := &s.counts
	return Stats{
		Processes: processes, Connections: connections, Unreadable: c.unreadable.Load(), Newer: c.newer.Load(), Stale: c.stale.Load(),
		Repeated: c.repeated.Load(), Lost: c.lost.Load(), NoProcess: c.noProcess.Load(), Dropped: c.dropped.Load(),
	}
}

// conn finds a connection by its number.
func (s *System) conn(id uint64) *conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[id]
}

// processOf finds a living process of this system.
func (s *System) processOf(serial uint64, name string) *process {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if serial != 0 {
		return s.procs[serial]
	}
	return s.names[name]
}
