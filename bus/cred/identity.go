package cred

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nkeys"
)

// ErrIdentity is wrapped by every error of ParseIdentity.
var ErrIdentity = errors.New("invalid cluster identity")

// Identity names the accounts of a cluster by their public keys. JetStream
// files streams under App and the raft state of all streams under System, so
// with other keys a store looks empty, and a clustered one is then emptied.
type Identity struct{ App, System string }

// String is the form that ParseIdentity reads.
func (id Identity) String() string { return id.App + "." + id.System }

// ParseIdentity reads what String wrote.
func ParseIdentity(s string) (Identity, error) {
	app, system, _ := strings.Cut(s, ".")
	if !nkeys.IsValidPublicAccountKey(app) || !nkeys.IsValidPublicAccountKey(system) || app == system {
		return Identity{}, fmt.Errorf("%w %q: expected two public account keys", ErrIdentity, s)
	}
	return Identity{App: app, System: system}, nil
}

func (id Identity) account(u User) string {
	if u == System {
		return id.System
	}
	return id.App
}

// Identity is the identity that a signs for.
func (a *Authority) Identity() Identity { return a.identity }

// WithIdentity is a, signing for the accounts of id, which an earlier cookie
// fixed. The operator of a vouches for them and names a's own account keys as
// their signing keys.
func (a *Authority) WithIdentity(id Identity) *Authority {
	b := *a
	b.identity = id
	return &b
}

const identityScheme = "regent-cluster"

func (id Identity) uri() *url.URL { return &url.URL{Scheme: identityScheme, Opaque: id.String()} }

// IdentityOf reads the identity that a certificate made by NewLeaf states.
// The certificate must have been verified.
func IdentityOf(cert *x509.Certificate) (Identity, bool) {
	for _, u := range cert.URIs {
		if u.Scheme != identityScheme {
			continue
		}
		if id, err := ParseIdentity(u.Opaque); err == nil {
			return id, true
		}
	}
	return Identity{}, false
}
