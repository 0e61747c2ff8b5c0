package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Settings of every connection. The defaults of the client library suit
// programs that can wait: it notices a frozen server after four to six minutes
// and lets two seconds pass between attempts.
const (
	pingEvery     = time.Second            // a frozen server is noticed after pingEvery·(pingsMax+1)
	pingsMax      = 2                      // unanswered pings
	reconnectWait = 100 * time.Millisecond // after each server was tried once
	reconnectMore = 50 * time.Millisecond  // at random on top, so that nodes don't come all at once
	connectMax    = 2 * time.Second        // TCP, TLS and login of one attempt
	refusedEvery  = time.Second            // between two Events.Refused
	logEvery      = 10 * time.Second       // between two log lines of one kind
)

// Options say whom to connect to and as whom.
type Options struct {
	URLs  []string      // tried in this order
	Name  string        // of the connection, as "nats server report connections" shows it
	TLS   *tls.Config   // nil: as the URL and the server want
	Login []nats.Option // credentials; also nats.InProcessServer

	// Key, if not nil, is asked at every attempt, the first and all later ones,
	// which nkey to show, and how to sign with it. It must not block.
	Key func() (public string, sign nats.SignatureHandler)

	InboxPrefix string // where replies go; empty: _INBOX

	// RefusedFor is how long every server that answers must refuse before Dial
	// gives up. At 0 one round over the servers is enough.
	RefusedFor time.Duration

	// Once lets Dial try every server once, and give up if nobody lets us in. Other
	// servers than URLs, which these may tell of, are never tried.
	Once bool

	// Alternates are the servers for Alternate. Empty: the others that the
	// connection knows of.
	Alternates []string

	Events Events
	Logger *slog.Logger // nil: none
}

// Events are told what happens to the connection. Each func may be nil. See the
// package's contract for how they are called.
type Events struct {
	// Attempt is called by Dial after every attempt that failed, on its own
	// goroutine. The error wraps ErrRefused or ErrUnreachable.
	Attempt func(url string, err error)

	// Connected is called for the first connection and every later one.
	Connected func(url, serverName string)

	// Disconnected says that the connection is gone; it is being renewed.
	Disconnected func(err error)

	// Refused says that a server refuses to have us back. The error wraps
	// ErrRefused. Other servers, and this one, are still tried.
	Refused func(err error)

	// Forbidden says that the server forbids this user what it was asked for:
	// the server's words, which name the operation and the subject.
	Forbidden func(what string)
}

// Errors of Dial.
var (
	// ErrRefused: a server answers, and rejects our credentials or our
	// certificate, or shows one that is not of our authority.
	ErrRefused = errors.New("refused by the NATS server")

	// ErrUnreachable: nobody answers.
	ErrUnreachable = errors.New("no NATS server reachable")
)

// Conn is a connection that heals itself until it is closed.
type Conn struct {
	opts Options
	log  *slog.Logger

	life context.Context // ends with Close
	end  context.CancelFunc
	nc   atomic.Pointer[nats.Conn] // set before Dial returns, but callbacks come earlier
	gone chan struct{}             // closed when nc is, after the last callback

	refused   seldom
	logged    seldom
	forbidden seldom
	alternate alternate
}

// Dial connects, trying all servers again and again until ctx is done or, for
// RefusedFor, everybody who answers has refused. The error wraps ErrRefused
// when somebody refused in the last round, else ErrUnreachable.
//
// It does not use the client library's own retry for the first connection:
// that hides which server refused and why.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{opts: o, log: o.Logger, gone: make(chan struct{}), refused: seldom{every: refusedEvery}, logged: seldom{every: logEvery}, forbidden: seldom{every: logEvery}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	// While dialling, ctx ends attempts; afterwards only Close does.
	stop := context.AfterFunc(ctx, c.end)
	if err := c.first(ctx); err != nil {
		c.end()
		return nil, err
	}
	if !stop() {
		c.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	}
	return c, nil
}

// first makes the first connection.
func (c *Conn) first(ctx context.Context) error {
	base, err := c.options()
	if err := errors.Join(err, checkURLs(c.opts.URLs)); err != nil {
		return err
	}
	var refusedSince time.Time
	for {
		err := c.round(ctx, base)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, nats.ErrNkeysNotSupported), c.opts.Once:
			return err // no time makes it ask for a key
		case !errors.Is(err, ErrRefused):
			refusedSince = time.Time{}
		case refusedSince.IsZero():
			refusedSince = time.Now()
		}
		if !refusedSince.IsZero() && time.Since(refusedSince) >= c.opts.RefusedFor {
			return err
		}
		if !pause(ctx, reconnectDelay()) {
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// round tries every server once. Its error is that of a server that refused, if
// there is one, else of the last.
func (c *Conn) round(ctx context.Context, base nats.Options) error {
	failed := fmt.Errorf("%w: no address given", ErrUnreachable)
	for _, addr := range c.addresses(base) {
		nc, err := c.connectTo(base, addr)
		if err == nil {
			c.nc.Store(nc)
			c.usePool(nc)
			return nil
		}
		err = classify(addr, err)
		if c.opts.Events.Attempt != nil {
			c.opts.Events.Attempt(addr, err)
		}
		if !errors.Is(failed, ErrRefused) {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// addresses are those to try. A server in this process has none.
func (c *Conn) addresses(base nats.Options) []string {
	if base.InProcessServer != nil {
		return []string{"nats://in-process"}
	}
	return c.opts.URLs
}

// usePool lets a connection that was made to one server reconnect to all. If
// the addresses don't fit together (some are for websockets), it keeps to the
// one that works.
func (c *Conn) usePool(nc *nats.Conn) {
	if nc.Opts.InProcessServer != nil {
		return
	}
	if err := nc.SetServerPool(slices.Concat(c.opts.URLs, nc.DiscoveredServers())); err != nil {
		c.log.Warn("reconnecting to one NATS server only", "cause", err)
	}
}

func (c *Conn) connectTo(o nats.Options, addr string) (*nats.Conn, error) {
	o.Url = addr
	if c.opts.Key != nil {
		o.Nkey, o.SignatureCB = c.opts.Key()
	}
	return o.Connect()
}

// ErrURL is wrapped by Dial's error for an address that can't be read.
var ErrURL = errors.New("invalid NATS address")

func checkURLs(urls []string) error {
	for _, addr := range urls {
		if !strings.Contains(addr, "://") {
			addr = "nats://" + addr
		}
		// The parser's own error would show a password.
		if u, err := url.Parse(addr); err != nil || u.Hostname() == "" {
			return fmt.Errorf("%w: expected nats://HOST:PORT", ErrURL)
		}
	}
	return nil
}

// options are those of the connection, its server left open.
func (c *Conn) options() (nats.Options, error) {
	o, err := c.common()
	if err != nil {
		return o, err
	}
	o.CustomDialer = dialer{c.life, c.showKey}
	o.IgnoreDiscoveredServers = c.opts.Once
	o.MaxReconnect = -1
	o.IgnoreAuthErrorAbort = true // whoever refuses us now may be restarted with our cookie
	o.CustomReconnectDelayCB = func(int) time.Duration { return c.betweenRounds() }
	o.ConnectedCB = c.connected
	o.ReconnectedCB = o.ConnectedCB
	o.DisconnectedErrCB = c.disconnected
	o.AsyncErrorCB = func(_ *nats.Conn, sub *nats.Subscription, err error) { c.asyncError(sub, err) }
	o.ClosedCB = func(*nats.Conn) { close(c.gone) }
	return o, nil
}

// common are the options of both connections.
func (c *Conn) common() (nats.Options, error) {
	o := nats.GetDefaultOptions()
	for _, opt := range c.opts.Login {
		if err := opt(&o); err != nil {
			return o, fmt.Errorf("credentials: %w", err)
		}
	}
	o.Name = c.opts.Name
	o.InboxPrefix = c.opts.InboxPrefix
	o.Timeout = connectMax
	o.PingInterval = pingEvery
	o.MaxPingsOut = pingsMax
	o.ReconnectBufSize = -1 // see the package's contract: nothing is sent late
	o.CustomDialer = dialer{life: c.life}
	if c.opts.TLS != nil {
		o.Secure = true
		o.TLSConfig = c.opts.TLS
	}
	return o, nil
}

// dialer ends an attempt when the connection is given up.
type dialer struct {
	life   context.Context
	before func() // nil: nothing has to be done before an attempt
}

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	if d.before != nil {
		d.before()
	}
	nd := net.Dialer{Timeout: connectMax}
	return nd.DialContext(d.life, network, addr)
}

// showKey lets an attempt of the connection show the key of now. The library
// has no callback for that: it reads the key from the connection's options when
// it answers the server's greeting, and it calls its dialer before, on the same
// goroutine, under the same hold of the connection's lock. So nobody reads
// meanwhile what is written here, and key and signature are of one cookie. An
// attempt before Dial has returned shows what Dial has asked for.
func (c *Conn) showKey() {
	if nc := c.nc.Load(); nc != nil && c.opts.Key != nil {
		nc.Opts.Nkey, nc.Opts.SignatureCB = c.opts.Key()
	}
}

func reconnectDelay() time.Duration { return reconnectWait + rand.N(reconnectMore) }

// pause reports false when ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// betweenRounds runs on the library's reconnecting goroutine after all servers
// were tried in vain. It is the only place where a TLS refusal during
// reconnection can be seen: the library reports those to nobody.
func (c *Conn) betweenRounds() time.Duration {
	if nc := c.nc.Load(); nc != nil {
		c.maybeRefused(nc.LastError())
	}
	return reconnectDelay()
}

func (c *Conn) maybeRefused(err error) {
	if !isRefusal(err) || c.life.Err() != nil {
		return
	}
	if _, due := c.refused.due("refused"); !due {
		return
	}
	c.log.Warn("refused by the NATS server", "cause", err)
	if c.opts.Events.Refused != nil {
		c.opts.Events.Refused(fmt.Errorf("%w: %w", ErrRefused, err))
	}
}

func (c *Conn) connected(nc *nats.Conn) {
	c.log.Info("connected to NATS", "url", redacted(nc.ConnectedUrl()), "server", nc.ConnectedServerName())
	if c.opts.Events.Connected != nil {
		c.opts.Events.Connected(redacted(nc.ConnectedUrl()), nc.ConnectedServerName())
	}
}

func (c *Conn) disconnected(nc *nats.Conn, err error) {
	if nc.IsClosed() {
		return // by us
	}
	c.log.Warn("disconnected from NATS", "cause", err)
	if c.opts.Events.Disconnected != nil {
		c.opts.Events.Disconnected(err)
	}
}

// asyncError hears of refused logins, refused permissions and slow consumers.
func (c *Conn) asyncError(sub *nats.Subscription, err error) {
	if isRefusal(err) {
		c.maybeRefused(err)
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		what := strings.TrimPrefix(err.Error(), nats.ErrPermissionViolation.Error()+": ")
		if _, due := c.forbidden.due(what); due && c.opts.Events.Forbidden != nil {
			c.opts.Events.Forbidden(what)
		}
	}
	if n, due := c.logged.due(err.Error()); due {
		subject := ""
		if sub != nil {
			subject = sub.Subject
		}
		c.log.Warn("NATS error", "cause", err, "subject", subject, "suppressed", n)
	}
}

// classify tells a server that refuses from one that can't be reached. The
// address is shown without a password that may be in it.
func classify(addr string, err error) error {
	addr = redacted(addr)
	if isRefusal(err) {
		return fmt.Errorf("%w: %s: %w", ErrRefused, addr, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, addr, err)
}

// redacted is an address without the password or token in it.
func redacted(addr string) string {
	u, err := url.Parse(addr)
	if err != nil || u.User == nil {
		return addr
	}
	if _, login := u.User.Password(); !login {
		u.User = url.User("xxxxx") // a token
	}
	return u.Redacted()
}

// refusals are the library's errors that mean: it answers, and doesn't want us
// (or isn't what we want).
var refusals = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported,
}

// Refuses reports whether an error of the client library means that a server
// answers and does not want us.
func Refuses(err error) bool { return isRefusal(err) }

func isRefusal(err error) bool {
	if err == nil {
		return false
	}
	if slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(err, refusal) }) {
		return true
	}
	// At login the server's line is passed on as it is, not as the sentinel.
	if strings.Contains(strings.ToLower(err.Error()), "user authentication ") {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	// An alert of the other side's TLS, such as "unknown certificate
	// authority", has no type of its own but this operation's name.
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// NATS is the connection itself, for package kv and for services. It must not
// be closed, and its handlers must not be replaced.
func (c *Conn) NATS() *nats.Conn { return c.nc.Load() }

// Drain lets subscriptions finish what has arrived, sends what is pending, and
// closes: at the latest when ctx is done, and then it returns its error.
func (c *Conn) Drain(ctx context.Context) error {
	defer c.Close()
	if err := c.NATS().Drain(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %w", context.Cause(ctx))
	}
}

// Redial makes the connection anew, with the credentials of now: subscriptions
// stay, and what is published meanwhile is refused, as at any loss of the
// connection. It returns when it is there, or with the error of ctx.
func (c *Conn) Redial(ctx context.Context) error {
	c.alternate.forget()
	nc := c.NATS()
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	if err := nc.ForceReconnect(); err != nil {
		return fmt.Errorf("connect anew: %w", err)
	}
	for {
		select {
		case status := <-changed:
			if status == nats.CONNECTED {
				return nil
			}
			return fmt.Errorf("connect anew: %w", nats.ErrConnectionClosed)
		case <-ctx.Done():
			return fmt.Errorf("connect anew: %w", context.Cause(ctx))
		}
	}
}

// Close ends both connections and returns when no callback of Events runs any
// more.
func (c *Conn) Close() {
	c.end()
	c.alternate.close()
	c.NATS().Close()
	<-c.gone
}
