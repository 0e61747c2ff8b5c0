package erlterm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestGolden parses each input; the expected output is each term as printed,
// or the error.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			input := d.Input
			for _, arg := range d.CmdArgs {
				switch arg.Key {
				case "unquote": // Go escapes, for control characters and bad UTF-8
					if _, err := fmt.Sscanf(`"`+d.Input+`"`, "%q", &input); err != nil {
						d.Fatalf(t, "unquote: %v", err)
					}
				default:
					d.Fatalf(t, "unknown argument %s", arg.Key)
				}
			}
			return golden(t, d.Cmd, input)
		})
	})
}

func golden(t *testing.T, cmd, input string) string {
	f, err := Parse([]byte(input))
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || e.Position != position([]byte(input), e.Offset) && cmd != "latin1" {
			t.Errorf("error %#v has no true position", err)
		}
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, term := range f.Terms {
		if cmd == "pretty" {
			fmt.Fprintln(&b, term.Pretty())
			continue
		}
		fmt.Fprintf(&b, "%v %v %v\n", f.Position(term.Offset), term.Kind, term)
	}
	return b.String()
}

func TestPositionCountsCharacters(t *testing.T) {
	f, err := Parse([]byte("{\"äöü→\",\n 'ß', x}."))
	if err != nil {
		t.Fatal(err)
	}
	elems := f.Terms[0].Elems
	if got := f.Position(elems[1].Offset); got != (Position{2, 2}) {
		t.Errorf("'ß' at %v, want 2:2", got)
	}
	if got := f.Position(elems[0].End); got != (Position{1, 8}) {
		t.Errorf("the string ends at %v, want 1:8", got)
	}
	if got := f.Position(elems[2].Offset); got != (Position{2, 7}) {
		t.Errorf("x at %v, want 2:7", got)
	}
	if got := f.Position(1 << 30); got.Line != 2 {
		t.Errorf("beyond the end: %v", got)
	}
}

func TestDepthLimit(t *testing.T) {
	for _, open := range []string{"[", "{", "#{a=>", "(", "[a|", "<<("} {
		_, err := Parse([]byte(strings.Repeat(open, 1_000_000)))
		if err == nil {
			t.Errorf("%s: no error", open)
		}
	}
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + "."
	if _, err := Parse([]byte(deep)); err != nil {
		t.Errorf("%d deep: %v", MaxDepth, err)
	}
	_, err := Parse([]byte("[" + deep))
	if want := fmt.Sprintf("1:%d: nested more than %d deep", MaxDepth+1, MaxDepth); err == nil || err.Error() != want {
		t.Errorf("%d deep: %v, want %s", MaxDepth+1, err, want)
	}
}

func TestSizeLimits(t *testing.T) {
	for _, input := range []string{
		strings.Repeat("1", maxDigits+1) + ".",
		strings.Repeat("a", maxAtom+1) + ".",
		strings.Repeat(" ", MaxSize+1),
		"1.0e999.",
	} {
		if _, err := Parse([]byte(input)); err == nil {
			t.Errorf("%s: no error", clip(input))
		}
	}
}

// FuzzParse: Parse never panics, and what it understood survives printing, on
// one line and on many.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		parsed, err := Parse(src)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("bad error %#v", err)
			}
			return
		}
		for _, term := range parsed.Terms {
			if term.Offset < 0 || term.Offset >= term.End || term.End > len(parsed.src) {
				t.Fatalf("%v: extent %d to %d of %d", term, term.Offset, term.End, len(parsed.src))
			}
			roundTrip(t, term, term.String())
			roundTrip(t, term, term.Pretty())
		}
	})
}

func roundTrip(t *testing.T, term Term, printed string) {
	t.Helper()
	again, err := Parse([]byte(printed + "."))
	if err != nil {
		t.Fatalf("printed as %s: %v", printed, err)
	}
	if len(again.Terms) != 1 || !Equal(term, again.Terms[0]) {
		t.Fatalf("printed as %s\nread as %v", printed, again.Terms)
	}
}

func TestRoundTripOfBuiltTerms(t *testing.T) {
	for _, term := range []Term{
		NewAtom(""), NewAtom("node1@lxw"), NewAtom("it's"), NewAtom("maybe"), NewAtom("Ünï"), NewAtom("end"),
		NewString("a\"b\\\x00\x7f\u0085é\U0001F600\n"), NewInteger("-12"), NewTuple(), NewList(NewTuple(NewAtom("a"))),
		{Kind: Binary, Text: "\xff\x00"}, {Kind: Binary, Text: "é"}, {Kind: Binary, Text: "a\nb"},
		{Kind: Float, Text: FormatFloat(1e100)}, {Kind: Float, Text: FormatFloat(-0.25)}, {Kind: Float, Text: FormatFloat(3)},
	} {
		roundTrip(t, term, term.String())
	}
}
