package cred

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Ring holds the authority that connections go by at the moment. What is made
// from a ring asks it anew at every handshake, so that another cookie needs no
// new process and no new listener. It may be used by several goroutines.
type Ring struct{ now atomic.Pointer[Authority] }

// NewRing is a ring that holds a.
func NewRing(a *Authority) *Ring {
	r := &Ring{}
	r.now.Store(a)
	return r
}

// Authority is the one of now.
func (r *Ring) Authority() *Authority { return r.now.Load() }

// Turn lets every later handshake go by a. Connections that are there stay.
func (r *Ring) Turn(a *Authority) { r.now.Store(a) }

// NKey is the key of u that follows from the cookie of the moment, and how to
// sign with it: for external servers, see [Authority.NKeyOption].
func (r *Ring) NKey(u User) (string, nats.SignatureHandler) {
	a := r.Authority()
	return a.PublicKey(u), func(nonce []byte) ([]byte, error) { return a.Sign(u, nonce) }
}

// leaves are the certificates that one end shows: one for each authority.
type leaves struct {
	ring *Ring
	make func(*Authority) (tls.Certificate, error)

	mu  sync.Mutex
	of  *Authority
	own tls.Certificate
}

// get is the authority of now, and its certificate for this end.
func (l *leaves) get() (*Authority, *tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.ring.Authority()
	if l.of != a {
		own, err := l.make(a)
		if err != nil {
			return nil, nil, err
		}
		l.of, l.own = a, own
	}
	own := l.own
	return a, &own, nil
}

// TLSConfig is that of [Authority.TLSConfig], by the authority of the moment of
// each handshake. leaf makes the certificate of this end; admit, unless it is
// nil, looks at the other end's after it was verified.
func (r *Ring) TLSConfig(leaf func(*Authority) (tls.Certificate, error), admit func(tls.ConnectionState) error) *tls.Config {
	l := &leaves{ring: r, make: leaf}
	c := clientConfig(l.get, admit)
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		a, own, err := l.get()
		if err != nil {
			return nil, err
		}
		served := a.TLSConfig(*own)
		served.VerifyConnection = admit
		return served, nil
	}
	return c
}

// clientConfig is that of a client which asks at every handshake by which
// authority, and with which certificate. The roots of a configuration can't be
// exchanged, so what crypto/tls would verify by them is verified here.
func clientConfig(now func() (*Authority, *tls.Certificate, error), admit func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ServerName:             clusterName,
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			_, own, err := now()
			return own, err
		},
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			a, _, err := now()
			if err != nil {
				return err
			}
			if err := a.verifyServer(cs); err != nil || admit == nil {
				return err
			}
			return admit(cs)
		},
	}
}

var errNoCertificate = errors.New("the server shows no certificate")

// verifyServer is what crypto/tls does for a client with the roots and the
// server's name of [Authority.TLSConfig].
func (a *Authority) verifyServer(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errNoCertificate
	}
	o := x509.VerifyOptions{Roots: a.pool, CurrentTime: judgedAt, DNSName: clusterName, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(o); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// ConnOptions are those of [Authority.ConnOptions], by the authority of the
// moment of each connection.
func (r *Ring) ConnOptions(u User, name string) ([]nats.Option, error) {
	var id atomic.Pointer[Identity]
	leaf := func(a *Authority) (tls.Certificate, error) { return a.NewLeaf(name) }
	if _, err := leaf(r.Authority()); err != nil {
		return nil, err
	}
	cfg := r.TLSConfig(leaf, func(cs tls.ConnectionState) error {
		if seen, ok := IdentityOf(cs.PeerCertificates[0]); ok {
			id.Store(&seen)
		}
		return nil
	})
	token := func() (string, error) {
		a := r.Authority()
		if seen := id.Load(); seen != nil {
			return a.UserJWT(u, *seen)
		}
		return a.UserJWT(u, a.identity)
	}
	sign := func(nonce []byte) ([]byte, error) { return r.Authority().Sign(u, nonce) }
	return []nats.Option{nats.Name(name), nats.Secure(cfg), nats.UserJWT(token, sign)}, nil
}
