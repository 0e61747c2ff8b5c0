package erlterm

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokDot           // the full stop of a term
	tokPunct
	tokAtom
	tokWord // reserved
	tokVariable
	tokInteger // also $c
	tokFloat
	tokString
)

type token struct {
	kind     tokenKind
	off, end int
	text     string // decoded
}

// describe names a token in an error message.
func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of file"
	case tokDot:
		return "'.'"
	case tokPunct:
		return "'" + t.text + "'"
	case tokAtom:
		return "atom " + NewAtom(clip(t.text)).String()
	case tokWord:
		return "reserved word " + t.text
	case tokVariable:
		return "variable " + clip(t.text)
	case tokString:
		return "string " + NewString(clip(t.text)).String()
	}
	return "number " + clip(t.text)
}

// clip shortens a text that goes into a message.
func clip(s string) string {
	const limit = 40
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}

// reserved are the words that are atoms only in quotes (OTP:
// erl_scan:reserved_word/1).
var reserved = map[string]bool{
	"after": true, "and": true, "andalso": true, "band": true, "begin": true, "bnot": true, "bor": true,
	"bsl": true, "bsr": true, "bxor": true, "case": true, "catch": true, "cond": true, "div": true,
	"end": true, "fun": true, "if": true, "let": true, "not": true, "of": true, "or": true, "orelse": true,
	"receive": true, "rem": true, "try": true, "when": true, "xor": true,
}

type lexer struct {
	src []byte
	pos int
}

func (l *lexer) errorf(offset int, format string, args ...any) error {
	return &Error{position(l.src, offset), offset, fmt.Sprintf(format, args...)}
}

const eof = -1

// peek is the character at pos, or eof.
func (l *lexer) peek() (r rune, size int) {
	if l.pos >= len(l.src) {
		return eof, 0
	}
	return utf8.DecodeRune(l.src[l.pos:])
}

// at is the byte n after pos, or 0 beyond the end.
func (l *lexer) at(n int) byte {
	if l.pos+n >= len(l.src) {
		return 0
	}
	return l.src[l.pos+n]
}

// take consumes one character, which must be one that Erlang allows.
func (l *lexer) take(opened int, what string) (rune, error) {
	r, size := l.peek()
	switch {
	case r == eof:
		return 0, l.errorf(opened, "%s is never closed", what)
	case r == utf8.RuneError && size == 1:
		return 0, l.errorf(l.pos, "invalid UTF-8")
	case !character(r):
		return 0, l.errorf(l.pos, "illegal character U+%04X", r)
	}
	l.pos += size
	return r, nil
}

// character reports whether r may stand in a string (OTP: the macro UNICODE of
// erl_scan).
func character(r rune) bool {
	return r >= 0 && r < 0xD800 || r > 0xDFFF && r < 0xFFFE || r > 0xFFFF && r <= utf8.MaxRune
}

func space(r rune) bool { return r >= 0 && r <= ' ' || r >= 0x80 && r <= 0xA0 }
func digit(c byte) bool { return c >= '0' && c <= '9' }
func lower(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'ß' && r <= 'ÿ' && r != '÷' }
func upper(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'À' && r <= 'Þ' && r != '×' }
func nameChar(r rune) bool {
	return lower(r) || upper(r) || r >= '0' && r <= '9' || r == '_' || r == '@'
}

// skip passes white space and comments.
func (l *lexer) skip() {
	for {
		r, size := l.peek()
		switch {
		case r == '%':
			for l.pos < len(l.src) && l.src[l.pos] != '\n' {
				l.pos++
			}
		case space(r):
			l.pos += size
		default:
			return
		}
	}
}

// next reads one token.
func (l *lexer) next() (token, error) {
	l.skip()
	r, _ := l.peek()
	start := l.pos
	switch {
	case r == eof:
		return token{kind: tokEOF, off: start, end: start}, nil
	case lower(r):
		return l.word(), nil
	case upper(r), r == '_':
		name := l.name()
		return token{tokVariable, start, l.pos, name}, nil
	case r >= '0' && r <= '9':
		return l.number()
	case r == '\'':
		return l.quotedAtom()
	case r == '"':
		return l.str()
	case r == '$':
		return l.char()
	case r == '.' && l.dot():
		l.pos++
		return token{tokDot, start, l.pos, "."}, nil
	}
	return l.punct()
}

// dot reports whether the '.' at pos ends a term.
func (l *lexer) dot() bool {
	if l.pos+1 >= len(l.src) {
		return true
	}
	r, _ := utf8.DecodeRune(l.src[l.pos+1:])
	return r == '%' || space(r)
}

func (l *lexer) name() string {
	start := l.pos
	for {
		r, size := l.peek()
		if !nameChar(r) {
			return string(l.src[start:l.pos])
		}
		l.pos += size
	}
}

func (l *lexer) word() token {
	t := token{kind: tokAtom, off: l.pos}
	t.text = l.name()
	t.end = l.pos
	if reserved[t.text] {
		t.kind = tokWord
	}
	return t
}

// puncts are tried in order: longer ones first. The ones of operators are here
// so that a message can name them whole.
var puncts = []string{
	"=:=", "=/=", "<<", ">>", "=>", ":=", "#{", "++", "--", "->", "<-", "||", "::", "==", "/=", "=<", ">=",
	"[", "]", "{", "}", "(", ")", ",", "|", "-", "+", ":", "/", "#", ".", ";", "=", "*", "<", ">", "!", "?",
}

func (l *lexer) punct() (token, error) {
	start := l.pos
	for _, p := range puncts {
		if strings.HasPrefix(string(l.src[start:min(start+3, len(l.src))]), p) {
			l.pos += len(p)
			return token{tokPunct, start, l.pos, p}, nil
		}
	}
	r, err := l.take(start, "")
	if err != nil {
		return token{}, err
	}
	return token{}, l.errorf(start, "illegal character %q", r)
}
