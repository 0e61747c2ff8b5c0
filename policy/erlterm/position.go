package erlterm

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Position is a place in a source: both 1-based, Column in characters.
type Position struct{ Line, Column int }

func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Column) }

// Error says what is wrong with a source, and where.
type Error struct {
	Position
	Offset  int // in bytes
	Message string
}

func (e *Error) Error() string { return e.Position.String() + ": " + e.Message }

// File is a parsed source.
type File struct {
	Terms []Term
	src   []byte // as UTF-8
}

// Position finds the line and column of a byte of the source, or of its end.
func (f *File) Position(offset int) Position { return position(f.src, offset) }

func position(src []byte, offset int) Position {
	before := src[:min(max(offset, 0), len(src))]
	line := bytes.LastIndexByte(before, '\n') + 1
	return Position{
		Line:   bytes.Count(before, []byte{'\n'}) + 1,
		Column: utf8.RuneCount(before[line:]) + 1,
	}
}

// decode turns a source with a latin-1 coding comment into UTF-8, so that
// everything else sees one encoding. Characters, and so columns, stay.
func decode(src []byte) []byte {
	if !latin1(src) {
		return src
	}
	out := make([]byte, 0, len(src)+len(src)/8)
	for _, b := range src {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}

// latin1 looks for "coding: latin-1" in a comment on one of the first two
// lines (OTP: epp:read_encoding/1).
func latin1(src []byte) bool {
	for range 2 {
		var line []byte
		line, src, _ = bytes.Cut(src, []byte{'\n'})
		_, comment, found := bytes.Cut(line, []byte{'%'})
		if !found {
			continue
		}
		_, value, found := bytes.Cut(bytes.ToLower(comment), []byte("coding"))
		if !found {
			continue
		}
		value = bytes.TrimLeft(value, " \t")
		if len(value) == 0 || value[0] != ':' && value[0] != '=' {
			continue
		}
		return bytes.HasPrefix(bytes.TrimLeft(value[1:], " \t"), []byte("latin-1"))
	}
	return false
}
