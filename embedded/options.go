package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/bus/cred"
)

// Peer is a voter as the others see it.
type Peer struct {
	Name        string // server name, which is the node's name
	ClusterAddr string // host:port of its route listener, as others dial it
}

// Options describe one voter. Name, DataDir, ClientListen and Authority are
// needed; ClusterListen is when there are several voters.
type Options struct {
	Name      string          // unique and stable: the node's name
	Authority *cred.Authority // says the cluster's name too
	DataDir   string          // made if missing; belongs to this server alone
	Hosts     []string        // names and addresses by which others dial this server, for its certificate

	ClientListen     string // host:port to bind; port 0 takes a free one
	ClientAdvertise  string // host:port that clients are told; empty: what is bound
	ClusterListen    string // host:port to bind
	ClusterAdvertise string // host:port that voters are told; empty: what is bound

	// Voters are all voters, this one included, the same on every voter: an odd
	// number. Up to one, the server runs unclustered, without routes.
	Voters []Peer

	// OnPeer, if set, is told when the route to another voter comes (up) or
	// goes. It is called from one goroutine, in order, and must return soon.
	OnPeer func(name string, up bool)

	Logger      *slog.Logger // nil discards
	StockTiming bool         // leave the raft timers of nats-server: elections take 4 to 9 s
}

// ErrOptions is wrapped by errors about Options.
var ErrOptions = errors.New("invalid server options")

// Pings find connections whose other end is paused or cut off. Routes die
// after two unanswered pings, 1.0 to 1.5 s, before the lease of a node that was
// owner there can expire; clients after 2 s.
const (
	clientPingEvery = time.Second
	routePingEvery  = 500 * time.Millisecond
	pingsOutMax     = 2
)

// writeDeadline drops a connection that takes no data for so long. It is about
// the time after which pings would drop it too.
const writeDeadline = 2 * time.Second

// tlsTimeout is generous for hosts that are busy with something else.
const tlsTimeout = 5 * time.Second

func (o *Options) clustered() bool { return len(o.Voters) > 1 }

func (o *Options) validate() error {
	switch {
	case o.Name == "":
		return fmt.Errorf("%w: no name", ErrOptions)
	case o.Authority == nil:
		return fmt.Errorf("%w: no authority", ErrOptions)
	case o.DataDir == "":
		return fmt.Errorf("%w: no data directory", ErrOptions)
	}
	if _, _, err := splitAddr(o.ClientListen); err != nil {
		return fmt.Errorf("%w: client listen address: %w", ErrOptions, err)
	}
	return o.validateVoters()
}

func (o *Options) validateVoters() error {
	if len(o.Voters) > 0 && len(o.Voters)%2 == 0 {
		return fmt.Errorf("%w: %d voters are no safer than %d; expected an odd number", ErrOptions, len(o.Voters), len(o.Voters)-1)
	}
	if len(o.Voters) > 0 && !slices.ContainsFunc(o.Voters, func(p Peer) bool { return p.Name == o.Name }) {
		return fmt.Errorf("%w: %s is not among the voters", ErrOptions, o.Name)
	}
	if !o.clustered() {
		return nil
	}
	if _, port, err := splitAddr(o.ClusterListen); err != nil || port == 0 {
		return fmt.Errorf("%w: cluster listen address %q: expected host:port", ErrOptions, o.ClusterListen)
	}
	for i, p := range o.Voters {
		if _, port, err := splitAddr(p.ClusterAddr); err != nil || port == 0 {
			return fmt.Errorf("%w: cluster address %q of %s: expected host:port", ErrOptions, p.ClusterAddr, p.Name)
		}
		if slices.ContainsFunc(o.Voters[:i], func(q Peer) bool { return q.Name == p.Name || q.ClusterAddr == p.ClusterAddr }) {
			return fmt.Errorf("%w: voter %s (%s) is named twice", ErrOptions, p.Name, p.ClusterAddr)
		}
	}
	return nil
}

func splitAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: invalid port", addr)
	}
	return host, int(n), nil
}

// serverOptions translates o for nats-server. The ring's authority has the
// identity of the data.
func (o *Options) serverOptions(ring *cred.Ring) (*server.Options, error) {
	host, port, err := splitAddr(o.ClientListen)
	if err != nil {
		return nil, err
	}
	leaf := func(a *cred.Authority) (tls.Certificate, error) { return a.NewLeaf(o.Name, o.Hosts...) }
	if _, err := leaf(ring.Authority()); err != nil {
		return nil, err
	}
	so := &server.Options{
		ServerName:      o.Name,
		Host:            host,
		Port:            randomIfZero(port),
		ClientAdvertise: o.ClientAdvertise,
		NoSigs:          true,

		TLS:        true,
		TLSVerify:  true,
		TLSConfig:  ring.TLSConfig(leaf, nil),
		TLSTimeout: tlsTimeout.Seconds(),

		PingInterval:  clientPingEvery,
		MaxPingsOut:   pingsOutMax,
		WriteDeadline: writeDeadline,

		JetStream:              true,
		StoreDir:               o.DataDir, // JetStream adds its own directory
		SyncAlways:             true,
		DisableJetStreamBanner: true,
	}
	if err := trust(so, ring.Authority()); err != nil {
		return nil, err
	}
	if o.clustered() {
		return so, o.addCluster(so, ring.TLSConfig(leaf, serversOnly))
	}
	return so, nil
}

// randomIfZero: nats-server takes 0 for its default port, -1 for a free one.
func randomIfZero(port int) int {
	if port == 0 {
		return server.RANDOM_PORT
	}
	return port
}

// trust makes so believe in the operator of a, and in nothing else.
func trust(so *server.Options, a *cred.Authority) error {
	token, err := a.OperatorJWT()
	if err != nil {
		return fmt.Errorf("operator token: %w", err)
	}
	operator, err := jwt.DecodeOperatorClaims(token)
	if err != nil {
		return fmt.Errorf("operator token: %w", err)
	}
	accounts, err := a.AccountJWTs()
	if err != nil {
		return err
	}
	resolver := &server.MemAccResolver{}
	for name, account := range accounts {
		if err := resolver.Store(name, account); err != nil {
			return fmt.Errorf("account token: %w", err)
		}
	}
	so.TrustedOperators = []*jwt.OperatorClaims{operator}
	so.AccountResolver = resolver
	so.SystemAccount = a.Identity().System
	return nil
}

// addCluster lists exactly the voters as routes, the own address included: the
// number of routes is the number of votes that the first election waits for,
// and the server drops the route to itself.
func (o *Options) addCluster(so *server.Options, config *tls.Config) error {
	host, port, err := splitAddr(o.ClusterListen)
	if err != nil {
		return err
	}
	so.Cluster = server.ClusterOpts{
		Name:          o.Authority.Cluster(),
		Host:          host,
		Port:          port,
		Advertise:     o.ClusterAdvertise,
		TLSConfig:     config,
		TLSTimeout:    tlsTimeout.Seconds(),
		PingInterval:  routePingEvery,
		MaxPingsOut:   pingsOutMax,
		WriteDeadline: writeDeadline,
		PoolSize:      1, // one connection for the one account, beside the system account's
	}
	for _, p := range o.Voters {
		so.Routes = append(so.Routes, &url.URL{Scheme: "nats-route", Host: p.ClusterAddr})
	}
	return nil
}

// errNotAServer refuses at the routes' port who may be a client only: whatever
// calls itself a server there is believed every word.
var errNotAServer = errors.New("the certificate is a client's")

func serversOnly(cs tls.ConnectionState) error {
	if !cred.IsServer(cs.PeerCertificates[0]) {
		return errNotAServer
	}
	return nil
}
