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
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

// copyTo puts the files of another place, with CAs in place of its own.
func (f tlsFiles) copyTo(t *testing.T, to tlsFiles, cas ...string) {
	t.Helper()
	var all []byte
	for _, ca := range cas {
		all = append(all, read(t, ca)...)
	}
	for path, text := range map[string][]byte{to.ca: all, to.cert: read(t, f.cert), to.key: read(t, f.key)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCertificatesRenewed: another CA, with other certificates of servers and
// nodes, in three steps of replaced files: no node is restarted, and no app stops.
// (Each restart of the server is shorter than the lease.)
func TestCertificatesRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	first, second, servers, nodes := newTLSFiles(t, t.TempDir()), newTLSFiles(t, t.TempDir()), newTLSFiles(t, t.TempDir()), newTLSFiles(t, w.dir)
	first.copyTo(t, servers, first.ca)
	first.copyTo(t, nodes, first.ca)
	s := startServer(t, withJetStream+fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", servers.cert, servers.key, servers.ca))
	login := []string{"--tlsca", nodes.ca, "--tlscert", nodes.cert, "--tlskey", nodes.key, "--server", s.url("")}
	n := w.node("node1", login...)
	session := func(f tlsFiles, again bool) string {
		t.Helper()
		nc := connect(t, s.url(""), nats.RootCAs(f.ca), nats.ClientCert(f.cert, f.key))
		defer nc.Close()
		if again {
			within(t, 30*time.Second, "the node is back", func() bool { return strings.Contains(subscriptions(t, s), ".api.node1=40lxw.status") })
		}
		doc := w.waitUp(nc, "node1")
		return string(doc.Nodes[0].Session)
	}
	before := session(first, false)
	w.must(append([]string{"start", app, "--on", "node1@lxw"}, login...)...)
	started := w.waitStart(10*time.Second, 1, []string{"node1"}, "normal")
	for i, step := range []struct {
		leaf tlsFiles
		cas  []string
	}{
		{first, []string{first.ca, second.ca}}, {second, []string{first.ca, second.ca}}, {second, []string{second.ca}},
	} {
		step.leaf.copyTo(t, servers, step.cas...)
		step.leaf.copyTo(t, nodes, step.cas...)
		s.restart()
		s.waitHealthy()
		if now := session(step.leaf, true); now != before {
			t.Errorf("session %s after step %d, before %s", now, i+1, before)
		}
	}
	if all := w.starts(); len(all) != 1 || !started.alive() {
		t.Errorf("starts of the app: %v", all)
	}
	first.copyTo(t, nodes, second.ca)
	if _, errOut, code := w.run(append([]string{"status"}, login...)...); code != 4 {
		t.Errorf("a certificate of the first CA ended with %d:\n%s", code, errOut)
	}
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
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
