package cred

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const good = "correct horse battery"

func mustCookie(t *testing.T, value string) Cookie {
	t.Helper()
	c, err := NewCookie(value, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewCookieStrength(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		insecure    bool
		want        error
	}{
		{"good", good, false, nil},
		{"16 characters, 8 different", "abcdefghabcdefgh", false, nil},
		{"15 characters", "abcdefghijklmno", false, ErrCookieWeak},
		{"7 different", "abcdefgabcdefgabcdefg", false, ErrCookieWeak},
		{"short but allowed", "x", true, nil},
		{"empty", "", false, ErrCookieEmpty},
		{"empty is never allowed", "\n", true, ErrCookieEmpty},
		{"line ends do not count", "abcdefghijklmno\r\n", false, ErrCookieWeak},
		{"characters, not bytes", "äöüßéèêë", false, ErrCookieWeak},
	} {
		if _, err := NewCookie(tc.value, tc.insecure); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := NewCookie(strings.Repeat(good, 1000), true); err == nil {
		t.Error("a cookie of 21 kB was accepted")
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	c := mustCookie(t, good)
	a, err := Derive(c, "default")
	if err != nil {
		t.Fatal(err)
	}
	seed, err := a.keys().users[App].Seed()
	if err != nil {
		t.Fatal(err)
	}
	type box struct {
		Public  Cookie
		private Cookie
		a       *Authority
	}
	b := box{c, c, a}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb+"\n", c, a, b, &b)
	}
	js, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(js)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "cookie", c, "authority", a, "box", b)
	}
	for _, secret := range []string{good, "correct", fmt.Sprintf("%x", good), string(seed), fmt.Sprintf("%x", c.root())} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q shows in\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was redacted")
	}
}

func TestLoadCookieCreates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cookie")
	got := make([]Cookie, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			c, err := LoadCookie(path, false)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, c := range got {
		if c.open().value != got[0].open().value {
			t.Fatal("processes that start at once got different cookies")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o400 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if n := len(got[0].open().value); n != 43 { // 32 bytes in base64
		t.Errorf("cookie has %d characters", n)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestLoadCookieRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, value string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		path string
		want error
	}{
		{write("group", good, 0o640), ErrCookieReadable},
		{write("others", good, 0o404), ErrCookieReadable},
		{write("writable", good, 0o620), ErrCookieReadable},
		{write("empty", "\n", 0o400), ErrCookieEmpty},
		{write("weak", "short\n", 0o400), ErrCookieWeak},
		{filepath.Join(dir, "missing", "cookie"), fs.ErrNotExist},
	} {
		_, err := LoadCookie(tc.path, false)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.path) {
			t.Errorf("%s: got %v, want %v with the path", tc.path, err, tc.want)
		}
	}
	if _, err := LoadCookie(dir, false); err == nil {
		t.Error("a directory was read as a cookie")
	}
	c, err := LoadCookie(write("good", good+"\n", 0o600), false)
	if err != nil || c.open().value != good {
		t.Errorf("got %v", err)
	}
}

func TestFingerprintIsOfTheCookieAlone(t *testing.T) {
	c := mustCookie(t, good)
	one, err := Derive(c, "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := Derive(c, "two")
	if err != nil {
		t.Fatal(err)
	}
	if one.Fingerprint() != c.Fingerprint() || two.Fingerprint() != c.Fingerprint() {
		t.Error("the fingerprint depends on the cluster")
	}
	if other := mustCookie(t, good+"!"); other.Fingerprint() == c.Fingerprint() {
		t.Error("two cookies have one fingerprint")
	}
	if len(c.Fingerprint()) != 16 {
		t.Errorf("fingerprint %q", c.Fingerprint())
	}
}

func TestDerivedCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cookie.derived")
	a, err := DeriveCached(mustCookie(t, good), "default", path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	fresh := mustCookie(t, good)
	if err := fresh.LoadDerived(path); err != nil {
		t.Fatal(err)
	}
	b, err := Derive(fresh, "default")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.CA(), b.CA()) || a.Identity() != b.Identity() {
		t.Error("the cache leads to another authority")
	}

	other := mustCookie(t, good+"!")
	if err := other.LoadDerived(path); !errors.Is(err, ErrStale) {
		t.Errorf("another cookie's cache: %v", err)
	}
	if _, err := DeriveCached(other, "default", path); err != nil {
		t.Fatal(err)
	}
	if err := mustCookie(t, good+"!").LoadDerived(path); err != nil {
		t.Errorf("a stale cache was not replaced: %v", err)
	}

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(cacheMagic)+saltBytes] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := other.LoadDerived(path); !errors.Is(err, ErrStale) {
		t.Errorf("a damaged cache: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := DeriveCached(other, "default", path); !errors.Is(err, ErrCookieReadable) {
		t.Errorf("a cache others can read: %v", err)
	}
	if _, err := DeriveCached(other, "default", filepath.Join(t.TempDir(), "no", "dir")); err != nil {
		t.Errorf("a cache that cannot be written: %v", err)
	}
}
