package cred_test

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/seed7529eb29/regent/bus/cred"
)

func authorityOf(t *testing.T, cookie string) *cred.Authority {
	t.Helper()
	c, err := cred.NewCookie(cookie, false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cred.Derive(c, "default")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// handshake is one between two holders of cookies.
func handshake(t *testing.T, server, client *cred.Authority) error {
	t.Helper()
	conns := [2]net.Conn{}
	conns[0], conns[1] = net.Pipe()
	defer func() { _, _ = conns[0].Close(), conns[1].Close() }()
	var configs [2]*tls.Config
	for i, a := range []*cred.Authority{server, client} {
		leaf, err := a.NewLeaf("test")
		if err != nil {
			t.Fatal(err)
		}
		configs[i] = a.TLSConfig(leaf)
	}
	done := make(chan error, 1)
	go func() {
		s := tls.Server(conns[0], configs[0])
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1}) // the client learns of a refusal by reading
		}
		_ = conns[0].Close()
		done <- err
	}()
	c := tls.Client(conns[1], configs[1])
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	_ = conns[1].Close()
	if served := <-done; err == nil {
		err = served
	}
	return err
}

// While one cookie is replaced by the other, those who accept both meet those
// who have either; those who have one alone don't meet.
func TestTwoCookiesAreAccepted(t *testing.T) {
	a, b := authorityOf(t, "first-cookie-0123456789"), authorityOf(t, "other-cookie-9876543210")
	ab, ba := a.Accepting(b), b.Accepting(a)
	for _, pair := range [][2]*cred.Authority{{ab, ab}, {ab, ba}, {ba, ab}, {ab, a}, {a, ab}, {ba, b}} {
		if err := handshake(t, pair[0], pair[1]); err != nil {
			t.Errorf("%s with %s: %v", pair[0].Fingerprints(), pair[1].Fingerprints(), err)
		}
	}
	for _, pair := range [][2]*cred.Authority{{a, b}, {b, a}, {ab, b}, {ba, a}} {
		if err := handshake(t, pair[0], pair[1]); err == nil {
			t.Errorf("%s let in %s", pair[0].Fingerprints(), pair[1].Fingerprints())
		}
	}
	if !slices.Equal(ab.Fingerprints(), []string{a.Fingerprint(), b.Fingerprint()}) || ab.Fingerprint() != a.Fingerprint() {
		t.Errorf("fingerprints %v", ab.Fingerprints())
	}
	// The accounts stay those of the first cookie, and both may sign for them.
	tokens, err := ba.WithIdentity(a.Identity()).AccountJWTs()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeAccountClaims(tokens[a.Identity().App])
	if err != nil {
		t.Fatal(err)
	}
	if !claims.SigningKeys.Contains(b.Identity().App) || claims.Subject != a.Identity().App {
		t.Errorf("account %s, signed for by %v", claims.Subject, claims.SigningKeys.Keys())
	}
}
