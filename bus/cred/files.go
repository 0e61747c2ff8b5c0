package cred

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// Names of the files that WriteCreds writes.
const (
	FileURL   = "url"
	FileCreds = "creds"
	FileCA    = "ca"
	FileCert  = "cert"
	FileKey   = "key"
)

// file is a file to write.
type file struct {
	name string
	data []byte
}

// WriteCreds writes what any NATS client needs to connect as u to url: the
// files url, creds, ca, cert and key with mode 0600, in dir, which is made with
// mode 0700 if it is missing.
func (a *Authority) WriteCreds(dir string, u User, url string) error {
	if err := a.writeCreds(dir, u, url); err != nil {
		return fmt.Errorf("write credentials to %s: %w", dir, err)
	}
	return nil
}

func (a *Authority) writeCreds(dir string, u User, url string) error {
	creds, err := a.Creds(u)
	if err != nil {
		return err
	}
	leaf, err := a.NewLeaf("regent client")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return bare(err)
	}
	for _, f := range []file{
		{FileURL, []byte(url + "\n")},
		{FileCreds, creds},
		{FileCA, a.CA()},
		{FileCert, pemBlock("CERTIFICATE", leaf.Certificate[0])},
		{FileKey, pemBlock("PRIVATE KEY", key)},
	} {
		if err := writeSecret(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}
