package cred

import (
	"crypto/tls"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// ConnOptions let a NATS client that calls itself name connect as u: mutual
// TLS, and a token for the account that the server's certificate states, so
// that a client needs no memory of the cluster's identity. The options belong to
// one connection.
func (a *Authority) ConnOptions(u User, name string) ([]nats.Option, error) {
	leaf, err := a.NewLeaf(name)
	if err != nil {
		return nil, err
	}
	var id atomic.Pointer[Identity]
	id.Store(&a.identity)
	cfg := a.TLSConfig(leaf)
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if seen, ok := IdentityOf(cs.PeerCertificates[0]); ok {
			id.Store(&seen)
		}
		return nil
	}
	token := func() (string, error) { return a.UserJWT(u, *id.Load()) }
	sign := func(nonce []byte) ([]byte, error) { return a.Sign(u, nonce) }
	return []nats.Option{nats.Name(name), nats.Secure(cfg), nats.UserJWT(token, sign)}, nil
}
