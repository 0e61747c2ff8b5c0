package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
	"github.com/seed7529eb29/regent/policy/node"
)

// target says which cluster a command talks to, and how to get in.
type target struct {
	server, context string
	loginFlags
	cluster    string
	cookieFile string
}

func (t *target) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&t.server, "server", "", "NATS `URL` (default $NATS_URL, else a node on this machine)")
	fs.StringVar(&t.context, "context", "", "nats CLI context `NAME`")
	fs.StringVar(&t.cluster, "cluster", defaultCluster, "`NAME` of the cluster")
	fs.StringVar(&t.cookieFile, "cookie-file", "", "cookie `FILE` (default $REGENT_COOKIE_FILE, else ~/.regent.cookie)")
	t.loginFlags.bind(fs, "(default: made from the cookie)")
}

// reachMax is how long a command looks for somebody who answers.
const reachMax = 10 * time.Second

// link is a connection to the NATS servers of a cluster.
type link struct {
	nc        *nats.Conn
	close     func()
	conn      *bus.Conn  // nil: by a context of the nats CLI
	ring      *cred.Ring // of the cookie, at the nodes' servers; nil: something else let us in
	keyed     bool       // somebody else's servers know the cookie's key
	cluster   bus.Cluster
	apiPrefix string          // of JetStream; "" for the usual one
	local     []nodefile.File // nodes of the cluster on this machine
}

// dial finds the cluster: --server or NATS_URL, --context, a node on this
// machine. The errors say how to exit.
func (t *target) dial(ctx context.Context, warn io.Writer) (*link, error) {
	cluster, err := bus.ParseCluster(t.cluster)
	if err != nil {
		return nil, usage("--cluster", "%w", err)
	}
	l := &link{cluster: cluster, apiPrefix: t.apiPrefix()}
	files, listErr := nodefile.List()
	l.local = slices.DeleteFunc(slices.Clone(files), func(f nodefile.File) bool { return f.Cluster != t.cluster })
	ctx, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	server := t.server
	if server == "" && t.context == "" {
		server = os.Getenv("NATS_URL")
	}
	switch {
	case server != "":
		return l, t.dialServers(ctx, l, splitURLs(server), true, warn)
	case t.context != "":
		return l, t.dialContext(l)
	case len(l.local) == 0:
		return nil, nobodyHere(t.cluster, files, listErr)
	}
	var urls []string
	for _, f := range l.local {
		urls = append(urls, splitURLs(f.URL)...)
	}
	return l, t.dialServers(ctx, l, urls, false, warn)
}

func splitURLs(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func nobodyHere(cluster string, others []nodefile.File, listErr error) error {
	e := &ExitError{
		Code: exitNoCluster, Err: fmt.Errorf("no cluster: no node of cluster %q runs on this machine as this user", cluster),
		Hint: "start one with: regent node …; or say where the cluster is with --server URL",
	}
	switch {
	case listErr != nil:
		e.Err = fmt.Errorf("no cluster: %w", listErr)
	case len(others) > 0:
		e.Hint = fmt.Sprintf("%s of cluster %q runs here: add --cluster %[2]s", others[0].Node, others[0].Cluster)
	}
	return e
}

// dialServers connects with the login that was given, else with that of the
// cookie. A server that was named may do without a cookie.
func (t *target) dialServers(ctx context.Context, l *link, urls []string, named bool, warn io.Writer) error {
	given, err := t.given(urls)
	if err != nil {
		return err
	}
	var c *bus.Conn
	if given.Shows() {
		c, err = t.dialWith(ctx, urls, given)
	} else {
		c, err = t.dialCookie(ctx, l, urls, given, named, warn)
	}
	if err != nil {
		return dialError(err)
	}
	l.nc, l.close, l.conn = c.NATS(), c.Close, c
	return nil
}

// given is the login of flags and URLs.
func (t *target) given(urls []string) (cred.Access, error) {
	l := t.login()
	for _, addr := range urls {
		if u, err := url.Parse(addr); err == nil {
			l = l.WithUserinfo(u.User)
		}
	}
	if err := l.Check(); err != nil {
		return l, usage("", "%w", err)
	}
	return l, nil
}

const clientName = "regent client"

func (t *target) dialWith(ctx context.Context, urls []string, login cred.Access, more ...nats.Option) (*bus.Conn, error) {
	opts, err := login.Options()
	if err != nil {
		return nil, err
	}
	// What stands in a URL is in the login: a key beside it would be one too many.
	plain := slices.Clone(urls)
	for i, addr := range plain {
		if u, err := url.Parse(addr); err == nil && u.User != nil {
			u.User = nil
			plain[i] = u.String()
		}
	}
	return bus.Dial(ctx, bus.Options{URLs: plain, Name: clientName, Login: append(opts, more...)})
}

// dialCookie shows what follows from the cookie: to the nodes' servers, which
// have its certificates, credentials; to others, which have no TLS or that of
// --tlsca, its key; and to those that want no key, nothing.
func (t *target) dialCookie(ctx context.Context, l *link, urls []string, given cred.Access, named bool, warn io.Writer) (*bus.Conn, error) {
	a, next, err := t.authorities()
	switch {
	case errors.Is(err, fs.ErrNotExist) && named:
		fmt.Fprintln(warn, "regent: warning: no cookie and no --creds: connecting without credentials")
		return t.dialWith(ctx, urls, given)
	case err != nil:
		return nil, err
	}
	if given == (cred.Access{}) {
		c, err := l.dialNodes(ctx, urls, a, next)
		if !errors.Is(err, nats.ErrSecureConnWanted) {
			return c, err
		}
	}
	c, refusal := t.dialWith(ctx, urls, given, a.NKeyOption(cred.App))
	if next != nil && errors.Is(refusal, bus.ErrRefused) && !errors.Is(refusal, nats.ErrNkeysNotSupported) {
		c, refusal = t.dialWith(ctx, urls, given, next.NKeyOption(cred.App)) // the old one is known no more
	}
	if !errors.Is(refusal, bus.ErrRefused) {
		l.keyed = refusal == nil
		return c, refusal
	}
	if c, err = t.dialWith(ctx, urls, given); err != nil {
		return nil, err
	}
	fmt.Fprintln(warn, "regent: warning: the server gets no credentials: it does not ask for the cookie's key")
	return c, nil
}

// dialNodes shows nodes' servers the cookie. While it is being replaced by next
// both are accepted, and next is shown where the cookie is refused.
func (l *link) dialNodes(ctx context.Context, urls []string, a, next *cred.Authority) (*bus.Conn, error) {
	ways := []*cred.Authority{a}
	if next != nil {
		ways = []*cred.Authority{a.Accepting(next), next.Accepting(a)}
	}
	ring := cred.NewRing(ways[0])
	login, err := ring.ConnOptions(cred.App, clientName)
	if err != nil {
		return nil, failed("credentials", err)
	}
	var c *bus.Conn
	for _, way := range ways {
		ring.Turn(way)
		if c, err = bus.Dial(ctx, bus.Options{URLs: urls, Name: clientName, Login: login}); !errors.Is(err, bus.ErrRefused) || errors.Is(err, nats.ErrSecureConnWanted) {
			break
		}
	}
	l.ring = ring
	return c, err
}

// authorities are that of the cookie and that of the one which will take its
// place, nil if there is none.
func (t *target) authorities() (a, next *cred.Authority, err error) {
	s := CookieSource{File: t.cookieFile, Insecure: true} // its nodes decide what is too weak
	if a, err = s.existing(t.cluster); err != nil {
		return nil, nil, err
	}
	s, ok := s.next()
	if !ok {
		return a, nil, nil
	}
	// Its keys are not saved beside it: the file will have another name soon.
	cookie, err := s.LoadExisting()
	if err == nil {
		next, err = cred.Derive(cookie, t.cluster)
	}
	return a, next, err
}

func dialError(err error) error {
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e
	}
	e := &ExitError{Code: exitNoCluster, What: "connect", Err: err, Hint: "check that a node runs, or give --server URL"}
	if errors.Is(err, bus.ErrRefused) {
		e.Code = exitRefused
		e.Hint = "use this cluster's cookie (--cookie-file, REGENT_COOKIE_FILE) or credentials (--creds, --nkey, --context); compare with: regent cookie show"
	}
	return e
}

// dialContext connects as the nats CLI does. Flags win over what the context
// says.
func (t *target) dialContext(l *link) error {
	opts := []nats.Option{nats.Name(clientName), nats.Timeout(reachMax)}
	login := t.login()
	if err := login.Check(); err != nil {
		return usage("", "%w", err)
	}
	more, err := login.Options()
	if err != nil {
		return usage("", "%w", err)
	}
	if _, err := loadContext(t.context); err != nil {
		return usage("--context "+t.context, "%w", err)
	}
	path, err := contextPath(t.context)
	if err != nil {
		return usage("--context "+t.context, "%w", err)
	}
	nc, settings, err := natscontext.Connect(path, append(opts, more...)...)
	switch {
	case err != nil && bus.Refuses(err):
		return &ExitError{Code: exitRefused, What: "connect", Err: err, Hint: "check the credentials of nats context " + t.context}
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), isNetError(err):
		return &ExitError{Code: exitNoCluster, What: "connect", Err: err, Hint: "check the URL of nats context " + t.context}
	case err != nil:
		return usage("--context "+t.context, "%w", err)
	}
	l.nc, l.close = nc, nc.Close
	if l.apiPrefix == "" {
		l.apiPrefix = apiPrefixOf(settings)
	}
	return nil
}

func isNetError(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// localNode is the node that a command means when it names none.
func (l *link) localNode(what string) (node.Name, error) {
	switch len(l.local) {
	case 1:
		return l.local[0].Node, nil
	case 0:
		e := usage(what, "no node of cluster %q runs on this machine as this user", l.cluster)
		e.Hint = "say which one is meant with --on NODE"
		return "", e
	}
	var names []string
	for _, f := range l.local {
		names = append(names, string(f.Node))
	}
	e := usage(what, "several nodes run on this machine: %s", strings.Join(names, ", "))
	e.Hint = "say which one is meant with --on NODE"
	return "", e
}
