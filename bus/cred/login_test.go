package cred

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func mustLogin(t *testing.T, a *Authority) *Login {
	t.Helper()
	l, err := a.NewLogin(Grant{Name: "app x", Publish: []string{"x.>"}, Subscribe: []string{"x.>", "inbox.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLoginMayDoWhatItWasGranted(t *testing.T) {
	a := mustDerive(t, good, "default")
	later := mustDerive(t, good+"!", "default").WithIdentity(a.Identity())
	for _, a := range []*Authority{a, later} {
		token, err := mustLogin(t, a).Token()
		if err != nil {
			t.Fatal(err)
		}
		claims, err := jwt.DecodeUserClaims(token)
		if err != nil {
			t.Fatal(err)
		}
		if claims.Expires != 0 || claims.NotBefore != 0 || claims.Name != "app x" {
			t.Errorf("claims %+v", claims.ClaimsData)
		}
		if !slices.Equal(claims.Pub.Allow, []string{"x.>"}) || !slices.Equal(claims.Sub.Allow, []string{"x.>", "inbox.>"}) || claims.Resp != nil {
			t.Errorf("rights %+v", claims.Permissions)
		}
		if account := claims.IssuerAccount; account != "" && account != a.Identity().App || account == "" && claims.Issuer != a.Identity().App {
			t.Errorf("account %q of issuer %q", claims.IssuerAccount, claims.Issuer)
		}
		if claims.Subject == a.PublicKey(App) {
			t.Error("it is the cluster's own user")
		}
	}
}

func TestLoginsHaveKeysOfTheirOwn(t *testing.T) {
	a := mustDerive(t, good, "default")
	x, y := mustLogin(t, a), mustLogin(t, a)
	s, err := x.Sign([]byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	if other, err := y.Sign([]byte("nonce")); err != nil || bytes.Equal(s, other) {
		t.Errorf("two logins sign alike (%v)", err)
	}
}

// TestLoginIsNoServer: its certificate opens a connection, and stands for
// nothing else.
func TestLoginIsNoServer(t *testing.T) {
	a := mustDerive(t, good, "default")
	leaf, err := a.NewLeaf("n1@h")
	if err != nil {
		t.Fatal(err)
	}
	login := mustLogin(t, a).TLS()
	if _, cerr, serr := handshake(t, login, a.TLSConfig(leaf)); cerr != nil || serr != nil {
		t.Errorf("as a client: %v, %v", cerr, serr)
	}
	shown, err := login.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert := shown.Leaf
	as := func(usage x509.ExtKeyUsage) error {
		_, err := cert.Verify(x509.VerifyOptions{Roots: a.pool, CurrentTime: judgedAt, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if err := as(x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("as a client: %v", err)
	}
	if as(x509.ExtKeyUsageServerAuth) == nil {
		t.Error("clients would believe that it is a server")
	}
	if _, states := IdentityOf(cert); states || IsServer(cert) || !IsServer(leaf.Leaf) {
		t.Errorf("certificate with usage %v, %v", cert.ExtKeyUsage, cert.URIs)
	}
}

func TestLoginFiles(t *testing.T) {
	a := mustDerive(t, good, "default")
	l, dir := mustLogin(t, a), t.TempDir()
	if err := l.Write(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(dir); err == nil {
		t.Error("files of another start were overwritten")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, FileCreds))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseDecoratedJWT(data)
	if want, _ := l.Token(); err != nil || token != want {
		t.Errorf("token %q, %v", token, err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, FileCert), filepath.Join(dir, FileKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if ca, err := os.ReadFile(filepath.Join(dir, FileCA)); err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("ca: %v", err)
	}
	// As any client verifies: by the name it dialed, today.
	leaf, err := a.NewLeaf("n1@h")
	if err != nil {
		t.Fatal(err)
	}
	stock := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "localhost"}
	if _, cerr, serr := handshake(t, stock, a.TLSConfig(leaf)); cerr != nil || serr != nil {
		t.Errorf("with the files: %v, %v", cerr, serr)
	}
}

func TestLoginNeverPrints(t *testing.T) {
	l := mustLogin(t, mustDerive(t, good, "default"))
	seed, err := l.open().key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "login", l)
	for _, text := range []string{fmt.Sprint(l), fmt.Sprintf("%+v %#v %s %x", l, l, *l, l), fmt.Sprintf("%+v", struct{ L *Login }{l}), log.String()} {
		if strings.Contains(text, string(seed)) || strings.Contains(text, "eyJ") {
			t.Errorf("printed %q", text)
		}
	}
}
