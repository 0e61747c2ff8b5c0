package samehost

import (
	"strings"
	"testing"
)

// FuzzParseGroups: a list of groups is read to the last byte, and what it names
// may be killed: never 0 or 1, nor less.
func FuzzParseGroups(f *testing.F) {
	for _, text := range []string{
		header, header + "+ 77 5 app\n+ 78 6 -\n- 77 5 app\n", header + "+ 77 5 app", header + "+ 1 5 app\n", "regent groups 2\n", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := parseGroups(text)
		if err != nil {
			if len(groups) > 0 {
				t.Errorf("%q: %v, and groups", text, err)
			}
			return
		}
		var again strings.Builder
		again.WriteString(header)
		for _, g := range groups {
			if g.PGID <= 1 {
				t.Errorf("%q: %+v", text, g)
			}
			again.WriteString(g.line(lineAdd))
		}
		if got, err := parseGroups(again.String()); err != nil || len(got) != len(groups) {
			t.Errorf("%q: %v, %v, want %v", again.String(), got, err, groups)
		}
	})
}

// FuzzParseStat: a line of the process table is understood, or it is an error;
// the command in it may be anything.
func FuzzParseStat(f *testing.F) {
	f.Add("77 (a) b) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0")
	f.Add("77 (sh")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseStat(text)
		if err == nil && !strings.Contains(text, string(p.State)) {
			t.Errorf("%q: %+v", text, p)
		}
	})
}
