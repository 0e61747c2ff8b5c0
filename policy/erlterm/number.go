package erlterm

import (
	"math/big"
	"strconv"
	"strings"
)

// maxDigits bounds an integer, so that a hostile file costs no quadratic time.
const maxDigits = 10_000

// number reads an integer, with a base or not, or a float.
func (l *lexer) number() (token, error) {
	start := l.pos
	digits := l.digits(10)
	switch {
	case l.at(0) == '#' && l.at(1) != '{':
		return l.based(start, digits)
	case l.at(0) == '.' && digit(l.at(1)):
		return l.float(start)
	}
	return l.integer(start, digits, 10)
}

// digits reads digits of a base; single underscores between two of them are
// dropped.
func (l *lexer) digits(base int) string {
	var b strings.Builder
	for ; ; l.pos++ {
		c := l.at(0)
		if c == '_' && b.Len() > 0 && l.at(-1) != '_' && digitOf(l.at(1), base) {
			continue
		}
		if !digitOf(c, base) {
			return b.String()
		}
		b.WriteByte(c)
	}
}

func digitOf(c byte, base int) bool {
	switch {
	case digit(c):
		return int(c-'0') < base
	case c >= 'a' && c <= 'z':
		return int(c-'a')+10 < base
	case c >= 'A' && c <= 'Z':
		return int(c-'A')+10 < base
	}
	return false
}

func (l *lexer) based(start int, digits string) (token, error) {
	base, err := strconv.Atoi(digits)
	if err != nil || base < 2 || base > 36 {
		return token{}, l.errorf(start, "illegal base %s, expected 2 to 36", clip(digits))
	}
	l.pos++
	value := l.digits(base)
	if value == "" {
		return token{}, l.errorf(start, "no digits of base %d after '#'", base)
	}
	return l.integer(start, value, base)
}

func (l *lexer) integer(start int, digits string, base int) (token, error) {
	if len(digits) > maxDigits {
		return token{}, l.errorf(start, "integer of more than %d digits", maxDigits)
	}
	if r, _ := l.peek(); nameChar(r) {
		return token{}, l.errorf(start, "illegal number %s", clip(string(l.src[start:l.pos])+l.name()))
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return token{}, l.errorf(start, "illegal integer")
	}
	return token{tokInteger, start, l.pos, n.String()}, nil
}

// float reads the point, the digits after it and the exponent.
func (l *lexer) float(start int) (token, error) {
	l.pos++
	l.digits(10)
	if c := l.at(0); c == 'e' || c == 'E' {
		l.pos++
		if c := l.at(0); c == '+' || c == '-' {
			l.pos++
		}
		if l.digits(10) == "" {
			return token{}, l.errorf(start, "no digits in the exponent")
		}
	}
	if r, _ := l.peek(); nameChar(r) {
		return token{}, l.errorf(start, "illegal number %s", clip(string(l.src[start:l.pos])+l.name()))
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(string(l.src[start:l.pos]), "_", ""), 64)
	if err != nil {
		return token{}, l.errorf(start, "float out of range")
	}
	return token{tokFloat, start, l.pos, FormatFloat(f)}, nil
}

// FormatFloat prints f, which must be finite, as Erlang, JSON and YAML all
// read it: with a point, even before an exponent.
func FormatFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	mantissa, exponent, has := strings.Cut(s, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if has {
		return mantissa + "e" + exponent
	}
	return mantissa
}
