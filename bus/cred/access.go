package cred

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Access is how to show somebody else's NATS who we are, and which certificates
// are involved. The zero value shows nothing. It is secret.
type Access struct {
	Creds    string `json:"creds,omitempty"` // file: token and key of a user
	NKey     string `json:"nkey,omitempty"`  // file: seed of a user's key
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`

	CA       string `json:"ca,omitempty"`   // file: who signed the server's certificate; empty: those of the system
	Cert     string `json:"cert,omitempty"` // file: our own certificate
	Key      string `json:"key,omitempty"`  // file: its key
	TLSFirst bool   `json:"tls_first,omitempty"`
}

// ErrAccess is wrapped by every error of Check.
var ErrAccess = errors.New("invalid credentials")

// Shows reports whether l says who we are, by anything but a certificate.
func (l Access) Shows() bool {
	return l.Creds != "" || l.NKey != "" || l.User != "" || l.Token != ""
}

// WithUserinfo is l with what stands before the @ of a URL: USER:PASSWORD, or a
// token alone.
func (l Access) WithUserinfo(u *url.Userinfo) Access {
	if u == nil {
		return l
	}
	if password, ok := u.Password(); ok {
		l.User, l.Password = u.Username(), password
	} else {
		l.Token = u.Username()
	}
	return l
}

// Check refuses what can't be used, before anybody is asked. The error has no
// secret in it.
func (l Access) Check() error {
	shown := 0
	for _, s := range []string{l.Creds, l.NKey, l.User, l.Token} {
		if s != "" {
			shown++
		}
	}
	if shown > 1 {
		return fmt.Errorf("%w: give one of a credentials file, an nkey, user and password, or a token", ErrAccess)
	}
	for _, check := range []func() error{l.checkCreds, l.checkNKey, l.checkTLS} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrAccess, err)
		}
	}
	return nil
}

func (l Access) checkCreds() error {
	if l.Creds == "" {
		return nil
	}
	raw, err := os.ReadFile(l.Creds)
	if err != nil {
		return fmt.Errorf("credentials file %s: %w", l.Creds, bare(err))
	}
	if _, err := jwt.ParseDecoratedJWT(raw); err != nil {
		return fmt.Errorf("credentials file %s: no user token in it: %w", l.Creds, err)
	}
	if _, err := jwt.ParseDecoratedUserNKey(raw); err != nil {
		return fmt.Errorf("credentials file %s: no user key in it: %w", l.Creds, err)
	}
	return nil
}

func (l Access) checkNKey() error {
	if l.NKey == "" {
		return nil
	}
	raw, err := os.ReadFile(l.NKey)
	if err != nil {
		return fmt.Errorf("nkey file %s: %w", l.NKey, bare(err))
	}
	kp, err := nkeys.ParseDecoratedNKey(raw)
	if err != nil {
		return fmt.Errorf("nkey file %s: no seed in it", l.NKey) // the parser's error may show some of it
	}
	defer kp.Wipe()
	if key, err := kp.PublicKey(); err != nil || !nkeys.IsValidPublicUserKey(key) {
		return fmt.Errorf("nkey file %s: not the seed of a user", l.NKey)
	}
	return nil
}

func (l Access) checkTLS() error {
	if (l.Cert == "") != (l.Key == "") {
		return errors.New("a certificate needs its key, and a key its certificate")
	}
	if l.Cert != "" {
		if _, err := tls.LoadX509KeyPair(l.Cert, l.Key); err != nil {
			return fmt.Errorf("certificate %s with key %s: %w", l.Cert, l.Key, err)
		}
	}
	if l.CA == "" {
		return nil
	}
	raw, err := os.ReadFile(l.CA)
	if err != nil {
		return fmt.Errorf("CA file %s: %w", l.CA, bare(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(raw) {
		return fmt.Errorf("CA file %s: no certificate in it", l.CA)
	}
	return nil
}

// Options are those of a connection. Files are read at every connection anew,
// so that what is renewed in them is used without a restart.
func (l Access) Options() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case l.Creds != "":
		opts = append(opts, nats.UserCredentials(l.Creds))
	case l.NKey != "":
		o, err := nats.NkeyOptionFromSeed(l.NKey)
		if err != nil {
			return nil, fmt.Errorf("%w: nkey file %s: %w", ErrAccess, l.NKey, err)
		}
		opts = append(opts, o)
	case l.User != "":
		opts = append(opts, nats.UserInfo(l.User, l.Password))
	case l.Token != "":
		opts = append(opts, nats.Token(l.Token))
	}
	if l.Cert != "" {
		opts = append(opts, nats.ClientCert(l.Cert, l.Key))
	}
	if l.CA != "" {
		opts = append(opts, nats.RootCAs(l.CA))
	}
	if l.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, nil
}

// NKeyOption shows an external server the key of u that follows from the
// cookie. Of it the server knows the public half alone: see Stanza.
func (a *Authority) NKeyOption(u User) nats.Option {
	return nats.Nkey(a.PublicKey(u), func(nonce []byte) ([]byte, error) { return a.Sign(u, nonce) })
}

// WriteNKey writes what any NATS client needs to connect as u to an external
// server at url that knows the key of u: the files url and nkey with mode 0600,
// in dir, which is made with mode 0700 if it is missing. Files of WriteCreds are
// taken away.
func (a *Authority) WriteNKey(dir string, u User, url string) error {
	seed, err := a.keys().users[u].Seed()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{FileURL, []byte(url + "\n")}, {FileNKey, append(seed, '\n')}} {
		if err == nil {
			err = writeSecret(dir+string(os.PathSeparator)+f.name, f.data)
		}
	}
	for _, name := range []string{FileCreds, FileCA, FileCert, FileKey} {
		if err == nil {
			if err = os.Remove(dir + string(os.PathSeparator) + name); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write credentials to %s: %w", dir, bare(err))
	}
	return nil
}
