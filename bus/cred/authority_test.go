package cred

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func mustDerive(t *testing.T, cookie, cluster string) *Authority {
	t.Helper()
	a, err := Derive(mustCookie(t, cookie), cluster)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What follows from the cookie of these tests for the cluster "default".
const (
	pinnedRoot        = "c3a77a6172127ba052e8747fb0053ed204558b1d53b5c56aca4ead2aa9079c97"
	pinnedFingerprint = "19712290d6f47dd4"
	pinnedIdentity    = "ADEBLVGZLKGOB4E2MP6IVJAEHWF7E3BMCETVDVWXZLVCHW35DDILU3QD.ADMGMBCBRJKDJT6RB77NQODBF5TBSTWLMKB5ETERL4SJLWSCSV6O2HPQ"
	pinnedAppUser     = "UAOMM7UVLA3RFEIT2RWDNVQYTA6E7RBWJY2AZEZYW5ZKH3U7RL2OHZLQ"
	pinnedSysUser     = "UDFVTQQRTTDSNI24SCWX7PWKVXQ6NGWSNDG3XHUC6WPMLXTMNW4TZTXX"
	pinnedCA          = `-----BEGIN CERTIFICATE-----
MIIBHTCB0KADAgECAgEBMAUGAytlcDAUMRIwEAYDVQQDEwlyZWdlbnQgQ0EwIBcN
MDAwMTAxMDAwMDAwWhgPMjA5OTEyMzEyMzU5NTlaMBQxEjAQBgNVBAMTCXJlZ2Vu
dCBDQTAqMAUGAytlcAMhACizvTPgf3Lw+FlJF8J/gjQ3Oyh3rlN4v2mIU8S0SDB2
o0UwQzAOBgNVHQ8BAf8EBAMCAoQwEgYDVR0TAQH/BAgwBgEB/wIBADAdBgNVHQ4E
FgQU5uuJSxM0C61+wvra4gjx0IVF8swwBQYDK2VwA0EAH1BpheqC2aXPQ+1woulE
QvjL0VcOYUncPL66m8zTQFFvN18BimLOXRPwy8MeroTV/OAqsVcdyNDchAfw/PNV
DQ==
-----END CERTIFICATE-----
`
)

// The derivation is a format: other values here mean that no cluster survives
// an update.
func TestDeriveIsPinned(t *testing.T) {
	a := mustDerive(t, good, "default")
	for _, tc := range []struct{ what, got, want string }{
		{"root", hex.EncodeToString(mustCookie(t, good).root()), pinnedRoot},
		{"fingerprint", a.Fingerprint(), pinnedFingerprint},
		{"identity", a.Identity().String(), pinnedIdentity},
		{"app user", a.PublicKey(App), pinnedAppUser},
		{"system user", a.PublicKey(System), pinnedSysUser},
		{"CA", string(a.CA()), pinnedCA},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %s", tc.what, tc.got)
		}
	}
}

func TestDeriveSeparatesCookiesAndClusters(t *testing.T) {
	seen := map[string]string{}
	for _, a := range []*Authority{mustDerive(t, good, "a"), mustDerive(t, good, "b"), mustDerive(t, good+"!", "a")} {
		for what, key := range map[string]string{
			"operator": public(a.keys().operator), "app": a.Identity().App, "system": a.Identity().System,
			"app user": a.PublicKey(App), "system user": a.PublicKey(System), "ca": string(a.CA()),
		} {
			if before, ok := seen[key]; ok {
				t.Errorf("%s of %s is %s", what, a.Cluster(), before)
			}
			seen[key] = what + " of " + a.Cluster()
		}
	}
	if _, err := Derive(Cookie{}, "a"); !errors.Is(err, ErrCookieEmpty) {
		t.Errorf("no cookie: %v", err)
	}
	if _, err := Derive(mustCookie(t, good), ""); err == nil {
		t.Error("no cluster was accepted")
	}
}

func TestTokensNeverExpire(t *testing.T) {
	a := mustDerive(t, good, "default")
	op, err := a.OperatorJWT()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := jwt.DecodeOperatorClaims(op)
	if err != nil {
		t.Fatal(err)
	}
	if operator.Expires != 0 || operator.NotBefore != 0 || operator.SystemAccount != a.Identity().System {
		t.Errorf("operator %+v", operator)
	}
	accounts, err := a.AccountJWTs()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []User{App, System} {
		account, err := jwt.DecodeAccountClaims(accounts[a.Identity().account(u)])
		if err != nil {
			t.Fatal(err)
		}
		if !operator.DidSign(account) || account.Expires != 0 || account.NotBefore != 0 {
			t.Errorf("account %+v", account)
		}
		if account.Limits.IsJSEnabled() != (u == App) {
			t.Errorf("JetStream of account %v: %v", u, account.Limits.IsJSEnabled())
		}
		token, err := a.UserJWT(u, a.Identity())
		if err != nil {
			t.Fatal(err)
		}
		user, err := jwt.DecodeUserClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		if !account.DidSign(user) || user.Expires != 0 || user.NotBefore != 0 || user.Subject != a.PublicKey(u) {
			t.Errorf("user %+v", user)
		}
	}
}

func TestLaterCookieSignsForTheFirstIdentity(t *testing.T) {
	first, later := mustDerive(t, good, "default"), mustDerive(t, good+"!", "default")
	id, err := ParseIdentity(first.Identity().String())
	if err != nil {
		t.Fatal(err)
	}
	adopted := later.WithIdentity(id)
	if adopted.Identity() != first.Identity() || later.Identity() == first.Identity() {
		t.Fatal("WithIdentity changed the wrong one")
	}
	accounts, err := adopted.AccountJWTs()
	if err != nil {
		t.Fatal(err)
	}
	account, err := jwt.DecodeAccountClaims(accounts[id.App])
	if err != nil {
		t.Fatal(err)
	}
	// A client that knows only the later cookie learns id from the server.
	token, err := later.UserJWT(App, id)
	if err != nil {
		t.Fatal(err)
	}
	user, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	if !account.DidSign(user) || user.IssuerAccount != id.App {
		t.Errorf("the first account does not vouch for %+v", user)
	}
	old, err := first.UserJWT(App, id)
	if err != nil {
		t.Fatal(err)
	}
	if user, err = jwt.DecodeUserClaims(old); err != nil || user.IssuerAccount != "" {
		t.Errorf("%+v, %v", user, err)
	}
}

func TestParseIdentityRefuses(t *testing.T) {
	id := mustDerive(t, good, "default").Identity()
	for _, s := range []string{"", ".", id.App, id.App + "." + id.App, id.App + "." + id.System + "x", "U" + id.App[1:] + "." + id.System} {
		if _, err := ParseIdentity(s); !errors.Is(err, ErrIdentity) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// handshake connects client and server over a pipe and returns both errors.
func handshake(t *testing.T, client, server *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		_, err := conn.Write([]byte("x"))
		_ = far.Close()
		done <- err
	}()
	conn := tls.Client(near, client)
	clientErr = conn.HandshakeContext(t.Context())
	if clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 1))
	}
	_ = near.Close()
	return conn.ConnectionState(), clientErr, <-done
}

func TestMutualTLS(t *testing.T) {
	a, other := mustDerive(t, good, "default"), mustDerive(t, good+"!", "default")
	config := func(a *Authority, hosts ...string) *tls.Config {
		leaf, err := a.NewLeaf("n1@h", hosts...)
		if err != nil {
			t.Fatal(err)
		}
		return a.TLSConfig(leaf)
	}
	state, cerr, serr := handshake(t, config(a), config(a))
	if cerr != nil || serr != nil || state.Version != tls.VersionTLS13 {
		t.Fatalf("same cookie: %v, %v, version %x", cerr, serr, state.Version)
	}
	if id, ok := IdentityOf(state.PeerCertificates[0]); !ok || id != a.Identity() {
		t.Errorf("the certificate states %v", id)
	}

	_, cerr, serr = handshake(t, config(a), config(other))
	if _, ok := errors.AsType[x509.UnknownAuthorityError](cerr); !ok || serr == nil {
		t.Errorf("other cookie: %v, %v", cerr, serr)
	}
	trusting := config(other)
	trusting.InsecureSkipVerify = true // as an attacker would
	if _, cerr, serr = handshake(t, trusting, config(a)); cerr == nil || serr == nil {
		t.Errorf("a certificate of another cookie was accepted: %v, %v", cerr, serr)
	}
	bare := config(a)
	bare.Certificates = nil
	if _, cerr, serr = handshake(t, bare, config(a)); cerr == nil || serr == nil {
		t.Errorf("no certificate was accepted: %v, %v", cerr, serr)
	}
	old := config(a)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, cerr, serr = handshake(t, old, config(a)); cerr == nil || serr == nil {
		t.Errorf("TLS 1.2 was accepted: %v, %v", cerr, serr)
	}
	for _, host := range []string{"a.example", "10.1.2.3", "localhost", "127.0.0.1", "::1"} {
		foreign := config(a)
		foreign.ServerName = host
		if _, cerr, serr = handshake(t, foreign, config(a, "a.example", "10.1.2.3", "a.example", "")); cerr != nil || serr != nil {
			t.Errorf("a client that dialed %s: %v, %v", host, cerr, serr)
		}
	}
}

func TestWriteCreds(t *testing.T) {
	a := mustDerive(t, good, "default")
	dir := filepath.Join(t.TempDir(), "creds")
	for range 2 { // the second replaces the first
		if err := a.WriteCreds(dir, System, "tls://127.0.0.1:4222"); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, FileCreds))
	if err != nil {
		t.Fatal(err)
	}
	kp, err := jwt.ParseDecoratedUserNKey(data)
	if err != nil {
		t.Fatal(err)
	}
	if public(kp) != a.PublicKey(System) {
		t.Error("wrong user")
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, FileCert), filepath.Join(dir, FileKey)); err != nil {
		t.Error(err)
	}
	if ca, err := os.ReadFile(filepath.Join(dir, FileCA)); err != nil || !bytes.Equal(ca, a.CA()) {
		t.Errorf("ca: %v", err)
	}
}

func TestSign(t *testing.T) {
	a := mustDerive(t, good, "default")
	sig, err := a.Sign(App, []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	kp, err := nkeys.FromPublicKey(a.PublicKey(App))
	if err != nil {
		t.Fatal(err)
	}
	if err := kp.Verify([]byte("nonce"), sig); err != nil {
		t.Error(err)
	}
	opts, err := a.ConnOptions(App, "x")
	if err != nil {
		t.Fatal(err)
	}
	o := nats.GetDefaultOptions()
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			t.Error(err)
		}
	}
}
