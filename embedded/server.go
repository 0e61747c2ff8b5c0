package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
)

// Server is one running voter.
type Server struct {
	nats    *server.Server
	ring    *cred.Ring      // its authority has the identity of the data
	first   *cred.Authority // whose operator the server trusts
	options Options
	log     *slog.Logger
	lock    *os.File

	stopWatch context.CancelFunc
	watching  sync.WaitGroup
	stopOnce  sync.Once
	stopped   chan struct{} // closed when nothing of the server is left

	mu    sync.Mutex
	peers []string // sorted names of the voters we have a route to
}

// startMax bounds the time from the end of recovery to open listeners.
const startMax = 10 * time.Second

// Start runs a voter. It returns when both ports are open; see WaitReady for
// the moment when JetStream works. ctx bounds only Start.
//
// Errors: ErrOptions, ErrDataDirInUse, ErrModeChanged, ErrPortTaken (naming the
// address), or what the server says.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Voters = slices.Clone(o.Voters)
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := LockDir(o.DataDir)
	if err != nil {
		return nil, err
	}
	s, err := startLocked(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

// startLocked refuses whatever can be refused before it touches the data.
func startLocked(ctx context.Context, o Options) (*Server, error) {
	if err := o.checkPorts(); err != nil {
		return nil, err
	}
	authority, err := o.claimData(ctx)
	if err != nil {
		return nil, err
	}
	ring := cred.NewRing(authority)
	so, err := o.serverOptions(ring)
	if err != nil {
		return nil, fmt.Errorf("configure server: %w", err)
	}
	chooseTiming(o.StockTiming, o.Logger)
	ns, err := run(so, newBridge(o.Logger, o.Voters))
	if err != nil {
		return nil, err
	}
	s := &Server{nats: ns, ring: ring, first: authority, options: o, log: o.Logger, stopped: make(chan struct{})}
	s.watchPeers()
	return s, nil
}

// claimData marks the data directory for this server, or checks that it is
// its. The authority returned signs for the accounts of the data.
func (o *Options) claimData(ctx context.Context) (*cred.Authority, error) {
	m, err := readMarker(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("read data directory: %w", err)
	}
	if m == nil {
		return o.settleIdentity(ctx)
	}
	id, err := cred.ParseIdentity(m.Identity)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrModeChanged, o.DataDir, err)
	}
	if err := m.fits(o.marker(id), o.DataDir); err != nil {
		return nil, err
	}
	if !holdsStreams(o.DataDir, id) {
		return o.settleIdentity(ctx)
	}
	return o.Authority.WithIdentity(id), nil
}

// settleIdentity marks the data directory with the identity of the cluster. It
// is settled anew as long as there is no stream that would be lost: a voter that
// was first started with a cookie of its own has met nobody, and its accounts
// would keep it apart from the others for ever.
func (o *Options) settleIdentity(ctx context.Context) (*cred.Authority, error) {
	id := o.knownIdentity(ctx)
	m := o.marker(id)
	if err := m.write(o.DataDir); err != nil {
		return nil, fmt.Errorf("mark data directory: %w", err)
	}
	return o.Authority.WithIdentity(id), nil
}

// knownIdentity is what the other voters say, or the cookie's own: a voter that
// lost its disk must find the accounts that an earlier cookie fixed.
func (o *Options) knownIdentity(ctx context.Context) cred.Identity {
	ctx, cancel := context.WithTimeout(ctx, identityWait)
	defer cancel()
	answers := make(chan Probe, len(o.Voters))
	asked := 0
	for _, p := range o.Voters {
		if o.clustered() && p.Name != o.Name {
			asked++
			go func() { answers <- ProbePeer(ctx, o.Authority, p.ClusterAddr, p.Name) }()
		}
	}
	known := o.Authority.Identity()
	for range asked {
		if p := <-answers; p.Answer == Accepts && p.Identity != (cred.Identity{}) {
			known = p.Identity
		}
	}
	return known
}

// identityWait is spent at starts without a stream on disk only.
const identityWait = 500 * time.Millisecond

// run starts nats-server. What it would end the process for becomes an error.
func run(so *server.Options, log *bridge) (*server.Server, error) {
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("configure server: %w", err)
	}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	ready := log.failure() == nil && ns.ReadyForConnections(startMax)
	if err := log.failure(); err != nil || !ready {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, startError(err)
	}
	return ns, nil
}

func startError(fatal error) error {
	switch {
	case fatal == nil:
		return fmt.Errorf("start server: ports are not open after %v", startMax)
	case strings.Contains(fatal.Error(), "address already in use"):
		return fmt.Errorf("%w: %w", ErrPortTaken, fatal)
	}
	return fmt.Errorf("start server: %w", fatal)
}

// Name is the server's name.
func (s *Server) Name() string { return s.options.Name }

// Authority is that of the options, or of the last Turn, with the identity of
// the data: what credentials for this server are made from.
func (s *Server) Authority() *cred.Authority { return s.ring.Authority() }

// ClientURL is where a client on this host connects.
func (s *Server) ClientURL() string {
	host, _, err := splitAddr(s.options.ClientListen)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	port := "0"
	if addr, ok := s.nats.Addr().(*net.TCPAddr); ok {
		port = fmt.Sprint(addr.Port)
	}
	return "tls://" + net.JoinHostPort(host, port)
}

// ConnOptions let a client that calls itself name connect to this server as u,
// inside the process: it has no other server to go to. For a client that can
// move to other voters use the options of Authority with ClientURL.
func (s *Server) ConnOptions(u cred.User, name string) ([]nats.Option, error) {
	opts, err := s.ring.ConnOptions(u, name)
	if err != nil {
		return nil, err
	}
	return append(opts, nats.InProcessServer(s.nats)), nil
}

// Shutdown hands over what this server leads, stops it and frees the data
// directory. When ctx ends first, its cause is returned, and the rest happens
// in the background.
func (s *Server) Shutdown(ctx context.Context) error {
	handOver, cancel := context.WithTimeout(ctx, handOverMax)
	defer cancel()
	s.handOver(handOver)
	go s.stop()
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop server %s: %w", s.options.Name, context.Cause(ctx))
	}
}

// Close is Shutdown without waiting for other voters to take over. It is not
// a crash: the server still resigns and says goodbye.
func (s *Server) Close() {
	go s.stop()
	<-s.stopped
}

func (s *Server) stop() {
	s.stopOnce.Do(func() {
		s.stopWatch()
		s.watching.Wait()
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		_ = s.lock.Close() // the kernel frees a lock even if this fails
		close(s.stopped)
	})
}
