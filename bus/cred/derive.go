package cred

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/argon2"
)

// Cost of argon2id: 0.1 to 1.3 s, once per process. The salt is fixed since
// all that processes share is the cookie.
const (
	argonPasses  = 2
	argonKiB     = 64 << 10
	argonThreads = 1
	argonSalt    = "regent cookie 1"
	keyBytes     = 32
)

// Labels of what is derived from the root. A label is never given another
// meaning: all clusters would lose their data.
const (
	labelFingerprint = "fingerprint"
	labelOperator    = "operator"
	labelAppAccount  = "account app"
	labelSysAccount  = "account system"
	labelAppUser     = "user app"
	labelSysUser     = "user system"
	labelCA          = "ca"
)

// User is one of the two NATS users of a cluster.
type User int

// The users of a cluster, each of the account of the same name.
const (
	App    User = iota // everything but NATS's own system subjects; JetStream
	System             // system account: server events, raft of the meta group
)

// Authority is all that follows from one cookie for one cluster. It may be
// used by several goroutines; it never changes.
type Authority struct {
	cluster     string
	fingerprint string
	identity    Identity
	ca          *x509.Certificate
	pool        *x509.CertPool // of ca, and of what is accepted too
	keys        func() *keys   // a function for the reason given at Cookie
	also        []*Authority   // see Accepting
}

type keys struct {
	operator nkeys.KeyPair
	accounts [2]nkeys.KeyPair // by User
	users    [2]nkeys.KeyPair // by User
	ca       ed25519.PrivateKey
}

// Derive makes the authority of cluster from c. It is slow, once per cookie and
// process; see [DeriveCached].
func Derive(c Cookie, cluster string) (*Authority, error) {
	if c.IsZero() {
		return nil, ErrCookieEmpty
	}
	if cluster == "" {
		return nil, errors.New("derive credentials: no cluster name")
	}
	return newAuthority(c.root(), cluster)
}

// root is the stretched cookie. Concurrent callers wait for one derivation.
func (c Cookie) root() []byte {
	s := c.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		s.root = argon2.IDKey([]byte(s.value), []byte(argonSalt), argonPasses, argonKiB, argonThreads, keyBytes)
	}
	return s.root
}

func newAuthority(root []byte, cluster string) (*Authority, error) {
	k := deriveKeys(root, cluster)
	ca, err := newCA(k.ca)
	if err != nil {
		return nil, fmt.Errorf("derive credentials: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &Authority{
		cluster:     cluster,
		fingerprint: fingerprint(root),
		identity:    Identity{App: public(k.accounts[App]), System: public(k.accounts[System])},
		ca:          ca,
		pool:        pool,
		keys:        func() *keys { return k },
	}, nil
}

func deriveKeys(root []byte, cluster string) *keys {
	return &keys{
		operator: nkey(root, nkeys.PrefixByteOperator, labelOperator, cluster),
		accounts: [2]nkeys.KeyPair{
			App:    nkey(root, nkeys.PrefixByteAccount, labelAppAccount, cluster),
			System: nkey(root, nkeys.PrefixByteAccount, labelSysAccount, cluster),
		},
		users: [2]nkeys.KeyPair{
			App:    nkey(root, nkeys.PrefixByteUser, labelAppUser, cluster),
			System: nkey(root, nkeys.PrefixByteUser, labelSysUser, cluster),
		},
		ca: ed25519.NewKeyFromSeed(expand(root, labelCA, cluster)),
	}
}

// expand derives one key. The cluster's name is part of the label: clusters
// that share a cookie share no key.
func expand(root []byte, label, cluster string) []byte {
	key, err := hkdf.Expand(sha256.New, root, "regent/1/"+label+"\x00"+cluster, keyBytes)
	if err != nil {
		panic(fmt.Sprintf("cred: expand %s: %v", label, err)) // only for lengths above 8160
	}
	return key
}

func fingerprint(root []byte) string {
	return hex.EncodeToString(expand(root, labelFingerprint, "")[:8])
}

func nkey(root []byte, prefix nkeys.PrefixByte, label, cluster string) nkeys.KeyPair {
	kp, err := nkeys.FromRawSeed(prefix, expand(root, label, cluster))
	if err != nil {
		panic(fmt.Sprintf("cred: nkey %s: %v", label, err)) // only for wrong lengths and prefixes
	}
	return kp
}

func public(kp nkeys.KeyPair) string {
	s, err := kp.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("cred: public key: %v", err)) // only after Wipe
	}
	return s
}

// Accepting is a that accepts those of another cookie too, as nodes and as
// clients, while one cookie is replaced by the other. What it shows is its own.
func (a *Authority) Accepting(other *Authority) *Authority {
	b := *a
	b.also = append(slices.Clone(a.also), other)
	b.pool = x509.NewCertPool()
	b.pool.AddCert(a.ca)
	for _, o := range b.also {
		b.pool.AddCert(o.ca)
	}
	return &b
}

// Fingerprints are those of the cookies that a accepts, its own first.
func (a *Authority) Fingerprints() []string {
	all := []string{a.fingerprint}
	for _, o := range a.also {
		all = append(all, o.fingerprint)
	}
	return all
}

// Cluster is the cluster's name.
func (a *Authority) Cluster() string { return a.cluster }

// Fingerprint is that of the cookie.
func (a *Authority) Fingerprint() string { return a.fingerprint }

// PublicKey is the public nkey of u, which is all that an external server's
// configuration needs to know.
func (a *Authority) PublicKey(u User) string { return public(a.keys().users[u]) }

// Sign signs a server's nonce as u.
func (a *Authority) Sign(u User, nonce []byte) ([]byte, error) { return a.keys().users[u].Sign(nonce) }

// String is [redacted].
func (a *Authority) String() string { return redacted }

// Format prints [redacted], whatever the verb.
func (a *Authority) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue shows the public parts.
func (a *Authority) LogValue() slog.Value {
	return slog.GroupValue(slog.String("cluster", a.cluster), slog.String("fingerprint", a.fingerprint))
}
