package manager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
)

// hintLogin is for an external NATS that refuses.
const hintLogin = "check the credentials: --creds, --nkey, --context, user and password or a token in the URL; or tell the server the cookie's key: regent cookie creds --stanza"

// dial connects this node: to its own cluster's servers with what the cookie
// gives, to others with what it was given.
func (p *parts) dial(ctx context.Context) (*bus.Conn, error) {
	n := p.node
	if !n.plan.external {
		login, err := p.ownLogin()
		if err != nil {
			return nil, err
		}
		return bus.Dial(ctx, p.busOptions(login))
	}
	if n.plan.login.Shows() {
		login, err := n.plan.login.Options()
		if err != nil {
			return nil, err
		}
		return bus.Dial(ctx, p.busOptions(login))
	}
	return p.dialWithKey(ctx)
}

// dialWithKey shows the key that follows from the cookie. A server that does
// not want it may want nothing: that is allowed, and said.
func (p *parts) dialWithKey(ctx context.Context) (*bus.Conn, error) {
	n := p.node
	login, err := n.plan.login.Options()
	if err != nil {
		return nil, err
	}
	o := p.busOptions(login)
	o.Key = p.key
	conn, refusal := bus.Dial(ctx, o)
	if !errors.Is(refusal, bus.ErrRefused) {
		p.cookieKey = refusal == nil
		return conn, refusal
	}
	o.Key = nil
	if !errors.Is(refusal, nats.ErrNkeysNotSupported) {
		o.RefusedFor = 0 // it was tried for long enough
	}
	if conn, err = bus.Dial(ctx, o); err != nil {
		return nil, err
	}
	n.log.Warn("no credentials are sent to the external NATS: whoever reaches it can act as a node", "hint", "tell it the cookie's key: regent cookie creds --stanza; or --creds FILE")
	return conn, nil
}

// key is the one that follows from the cookie of now.
func (p *parts) key() (string, nats.SignatureHandler) { return p.node.ring.NKey(cred.App) }

// sameLogin puts into o what the first connection got in with.
func (p *parts) sameLogin(o *bus.Options) (err error) {
	if !p.node.plan.external {
		o.Login, err = p.ownLogin()
		return err
	}
	if p.cookieKey {
		o.Key = p.key
	}
	o.Login, err = p.node.plan.login.Options()
	return err
}

func (p *parts) ownLogin() ([]nats.Option, error) {
	name := string(p.node.plan.self)
	if p.server != nil {
		return p.server.ConnOptions(cred.App, name)
	}
	return p.node.ring.ConnOptions(cred.App, name)
}

func (p *parts) busOptions(login []nats.Option) bus.Options {
	n := p.node
	return bus.Options{
		URLs: n.plan.clientURLs, Name: string(n.plan.self), RefusedFor: refusedFor,
		Alternates: n.plan.clientURLs, Logger: n.log, Login: login, InboxPrefix: n.opts.InboxPrefix,
		Events: bus.Events{Attempt: n.attemptFailed(), Forbidden: p.forbidden},
	}
}

// forbidden: a right is missing. A node that has no session yet ends, since it
// would never have one, or hear nobody. One that has is not stopped by a right
// that was taken away: its lease decides.
func (p *parts) forbidden(what string) {
	n := p.node
	if !n.plan.external {
		return
	}
	n.log.Error("the NATS server forbids what a node needs", "server_says", what)
	ours := func(prefix string) bool { return strings.Contains(what, `"`+prefix) }
	if !strings.Contains(what, "Subscription") && !slices.ContainsFunc([]string{"regent.", "$KV.", "$JS."}, ours) {
		return // somebody's inbox
	}
	n.mu.Lock()
	a := n.agent
	n.mu.Unlock()
	if a == nil || a.Status().Session == "" {
		n.end(Exit{Code: ExitRefused, Reason: "the NATS server forbids what a node needs: " + what, Hint: hintRights})
	}
}

const hintRights = "give this user the permissions that docs/deploy.md lists, and regent cookie creds --stanza prints"

// waitingEvery is the time between two lines about what a node waits for before
// it is connected.
const waitingEvery = 10 * time.Second

// attemptFailed says why there is no connection yet, at once and then seldom.
func (n *Node) attemptFailed() func(string, error) {
	var next time.Time
	return func(_ string, err error) {
		if now := time.Now(); !now.Before(next) && !errors.Is(err, nats.ErrNkeysNotSupported) {
			next = now.Add(waitingEvery)
			n.log.Warn("waiting for a NATS server", "cause", err)
		}
	}
}
