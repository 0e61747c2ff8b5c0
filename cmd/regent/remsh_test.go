package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                   "",
		"  echo  a b ":       "echo|a|b",
		`echo '{"a": 1}' x`:  `echo|{"a": 1}|x`,
		`echo "a b" "c\" d"`: `echo|"a b"|"c\" d"`,
		`echo it's`:          `echo|it's`,
		`echo ''`:            `echo|`,
		`echo {"a":1}`:       `echo|{"a":1}`,
		`'x'y`:               `x|y`,
	} {
		got, err := splitLine(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{"echo 'a", `echo "a`, `echo "a\"`, "'", `"`} {
		if got, err := splitLine(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func FuzzSplitLine(f *testing.F) {
	f.Add(`echo '{"a": 1}' "b \" c" d`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitLine(line)
		if err == nil && len(strings.Join(words, "")) > len(line) {
			t.Errorf("%q: %q", line, words)
		}
	})
}

func TestExtend(t *testing.T) {
	names := []string{"echo", "echoes", "node"}
	for s, want := range map[string]string{"e": "echo", "echoe": "echoes ", "n": "node ", "x": "x", "": ""} {
		if got := extend(s, slices.Clone(names)); got != want {
			t.Errorf("%q: %q, expected %q", s, got, want)
		}
	}
}
