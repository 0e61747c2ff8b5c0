package manager

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/bus/cred"
)

// A node goes from one cookie to another by steps that others can be one behind.
func TestCookieSteps(t *testing.T) {
	old, both, turned, done := CookieState{"a", ""}, CookieState{"a", "b"}, CookieState{"b", "a"}, CookieState{"b", ""}
	order := []CookieState{old, both, turned, done}
	for i, from := range order {
		for j, to := range order {
			if want := i-j <= 1 && j-i <= 1; from.step(to) != want {
				t.Errorf("%v to %v: a step is %v, want %v", from, to, from.step(to), want)
			}
		}
		if from.step(CookieState{"c", ""}) || from.step(CookieState{"c", from.Use}) {
			t.Errorf("%v to a cookie that it does not accept", from)
		}
	}
	if both.step(CookieState{"a", "c"}) {
		t.Error("one is accepted in place of another in one step")
	}
}

func testCookie(t *testing.T, value string) Cookie {
	t.Helper()
	c, err := cred.NewCookie(value, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a former life used and dropped counts more than the order of the files,
// which are the operator's to change when he likes.
func TestCookiesAreRemembered(t *testing.T) {
	a, b := testCookie(t, "first-cookie-0123456789"), testCookie(t, "other-cookie-9876543210")
	dir := t.TempDir()
	life := func(own, also Cookie) (CookieState, error) {
		c := cookies{own: own, also: also}
		if err := c.remember(dir); err != nil {
			return CookieState{}, err
		}
		return c.state(), nil
	}
	expect := func(own, also Cookie, want CookieState) {
		t.Helper()
		if got, err := life(own, also); err != nil || got != want {
			t.Errorf("it goes by %v (%v), want %v", got, err, want)
		}
	}
	save := func(before, now CookieState) {
		t.Helper()
		f, err := loadCookieFile(dir)
		if err == nil {
			err = f.turned(before, now).save(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x, y, none := a.Fingerprint(), b.Fingerprint(), Cookie{}
	expect(a, b, CookieState{x, y}) // nothing is remembered
	save(CookieState{x, y}, CookieState{y, x})
	expect(a, b, CookieState{y, x})
	expect(b, a, CookieState{y, x})
	save(CookieState{y, x}, CookieState{y, ""})
	expect(a, b, CookieState{y, ""})
	expect(b, a, CookieState{y, ""})
	expect(b, none, CookieState{y, ""})
	if _, err := life(a, none); !errors.Is(err, ErrCookieDropped) {
		t.Errorf("a cookie that was dropped: %v", err)
	}
	z := testCookie(t, "third-cookie-0246813579")
	expect(z, b, CookieState{z.Fingerprint(), y}) // by hand, and nothing of that rotation
	expect(b, z, CookieState{y, z.Fingerprint()})
	save(CookieState{y, ""}, CookieState{y, x}) // it is taken back
	expect(b, a, CookieState{y, x})
	if f, err := loadCookieFile(dir); err != nil || slices.Contains(f.Dropped, x) {
		t.Errorf("it stays dropped: %+v, %v", f, err)
	}
}

// A damaged file is never guessed at.
func TestDamagedCookieFile(t *testing.T) {
	for _, text := range []string{"", "{", `{"v":2,"use":"0123456789abcdef"}`, `{"v":1,"use":7}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, cookieFileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := loadCookieFile(dir); err == nil || !strings.Contains(err.Error(), cookieFileName) {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}
