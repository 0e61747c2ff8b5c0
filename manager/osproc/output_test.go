package osproc

import (
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestOutputIsCutIntoLines(t *testing.T) {
	long := strings.Repeat("x", lineMax)
	for in, want := range map[string][]string{
		"":                      nil,
		"a\nb\r\n\nc":           {"a", "b", "", "c"},
		"\n":                    {""},
		long + "\nnext\n":       {long, "next"},
		long + long + "y\nz":    {long, long, "y", "z"},
		long[1:] + "\n" + "a\n": {long[1:], "a"},
	} {
		var got []string
		copyLines(iotest.HalfReader(strings.NewReader(in)), Stderr, func(l Line) {
			if l.Stream != Stderr || l.At.IsZero() {
				t.Errorf("line %+v", l)
			}
			got = append(got, l.Text)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes: got %d lines, want %d", len(in), len(got), len(want))
		}
	}
}

func TestRingKeepsTheLastLines(t *testing.T) {
	r := NewRing(3 * (lineOverhead + 1))
	for _, s := range []string{"a", "b", "c", "d"} {
		r.Add(Line{Text: s})
	}
	var got []string
	for _, l := range r.Lines() {
		got = append(got, l.Text)
	}
	if !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("got %q", got)
	}
	r.Add(Line{Text: strings.Repeat("x", 1000)})
	if lines := r.Lines(); len(lines) != 0 {
		t.Errorf("a line larger than the ring was kept: %d lines", len(lines))
	}
	r.Add(Line{Text: "e"})
	if lines := r.Lines(); len(lines) != 1 || lines[0].Text != "e" {
		t.Errorf("got %v", lines)
	}
}
