package node

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in         string
		base, host string
		long       bool
	}{
		{"node1@lxw", "node1", "lxw", false},
		{"a-b_C9@host1", "a-b_C9", "host1", false},
		{"n@host.example.org", "n", "host.example.org", true},
		{"n@10.0.0.1", "n", "10.0.0.1", true},
		{"n@[::1]", "n", "[::1]", true},
	} {
		n, err := Parse(tt.in)
		if err != nil || n.Base() != tt.base || n.Host() != tt.host || n.Long() != tt.long {
			t.Errorf("%s: %s %s long=%t %v", tt.in, n.Base(), n.Host(), n.Long(), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, why := range map[string]string{
		"node1":                            "no host part",
		"@lxw":                             "nothing before the @",
		"node1@":                           "nothing after the @",
		"no de@lxw":                        `" " is not allowed`,
		"n.1@lxw":                          `"." is not allowed`,
		"né@lxw":                           `"é" is not allowed`,
		"n@l xw":                           "not allowed in a host",
		"n@a@b":                            `"@" is not allowed in a host`,
		"n@" + strings.Repeat("x", MaxLen): "longer than",
	} {
		if _, err := Parse(in); !errors.Is(err, ErrName) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q in it", in, err, why)
		}
	}
}

// Token is what subjects and keys are made of: one token, one spelling.
func TestTokenRoundTrip(t *testing.T) {
	if got := Token("node1@lxw"); got != "node1=40lxw" {
		t.Errorf("node1@lxw is %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		token := Token(s)
		if strings.ContainsAny(token, ".*> \t\r\n") {
			t.Fatalf("%q is no single token: %q", s, token)
		}
		if back, err := Untoken(token); err != nil || back != s {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
	})
}

func FuzzUntoken(f *testing.F) {
	for _, s := range []string{"node1=40lxw", "=", "=4", "=4g", "=61", "=40", "a.b", "=2e", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		s, err := Untoken(token)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Fatal(err)
			}
			return
		}
		if again := Token(s); again != token {
			t.Fatalf("%q is accepted, but %q is written %q", token, s, again)
		}
	})
}
