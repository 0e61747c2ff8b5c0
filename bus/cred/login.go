package cred

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Grant says what a user may do that is less than the cookie's holder.
type Grant struct {
	Name      string   // of the user, as servers show it
	Publish   []string // subjects; nothing else
	Subscribe []string // likewise
}

// Login is one user of the application account with a key of its own, which was
// made for it and is nowhere else, and the means to prove it. It may be used by
// several goroutines.
type Login struct { // functions for the reason given at Cookie
	open func() *login
	put  func(*login)
}

type login struct {
	grant Grant
	token string
	key   nkeys.KeyPair
	leaf  tls.Certificate
	a     *Authority
}

// NewLogin makes a user of the application account that may do what g says. It
// may not answer on whatever subject a question names: it could ask itself, with
// the answer to go to any subject. It never expires: no clock is trusted.
//
// Its certificate is a client's: neither servers nor clients take it for that of
// a server, and it says nothing of the cluster.
func (a *Authority) NewLogin(g Grant) (*Login, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", g.Name, err)
	}
	made, err := a.login(key, g)
	if err != nil {
		return nil, err
	}
	var now atomic.Pointer[login]
	now.Store(made)
	return &Login{now.Load, now.Store}, nil
}

// Renew lets l get in where a does, with the key it has: token and certificate
// are made anew, and every later handshake goes by them.
func (l *Login) Renew(a *Authority) error {
	made, err := a.login(l.open().key, l.open().grant)
	if err != nil {
		return err
	}
	l.put(made)
	return nil
}

// login signs for a key.
func (a *Authority) login(key nkeys.KeyPair, g Grant) (*login, error) {
	claims := jwt.NewUserClaims(public(key))
	claims.Name = g.Name
	claims.Pub.Allow.Add(g.Publish...)
	claims.Sub.Allow.Add(g.Subscribe...)
	if account := a.identity.account(App); account != public(a.keys().accounts[App]) {
		claims.IssuerAccount = account
	}
	token, err := claims.Encode(a.keys().accounts[App])
	if err != nil {
		return nil, fmt.Errorf("user token of %s: %w", g.Name, err)
	}
	leaf, err := a.newClientLeaf(g.Name)
	if err != nil {
		return nil, err
	}
	return &login{grant: g, token: token, key: key, leaf: leaf, a: a}, nil
}

// Token is the user's token.
func (l *Login) Token() (string, error) { return l.open().token, nil }

// Sign signs a server's nonce.
func (l *Login) Sign(nonce []byte) ([]byte, error) { return l.open().key.Sign(nonce) }

// TLS is the configuration of a connection, and of all that follow it: it goes
// by what Renew has made last.
func (l *Login) TLS() *tls.Config {
	return clientConfig(func() (*Authority, *tls.Certificate, error) {
		now := l.open()
		return now.a, &now.leaf, nil
	}, nil)
}

// Rewrite replaces what Write has written into dir, a file at a time.
func (l *Login) Rewrite(dir string) error {
	files, err := l.files()
	if err != nil {
		return fmt.Errorf("write credentials to %s: %w", dir, err)
	}
	for _, f := range files {
		if err := writeSecret(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("write credentials to %s: %s: %w", dir, f.name, err)
		}
	}
	return nil
}

// Write writes the files creds, ca, cert and key with mode 0600 into dir, which
// must exist and have none of them. They last as long as a process does, so
// nothing is synced.
func (l *Login) Write(dir string) error {
	files, err := l.files()
	if err != nil {
		return fmt.Errorf("write credentials to %s: %w", dir, err)
	}
	for _, f := range files {
		if err := createSecret(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("write credentials to %s: %s: %w", dir, f.name, err)
		}
	}
	return nil
}

func (l *Login) files() ([]file, error) {
	now := l.open()
	seed, err := now.key.Seed()
	if err != nil {
		return nil, fmt.Errorf("user seed: %w", err)
	}
	creds, err := jwt.FormatUserConfig(now.token, seed)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(now.leaf.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return []file{
		{FileCreds, creds},
		{FileCA, now.a.CA()},
		{FileCert, pemBlock("CERTIFICATE", now.leaf.Certificate[0])},
		{FileKey, pemBlock("PRIVATE KEY", key)},
	}, nil
}

// createSecret writes a file that must not exist.
func createSecret(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return bare(err)
	}
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return bare(err)
}

// String is [redacted].
func (l Login) String() string { return redacted }

// Format prints [redacted], whatever the verb.
func (l Login) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is [redacted].
func (l Login) LogValue() slog.Value { return slog.StringValue(redacted) }
