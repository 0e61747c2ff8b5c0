package cred

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCookieFile: the file's content is a cookie, or refused without being
// shown.
func FuzzCookieFile(f *testing.F) {
	for _, text := range []string{"correct horse battery staple", "short\n", "\r\n", "", strings.Repeat("x", cookieBytesMax+1)} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "cookie")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, insecure := range []bool{false, true} {
			c, err := LoadCookie(path, insecure)
			if err == nil {
				if _, err := NewCookie(c.open().value, insecure); err != nil {
					t.Errorf("%q is a cookie of the file, and none by itself: %v", text, err)
				}
				continue
			}
			if secret := strings.TrimRight(string(text), "\r\n"); len(secret) >= 8 && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the cookie: %v", err)
			}
		}
	})
}

// FuzzSavedKeys: saved keys are those of the cookie, or stale.
func FuzzSavedKeys(f *testing.F) {
	c, err := NewCookie("correct horse battery staple 1", false)
	if err != nil {
		f.Fatal(err)
	}
	root := []byte(strings.Repeat("k", keyBytes))
	f.Add(sealRoot(root, c.open().value))
	f.Add(sealRoot(root, "another"))
	f.Add([]byte(cacheMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := openRoot(text, c.open().value)
		if ok && len(got) != keyBytes {
			t.Errorf("%q: %d bytes", text, len(got))
		}
	})
}

// FuzzDerived: what a warden is given is a cluster's root, or refused.
func FuzzDerived(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "c")
	f.Add("====", "c")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, derived, cluster string) {
		if a, err := FromDerived(derived, cluster); err == nil && a.Cluster() != cluster {
			t.Errorf("cluster %q for %q", a.Cluster(), cluster)
		}
	})
}

// FuzzIdentity: an identity is two account keys, and written as it is read.
func FuzzIdentity(f *testing.F) {
	f.Add("A.B")
	f.Add("")
	f.Add(strings.Repeat("A", 56) + "." + strings.Repeat("B", 56))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentity(s)
		if err != nil {
			if !errors.Is(err, ErrIdentity) {
				t.Error(err)
			}
			return
		}
		if id.String() != s {
			t.Errorf("%q is written %q", s, id)
		}
	})
}
