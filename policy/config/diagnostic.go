package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Position is a place in a file. Line and Column count from 1, Column in
// characters; Line is 0 where a file as a whole is meant.
type Position struct {
	File         string // as it was given, or found by an include
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

func (p Position) compare(q Position) int {
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Diagnostic is one thing that is wrong, or suspicious, and where.
type Diagnostic struct {
	Position
	Message string // one line
	Hint    string // what to do about it; may be empty
	cause   error
}

// Error is "FILE:LINE:COL: message", without the hint.
func (d Diagnostic) Error() string {
	if d.Position == (Position{}) {
		return d.Message
	}
	return d.Position.String() + ": " + d.Message
}

// Unwrap is the sentinel or the I/O error behind it, or nil.
func (d Diagnostic) Unwrap() error { return d.cause }

// Diagnostics is every error of a configuration, in the order of the files.
type Diagnostics []Diagnostic

// Error is one line for each, and an indented one for its hint.
func (ds Diagnostics) Error() string {
	var lines []string
	for _, d := range ds {
		lines = append(lines, d.Error())
		if d.Hint != "" {
			lines = append(lines, "  hint: "+d.Hint)
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look at each.
func (ds Diagnostics) Unwrap() []error {
	errs := make([]error, len(ds))
	for i, d := range ds {
		errs[i] = d
	}
	return errs
}

// oneLine escapes what would break a line, or a terminal: messages quote what
// stands in files.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}
