package samehost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestGroupsFileListsWhatIsNotGone(t *testing.T) {
	g := newGroups(t)
	a, b, warden := Group{App: "a", PGID: 100, StartTime: 7, Cgroup: "/cg/a b\n"}, Group{App: "b-2@x", PGID: 101, StartTime: 8}, Group{PGID: 102, StartTime: 9}
	for _, group := range []Group{a, b, warden} {
		if err := g.Add(group); err != nil {
			t.Fatal(err)
		}
	}
	g.Remove(b)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadGroups(g.Path())
	if err != nil || !slices.Equal(got, []Group{a, warden}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := g.Add(a); err == nil {
		t.Error("Add to a closed list succeeded")
	}
}

func newGroups(t *testing.T) *Groups {
	t.Helper()
	g, err := CreateGroups(filepath.Join(t.TempDir(), "groups"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestGroupsFileOfAnEarlierLifeIsKept(t *testing.T) {
	g := newGroups(t)
	if _, err := CreateGroups(g.Path()); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
}

func TestGroupsFileStaysSmall(t *testing.T) {
	g := newGroups(t)
	keep := Group{App: "keep", PGID: 99, StartTime: 1}
	if err := g.Add(keep); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		group := Group{App: "restless", PGID: 1000 + i, StartTime: uint64(i)}
		if err := g.Add(group); err != nil {
			t.Fatal(err)
		}
		g.Remove(group)
	}
	info, err := os.Stat(g.Path())
	if err != nil || info.Size() > 2*compactAbove {
		t.Errorf("size %d, %v", info.Size(), err)
	}
	if got, err := ReadGroups(g.Path()); err != nil || !slices.Equal(got, []Group{keep}) {
		t.Errorf("got %v, %v", got, err)
	}
	names, err := filepath.Glob(g.Path() + "*")
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestUnreadableGroupsFileIsNoProof(t *testing.T) {
	good := header + "+ 100 7 a\n"
	for name, content := range map[string]string{
		"empty":            "",
		"other header":     "regent groups 2\n",
		"cut header":       header[:len(header)-1],
		"cut line":         good[:len(good)-1],
		"cut to a verb":    good + "+",
		"zeros":            good + "\x00\x00\x00\x00\n",
		"unknown verb":     good + "* 100 7 a\n",
		"field missing":    good + "+ 100 7\n",
		"field too many":   good + "+ 100 7 a b\n",
		"no app":           good + "+ 100 7 \n",
		"group of reader":  good + "+ 0 7 a\n",
		"group of init":    good + "+ 1 7 a\n",
		"negative group":   good + "+ -5 7 a\n",
		"negative time":    good + "+ 5 -7 a\n",
		"second spelling":  good + "+ 0100 7 a\n",
		"number too large": good + "+ 99999999999999999999 7 a\n",
		"blank line":       good + "\n",
	} {
		path := filepath.Join(t.TempDir(), "groups")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadGroups(path); !errors.Is(err, ErrNoProof) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if got, err := ReadGroups(path); !errors.Is(err, ErrNoProof) {
			t.Errorf("%s: got %v, %v", path, got, err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"+ 100 7 a", `+ 100 7 a "/sys/fs/cgroup/x 1"`, "+ 100 7 a /x", "- 2 18446744073709551615 -", "+ 1 1 a", "+  2 3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		verb, g, err := parseLine(s)
		if err == nil && g.line(verb) != s+"\n" {
			t.Errorf("%q read as %+v is written as %q", s, g, g.line(verb))
		}
		if err == nil && g.PGID <= 1 {
			t.Errorf("%q names group %d", s, g.PGID)
		}
	})
}

func TestParseStat(t *testing.T) {
	rest := func(state string, pgid, threads int, start uint64) string {
		return fmt.Sprintf(" %s 1 %d 3 4 5 6 7 8 9 10 11 12 13 14 15 16 %d 18 %d 20\n", state, pgid, threads, start)
	}
	for _, c := range []struct {
		in   string
		want Process
		gone bool
	}{
		{"12 (sleep)" + rest("S", 11, 1, 99), Process{12, 11, 99, 'S', 1}, false},
		{"12 (a) Z 1 (b) c)" + rest("R", 12, 2, 5), Process{12, 12, 5, 'R', 2}, false},
		{"12 ()" + rest("Z", 12, 1, 5), Process{12, 12, 5, 'Z', 1}, true},
		{"12 (x)" + rest("X", 0, 0, 5), Process{12, 0, 5, 'X', 0}, true},
		{"12 (first thread ended)" + rest("Z", 12, 3, 5), Process{12, 12, 5, 'Z', 3}, false},
	} {
		got, err := parseStat(c.in)
		if err != nil || got != c.want || got.Gone() != c.gone {
			t.Errorf("%q: got %+v, gone %t, %v", c.in, got, got.Gone(), err)
		}
	}
	for _, in := range []string{"", "12", "12 (x", "12 )x(", "x (y)" + rest("S", 1, 1, 1), strings.Repeat("(", 10) + ")", "12 (x) S 1"} {
		if got, err := parseStat(in); !errors.Is(err, errStat) {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
}

func TestBoottimeGrows(t *testing.T) {
	a := Boottime()
	for Boottime() == a {
	}
	if b := Boottime(); b <= a {
		t.Errorf("%v after %v", b, a)
	}
}
