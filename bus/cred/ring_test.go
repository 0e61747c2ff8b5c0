package cred

import (
	"crypto/tls"
	"testing"

	"github.com/nats-io/jwt/v2"
)

// ringConfig is that of one end that goes by a ring.
func ringConfig(r *Ring) *tls.Config {
	return r.TLSConfig(func(a *Authority) (tls.Certificate, error) { return a.NewLeaf("n1@h") }, nil)
}

// A ring that was turned shows and demands another cookie at the next handshake,
// at both ends, without a new configuration.
func TestRingTurns(t *testing.T) {
	old, other := mustDerive(t, good, "default"), mustDerive(t, good+"!", "default")
	server, client := NewRing(old), NewRing(old)
	serves, dials := ringConfig(server), ringConfig(client)
	meet := func(want bool, when string) {
		t.Helper()
		if _, cerr, serr := handshake(t, dials, serves); (cerr == nil && serr == nil) != want {
			t.Errorf("%s: they meet should be %v: %v, %v", when, want, cerr, serr)
		}
	}
	meet(true, "both with the old one")
	server.Turn(old.Accepting(other))
	meet(true, "the server accepts the new one too")
	client.Turn(other.Accepting(old))
	meet(true, "the client shows the new one")
	server.Turn(other)
	client.Turn(other)
	meet(true, "both with the new one")
	client.Turn(old)
	meet(false, "a client with the old one")
	client.Turn(old.Accepting(other))
	meet(false, "a client that shows the old one")
	server.Turn(old)
	client.Turn(other)
	meet(false, "a server with the old one")
	client.Turn(old)
	meet(true, "both back")
}

// A login that was renewed has the key it had, and is let in by the other cookie
// with the configuration it has given out before.
func TestLoginIsRenewed(t *testing.T) {
	old := mustDerive(t, good, "default")
	other := mustDerive(t, good+"!", "default").WithIdentity(old.Identity())
	login := mustLogin(t, old)
	dir := t.TempDir()
	if err := login.Write(dir); err != nil {
		t.Fatal(err)
	}
	config := login.TLS()
	before, err := login.Token()
	if err != nil {
		t.Fatal(err)
	}
	if err := login.Renew(other); err != nil {
		t.Fatal(err)
	}
	if err := login.Rewrite(dir); err != nil {
		t.Fatal(err)
	}
	after, err := login.Token()
	if err != nil {
		t.Fatal(err)
	}
	was, err1 := jwt.DecodeUserClaims(before)
	is, err2 := jwt.DecodeUserClaims(after)
	if err1 != nil || err2 != nil || was.Subject != is.Subject || was.Issuer == is.Issuer || is.IssuerAccount != old.Identity().App {
		t.Errorf("claims %+v and %+v (%v, %v)", was, is, err1, err2)
	}
	leaf, err := other.NewLeaf("n1@h")
	if err != nil {
		t.Fatal(err)
	}
	if _, cerr, serr := handshake(t, config, other.TLSConfig(leaf)); cerr != nil || serr != nil {
		t.Errorf("as a client of the new cookie: %v, %v", cerr, serr)
	}
}
