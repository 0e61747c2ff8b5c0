package cred

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

// clusterName is in every leaf certificate, and is what our own connections
// verify: a certificate of this CA proves the cookie, while host names differ
// between what was configured, resolved and forwarded. Other NATS clients
// verify the host they dialed.
const clusterName = "cluster.regent.invalid"

var (
	validFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC)
	judgedAt   = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
)

// newCA makes the certificate of key. Nothing in it is random, and the key id
// is set here since crypto/x509 computes it differently from version to version.
func newCA(key ed25519.PrivateKey) (*x509.Certificate, error) {
	pub := key.Public().(ed25519.PublicKey)
	id := sha256.Sum256(pub)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "regent CA"},
		NotBefore:             validFrom,
		NotAfter:              validUntil,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id[:20],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// NewLeaf makes a certificate with a fresh key for name (a node's, or what a
// client calls itself), for both ends of a connection. It is valid for hosts
// (names or addresses), localhost and the loopback addresses, and states the
// cluster's identity.
func (a *Authority) NewLeaf(name string, hosts ...string) (tls.Certificate, error) {
	template := leafTemplate(name, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	template.URIs = []*url.URL{a.identity.uri()}
	template.DNSNames, template.IPAddresses = subjectNames(hosts)
	return a.sign(template)
}

// newClientLeaf makes a certificate that is good for nothing but to connect as a
// client.
func (a *Authority) newClientLeaf(name string) (tls.Certificate, error) {
	return a.sign(leafTemplate(name, x509.ExtKeyUsageClientAuth))
}

func leafTemplate(name string, usage ...x509.ExtKeyUsage) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   validFrom,
		NotAfter:    validUntil,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: usage,
	}
}

// sign makes a key and its certificate.
func (a *Authority) sign(template *x509.Certificate) (tls.Certificate, error) {
	name := template.Subject.CommonName
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key of %s: %w", name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca, pub, a.keys().ca)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// IsServer reports whether a verified certificate may be a server's, as all are
// that NewLeaf made.
func IsServer(cert *x509.Certificate) bool {
	return slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

func subjectNames(hosts []string) (names []string, ips []net.IP) {
	names = []string{clusterName, "localhost"}
	ips = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, h := range hosts {
		ip := net.ParseIP(h)
		switch {
		case ip == nil && h != "" && !slices.Contains(names, h):
			names = append(names, h)
		case ip != nil && !slices.ContainsFunc(ips, ip.Equal):
			ips = append(ips, ip)
		}
	}
	return names, ips
}

// TLSConfig is the configuration of both ends of every connection: TLS 1.3,
// each side shows leaf and demands a certificate of this CA. Session tickets
// are off since a resumed session would not look at certificates again.
func (a *Authority) TLSConfig(leaf tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{leaf},
		RootCAs:                a.pool,
		ClientCAs:              a.pool,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ServerName:             clusterName,
		SessionTicketsDisabled: true,
		Time:                   func() time.Time { return judgedAt },
	}
}

// CA is the PEM of the CA certificate, the same bytes in every process.
func (a *Authority) CA() []byte { return pemBlock("CERTIFICATE", a.ca.Raw) }

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
