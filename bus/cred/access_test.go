package cred_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/seed7529eb29/regent/bus/cred"
)

// What can't be used is refused before anybody is asked, without a secret in
// the error.
func TestAccessCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed := func(make func() (nkeys.KeyPair, error)) string {
		kp, err := make()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := kp.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	account := seed(nkeys.CreateAccount)
	for name, l := range map[string]cred.Access{
		"no such creds":   {Creds: filepath.Join(dir, "none")},
		"empty creds":     {Creds: file("empty", "")},
		"no such nkey":    {NKey: filepath.Join(dir, "none")},
		"a directory":     {NKey: dir},
		"no seed":         {NKey: file("noseed", "SUsecretNONSENSE")},
		"another's seed":  {NKey: file("account.nk", account)},
		"two logins":      {NKey: file("user.nk", seed(nkeys.CreateUser)), Token: "s3cr3t"},
		"cert alone":      {Cert: file("cert", "x")},
		"key alone":       {Key: file("key", "x")},
		"broken pair":     {Cert: file("cert", "x"), Key: file("key", "x")},
		"CA without cert": {CA: file("ca", "nothing")},
		"no such CA":      {CA: filepath.Join(dir, "none")},
	} {
		err := l.Check()
		if !errors.Is(err, cred.ErrAccess) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{"s3cr3t", account, "SUsecret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: a secret in %v", name, err)
			}
		}
	}
	good := cred.Access{NKey: file("user.nk", seed(nkeys.CreateUser))}
	if err := good.Check(); err != nil || !good.Shows() {
		t.Errorf("a user's seed: %v", err)
	}
	if _, err := good.Options(); err != nil {
		t.Error(err)
	}
	if (cred.Access{CA: "ca"}).Shows() {
		t.Error("a CA says who we are")
	}
}

// What stands before the @ of a URL is user and password, or a token.
func TestAccessFromURL(t *testing.T) {
	for text, want := range map[string]cred.Access{
		"nats://u:p@h": {User: "u", Password: "p"}, "nats://tok@h": {Token: "tok"}, "nats://h": {}, "nats://u:@h": {User: "u"},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := (cred.Access{}).WithUserinfo(u.User); got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
