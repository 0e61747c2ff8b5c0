package erlterm

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxAtom is Erlang's limit for the name of an atom, in characters.
const maxAtom = 255

func (l *lexer) quotedAtom() (token, error) {
	start := l.pos
	text, err := l.quoted('\'', "quoted atom")
	if err != nil {
		return token{}, err
	}
	return token{tokAtom, start, l.pos, text}, nil
}

func (l *lexer) str() (token, error) {
	start := l.pos
	text, triple, err := l.triple()
	if err == nil && !triple {
		text, err = l.quoted('"', "string")
	}
	if err != nil {
		return token{}, err
	}
	return token{tokString, start, l.pos, text}, nil
}

// char reads $c, whose value is a character's number.
func (l *lexer) char() (token, error) {
	start := l.pos
	l.pos++
	if r, _ := l.peek(); r == eof {
		return token{}, l.errorf(start, "'$' without a character")
	}
	r, err := l.quotedChar(start, "character after '$'")
	if err != nil {
		return token{}, err
	}
	return token{tokInteger, start, l.pos, strconv.Itoa(int(r))}, nil
}

// quoted reads from the opening to the closing quote.
func (l *lexer) quoted(quote rune, what string) (string, error) {
	start := l.pos
	l.pos++
	var b strings.Builder
	for {
		if r, _ := l.peek(); r == quote {
			l.pos++
			return b.String(), nil
		}
		r, err := l.quotedChar(start, what)
		if err != nil {
			return "", err
		}
		b.WriteRune(r)
	}
}

func (l *lexer) quotedChar(opened int, what string) (rune, error) {
	start := l.pos
	r, err := l.take(opened, what)
	if err != nil || r != '\\' {
		return r, err
	}
	r, err = l.take(opened, what)
	switch {
	case err != nil:
		return 0, err
	case r >= '0' && r <= '7':
		l.pos--
		return l.octal(), nil
	case r == 'x':
		return l.hex(start)
	case r == '^':
		r, err = l.take(opened, what)
		if err == nil && (r < '@' || r > '_') && (r < 'a' || r > 'z') && r != '?' {
			err = l.errorf(start, "bad control escape \\^%c", r)
		}
		return r & 31, err
	}
	return escape(r), nil
}

// escape is the meaning of a character after a backslash; one that has none
// means itself (OTP: erl_scan:escape_char/1).
func escape(r rune) rune {
	const names, values = "nrtvbfesd", "\n\r\t\v\b\f\x1b \x7f"
	if i := strings.IndexRune(names, r); i >= 0 {
		return rune(values[i])
	}
	return r
}

// octal reads one to three octal digits.
func (l *lexer) octal() rune {
	var r rune
	for range 3 {
		c := l.at(0)
		if c < '0' || c > '7' {
			break
		}
		r = r*8 + rune(c-'0')
		l.pos++
	}
	return r
}

// hex reads what follows \x: two digits, or any number of them in braces.
func (l *lexer) hex(start int) (rune, error) {
	digits := string(l.src[l.pos:min(l.pos+2, len(l.src))])
	size := 2
	if l.at(0) == '{' {
		rest := l.src[l.pos+1 : min(l.pos+16, len(l.src))]
		end := bytes.IndexByte(rest, '}')
		if end < 0 {
			return 0, l.errorf(start, "bad escape, expected \\xHH or \\x{H…}")
		}
		digits, size = string(rest[:end]), end+2
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || size == 2 && len(digits) < 2 {
		return 0, l.errorf(start, "bad escape, expected \\xHH or \\x{H…}")
	}
	if n > utf8.MaxRune || !character(rune(n)) {
		return 0, l.errorf(start, "escape of an illegal character U+%04X", n)
	}
	l.pos += size
	return rune(n), nil
}

// triple reads a triple-quoted string (OTP 27): three or more quotes and
// nothing else on the line, and the same before it ends. What is not that, as
// """a""" or the two strings """", is as it was in OTP 26.
func (l *lexer) triple() (text string, ok bool, err error) {
	start := l.pos
	if start > 0 && l.src[start-1] == '"' {
		return "", false, nil // the middle of a row of quotes, looked at before
	}
	quotes := len(l.src[start:]) - len(bytes.TrimLeft(l.src[start:], `"`))
	first, body, found := bytes.Cut(l.src[start+quotes:], []byte{'\n'})
	if quotes < 3 || !found || len(bytes.TrimSpace(first)) > 0 {
		return "", false, nil
	}
	if !utf8.Valid(first) {
		return "", false, nil
	}
	offset := start + quotes + len(first) + 1
	closing := bytes.Repeat([]byte{'"'}, quotes)
	var lines []string
	for {
		line, rest, more := bytes.Cut(body, []byte{'\n'})
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if bytes.HasPrefix(line[len(indent):], closing) {
			l.pos = offset + len(indent) + quotes
			return l.outdent(start, lines, string(indent))
		}
		if !more {
			return "", false, l.errorf(start, "triple-quoted string is never closed")
		}
		if bad := bytes.IndexFunc(line, func(r rune) bool { return r == utf8.RuneError || !character(r) }); bad >= 0 {
			return "", false, l.errorf(offset+bad, "illegal character in a triple-quoted string")
		}
		lines = append(lines, string(line))
		body, offset = rest, offset+len(line)+1
	}
}

// outdent removes the indentation of the closing quotes from every line.
func (l *lexer) outdent(start int, lines []string, indent string) (string, bool, error) {
	for i, line := range lines {
		cut, found := strings.CutPrefix(line, indent)
		if !found && strings.Trim(line, " \t\r") != "" {
			return "", false, l.errorf(start, "triple-quoted string: line %d is indented less than the closing quotes", i+1)
		}
		if !found {
			cut = ""
		}
		lines[i] = cut
	}
	return strings.TrimSuffix(strings.Join(lines, "\n"), "\r"), true, nil
}
