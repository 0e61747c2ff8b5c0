package erlterm

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// String prints t on one line; Parse of it with a dot gives an equal term.
func (t Term) String() string { return string(t.append(nil)) }

func (t Term) append(b []byte) []byte {
	switch t.Kind {
	case Atom:
		return appendAtom(b, t.Text)
	case String:
		return appendQuoted(b, t.Text, '"')
	case Binary:
		return appendBinary(b, t.Text)
	case Fun:
		return append(append(b, "fun "...), t.Text...)
	case List, Tuple, Map:
		return t.appendElems(b)
	}
	return append(b, t.Text...)
}

// brackets of the kinds that have elements.
func (k Kind) brackets() (opening, closing string) {
	switch k {
	case Tuple:
		return "{", "}"
	case Map:
		return "#{", "}"
	}
	return "[", "]"
}

func (t Term) appendElems(b []byte) []byte {
	opening, closing := t.Kind.brackets()
	b = append(b, opening...)
	for i, e := range t.Elems {
		b = append(b, t.separator(i)...)
		b = e.append(b)
	}
	if t.Tail != nil {
		b = t.Tail.append(append(b, '|'))
	}
	return append(b, closing...)
}

// separator is what stands before element i.
func (t Term) separator(i int) string {
	switch {
	case i == 0:
		return ""
	case t.Kind == Map && i%2 == 1:
		return " => "
	case t.Kind == Map:
		return ", "
	}
	return ","
}

func appendAtom(b []byte, name string) []byte {
	if plain(name) {
		return append(b, name...)
	}
	return appendQuoted(b, name, '\'')
}

// plain reports whether an atom needs no quotes, in any release: maybe and
// else became reserved late.
func plain(name string) bool {
	if name == "" || reserved[name] || name == "maybe" || name == "else" {
		return false
	}
	for i, r := range name {
		if i == 0 && !lower(r) || !nameChar(r) {
			return false
		}
	}
	return true
}

func appendQuoted(b []byte, s string, quote rune) []byte {
	b = utf8.AppendRune(b, quote)
	for _, r := range s {
		b = appendChar(b, r, quote)
	}
	return utf8.AppendRune(b, quote)
}

func appendChar(b []byte, r, quote rune) []byte {
	const values, names = "\n\r\t\v\b\f\x1b\x7f", "nrtvbfed"
	i := strings.IndexRune(values, r)
	switch {
	case r == quote || r == '\\':
		return utf8.AppendRune(append(b, '\\'), r)
	case i >= 0:
		return append(b, '\\', names[i])
	case r < ' ' || r >= 0x80 && r < 0xA0:
		return fmt.Appendf(b, `\x{%X}`, r)
	}
	return utf8.AppendRune(b, r)
}

func appendBinary(b []byte, s string) []byte {
	switch {
	case s == "":
		return append(b, "<<>>"...)
	case text(s):
		b = appendQuoted(append(b, "<<"...), s, '"')
		if len(s) != utf8.RuneCountInString(s) {
			b = append(b, "/utf8"...)
		}
		return append(b, ">>"...)
	}
	b = append(b, "<<"...)
	for i := range len(s) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(s[i]), 10)
	}
	return append(b, ">>"...)
}

// text reports whether bytes read well as a string.
func text(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && !bytes.ContainsRune([]byte("\n\r\t"), r) || r >= 0x7f && r < 0xA0 || !character(r)
	})
}

// Pretty prints t with what doesn't fit into a line of 80 characters broken
// between elements.
func (t Term) Pretty() string {
	var b strings.Builder
	t.pretty(&b, 0, 0)
	return b.String()
}

const lineMax = 80

// pretty prints t at column indent; after is what has to follow on the line.
func (t Term) pretty(b *strings.Builder, indent, after int) {
	line := t.String()
	if len(t.Elems) == 0 || t.Tail != nil || t.Kind == Map || indent+utf8.RuneCountInString(line)+after <= lineMax {
		b.WriteString(line)
		return
	}
	opening, closing := t.Kind.brackets()
	b.WriteString(opening)
	inner := indent + len(opening)
	for i, e := range t.Elems {
		if i > 0 {
			b.WriteString(",\n" + strings.Repeat(" ", inner))
		}
		e.pretty(b, inner, 1+after)
	}
	b.WriteString(closing)
}
