package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

// Patience with an external NATS when another cookie is taken.
const (
	bucketTurnMax = 5 * time.Second // until the bucket has it
	keyTrialMax   = 5 * time.Second // until a server has shown what it does with its key
)

// turnOutside goes by other cookies on an external NATS: what changes there is
// whose the bucket is and, where the servers know the cookie's key, which key
// connections and warden show. The bucket is first: it accepts both cookies as
// long as anybody uses the old one, so it may be ahead of a node whose step fails.
func (p *parts) turnOutside(ctx context.Context, t turnOf) error {
	n := p.node
	a, err := n.authorityOf(t.own, t.also)
	if err != nil {
		return err
	}
	reach, err := p.reach(t.own, t.also)
	if err != nil {
		return err
	}
	shown := p.cookieKey && t.other
	if shown {
		if err := p.tryKey(ctx, a); err != nil {
			return err
		}
	}
	bucket, cancel := context.WithTimeout(ctx, bucketTurnMax)
	defer cancel()
	if err := p.store.Turn(bucket, a.Fingerprint(), a.Fingerprints()); err != nil {
		return err
	}
	before, kept := n.ring.Authority(), n.cookies.kept
	if err := p.keep(t.kept); err != nil {
		return err
	}
	n.ring.Turn(a)
	if !shown {
		return nil
	}
	limit := n.plan.lease.KVOutage / 2 // there, and back again if need be
	if err := p.redial(ctx, limit); err != nil {
		n.ring.Turn(before)
		if back := errors.Join(p.keep(kept), p.redial(context.WithoutCancel(ctx), limit)); back != nil {
			n.log.Error("back to the cookie of before", "err", back)
		}
		return err
	}
	p.warden.Renew(reach)
	return nil
}

// tryKey shows the key that follows from another cookie to every server that the
// connection may come to, and leads each of those that answer to the bucket: by a
// key that is refused, or is that of a user of another account or without rights,
// the session would be lost.
func (p *parts) tryKey(ctx context.Context, a *cred.Authority) error {
	ctx, cancel := context.WithTimeout(ctx, keyTrialMax)
	defer cancel()
	servers := p.conn.NATS().Servers()
	answers := make(chan error, len(servers))
	for _, addr := range servers {
		go func() { answers <- p.tryKeyAt(ctx, a, addr) }()
	}
	var refused, away []error
	for range servers {
		switch err := <-answers; {
		case errors.Is(err, bus.ErrUnreachable):
			away = append(away, err) // it may be down, or have an address for others
		case err != nil:
			refused = append(refused, err)
		}
	}
	if len(away) == len(servers) {
		refused = away
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w: %w", ErrCookieKey, refused[0])
	}
	return nil
}

func (p *parts) tryKeyAt(ctx context.Context, a *cred.Authority, addr string) error {
	n, ring := p.node, cred.NewRing(a)
	login, err := n.plan.login.Options()
	if err != nil {
		return err
	}
	conn, err := bus.Dial(ctx, bus.Options{
		URLs: []string{addr}, Name: string(n.plan.self) + " (another cookie)", Once: true, Login: login, InboxPrefix: n.opts.InboxPrefix,
		Key: func() (string, nats.SignatureHandler) { return ring.NKey(cred.App) },
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	bucket, err := kv.Bind(ctx, conn.NATS(), kv.Options{Cluster: n.opts.Cluster, Node: n.opts.Name, APIPrefix: n.opts.JetStream})
	if err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	if ours := p.store.identity(); bucket.Identity() != ours {
		return fmt.Errorf("%s: by it there is another bucket, %s, not %s", addr, bucket.Identity(), ours)
	}
	if _, err := bucket.Probe(ctx); err != nil {
		return fmt.Errorf("%s: by it nothing can be written: %w", addr, err)
	}
	return nil
}

// identity is that of the bucket; empty before it is open.
func (s *store) identity() policy.Identity {
	if o := s.opened.Load(); o != nil {
		return o.kv.Identity()
	}
	return ""
}
