package manager

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/osproc"
)

// startsDir is where processes of apps find what they are given as files, below
// the data directory.
const startsDir = "starts"

// openStarts makes the directory anew: what a killed life left there is of no
// use to anybody.
func (p *parts) openStarts(dir string) error {
	p.starts = filepath.Join(dir, startsDir)
	err := os.RemoveAll(p.starts)
	if err == nil {
		err = os.Mkdir(p.starts, 0o700)
	}
	if err != nil {
		return fmt.Errorf("directory for what apps are given: %w", err)
	}
	return nil
}

// appLogin makes a user for one start of an app, with the rights of that app
// and never those of the node.
func (p *parts) appLogin(s app.Start) (*cred.Login, bus.AppRights, error) {
	r := bus.Cluster(p.node.opts.Cluster).AppRights(s.App)
	l, err := p.identified().NewLogin(cred.Grant{
		Name: fmt.Sprintf("app %s at %s", s.App, s.Node), Publish: r.Publish, Subscribe: r.Subscribe,
	})
	if err != nil {
		return nil, r, fmt.Errorf("NATS login of the app: %w", err)
	}
	return l, r, nil
}

// identified is the authority for the accounts of this cluster's data, which a
// former cookie may have fixed.
func (p *parts) identified() *cred.Authority {
	if p.server != nil {
		return p.server.Authority()
	}
	state, err := p.conn.NATS().TLSConnectionState()
	if err == nil && len(state.PeerCertificates) > 0 {
		if id, ok := cred.IdentityOf(state.PeerCertificates[0]); ok {
			return p.node.ring.Authority().WithIdentity(id)
		}
	}
	return p.node.ring.Authority()
}

// appURLs are the servers for apps: this node's own first, if it has one. It
// ends with the node, and so do the node's apps; but one that has escaped can
// still be told by the others that its time is over.
func (p *parts) appURLs() string {
	urls := p.node.plan.clientURLs
	if p.server != nil {
		urls = slices.Insert(slices.Clone(urls[1:]), 0, p.server.ClientURL())
	}
	return strings.Join(urls, ",")
}

// logins are those of the apps that run: another cookie makes them anew.
type logins struct {
	mu  sync.Mutex // held while one is made, so that none is missed
	all []granted
}

// granted is a login that an app has: in files that go with the app, or for as
// long as the app holds it.
type granted struct {
	login *cred.Login // nil: held is looked at
	dir   string
	held  weak.Pointer[cred.Login]
}

// there is the login, or nil if its app is gone.
func (g *granted) there() *cred.Login {
	if g.login == nil {
		return g.held.Value()
	}
	if _, err := os.Stat(g.dir); err != nil {
		return nil
	}
	return g.login
}

// addLocked keeps one, and forgets those whose apps are gone.
func (l *logins) addLocked(g granted) {
	l.all = append(slices.DeleteFunc(l.all, func(g granted) bool { return g.there() == nil }), g)
}

// renew makes all of them anew. What an app has as files it reads again when it
// connects.
func (l *logins) renew(a *cred.Authority) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, g := range l.all {
		login := g.there()
		if login == nil {
			continue
		}
		err := login.Renew(a)
		if err == nil && g.dir != "" {
			err = login.Rewrite(g.dir)
		}
		if err != nil && g.there() != nil { // it may have ended meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// grantFiles is how a command is let in.
func (p *parts) grantFiles(s app.Start, dir string) (osproc.NATS, error) {
	p.logins.mu.Lock()
	defer p.logins.mu.Unlock()
	l, r, err := p.appLogin(s)
	if err != nil {
		return osproc.NATS{}, err
	}
	p.logins.addLocked(granted{login: l, dir: dir})
	in := func(name string) string { return filepath.Join(dir, name) }
	return osproc.NATS{
		URL: p.appURLs(), Inbox: r.Inbox,
		Creds: in(cred.FileCreds), CA: in(cred.FileCA), Cert: in(cred.FileCert), Key: in(cred.FileKey),
	}, l.Write(dir)
}

// grantGo is how an app of this program is let in.
func (p *parts) grantGo(s *app.Start) error {
	p.logins.mu.Lock()
	defer p.logins.mu.Unlock()
	l, r, err := p.appLogin(*s)
	if err != nil {
		return err
	}
	p.logins.addLocked(granted{held: weak.Make(l)})
	s.NATS = &app.NATS{URL: p.appURLs(), Inbox: r.Inbox, Stream: r.Stream, Token: l.Token, Sign: l.Sign, TLS: l.TLS}
	return nil
}
