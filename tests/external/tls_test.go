//go:build linux

package external

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
)

// tlsFiles are what somebody else's certificate authority gave out.
type tlsFiles struct{ ca, cert, key string }

// newTLSFiles makes a CA, and one certificate of it for both ends.
func newTLSFiles(t *testing.T, dir string) tlsFiles {
	t.Helper()
	caKey, key := newECKey(t), newECKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "their CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return tlsFiles{
		ca:   writePEM(t, filepath.Join(dir, "their-ca.pem"), "CERTIFICATE", sign(t, ca, ca, caKey, caKey)),
		cert: writePEM(t, filepath.Join(dir, "their-cert.pem"), "CERTIFICATE", sign(t, leaf, ca, key, caKey)),
		key:  writePEM(t, filepath.Join(dir, "their-key.pem"), "PRIVATE KEY", der),
	}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newUserKey(t *testing.T) (seed, key string) {
	t.Helper()
	kp := pair(t, nkeys.CreateUser)
	raw, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), public(t, kp)
}

// monitored is what a server's monitoring port says.
func monitored(t *testing.T, s *server, path string) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", s.monitor, path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// subscriptions are those of all connections of a server.
func subscriptions(t *testing.T, s *server) string {
	t.Helper()
	return monitored(t, s, "connz?subs=1")
}

func jetStreamAt(t *testing.T, s *server) string {
	t.Helper()
	return monitored(t, s, "jsz?streams=1&accounts=1")
}
