package erlterm

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of Parse: a configuration needs a tiny part of them.
const (
	MaxDepth = 500      // brackets within brackets
	MaxSize  = 16 << 20 // bytes of source
)

// Parse reads every term of src. The error is an *Error.
func Parse(src []byte) (*File, error) {
	src = decode(src)
	if len(src) > MaxSize {
		return nil, &Error{Position{1, 1}, 0, "larger than 16 MiB"}
	}
	p := parser{lexer: lexer{src: src}}
	f := &File{src: src}
	for {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.kind == tokEOF {
			return f, nil
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		if p.tok.kind != tokDot {
			return nil, p.unexpected("'.' to end the term")
		}
		f.Terms = append(f.Terms, t)
	}
}

// parser looks one token ahead.
type parser struct {
	lexer
	tok   token
	last  int     // end of the token before tok
	open  []token // brackets not closed yet
	depth int
}

func (p *parser) advance() (err error) {
	p.last = p.tok.end
	p.tok, err = p.next()
	return err
}

// unexpected reports the token at hand. When the source or the term ends
// inside a bracket, that bracket is what has to be looked at.
func (p *parser) unexpected(expected string) error {
	if len(p.open) > 0 && (p.tok.kind == tokEOF || p.tok.kind == tokDot) {
		b := p.open[len(p.open)-1]
		return p.errorf(b.off, "'%s' is never closed: %s at %v, expected %s", b.text, p.tok.describe(), position(p.src, p.tok.off), expected)
	}
	return p.errorf(p.tok.off, "unexpected %s, expected %s%s", p.tok.describe(), expected, p.advice())
}

// advice says more about the token at hand: which bracket a wrong one leaves
// open, or what quotes would do.
func (p *parser) advice() string {
	switch {
	case p.tok.kind == tokWord:
		return " (an atom of this name needs quotes)"
	case p.tok.kind == tokVariable:
		return " (an atom that begins with a capital letter or _ needs quotes)"
	case len(p.open) > 0 && (p.is("]") || p.is("}") || p.is(")") || p.is(">>")):
		b := p.open[len(p.open)-1]
		return fmt.Sprintf(" ('%s' is open since %v)", b.text, position(p.src, b.off))
	}
	return ""
}

func (p *parser) is(punct string) bool { return p.tok.kind == tokPunct && p.tok.text == punct }

func (p *parser) expect(punct, expected string) error {
	if !p.is(punct) {
		return p.unexpected(expected)
	}
	return p.advance()
}

func (p *parser) term() (Term, error) {
	t := p.tok
	switch t.kind {
	case tokAtom:
		if utf8.RuneCountInString(t.text) > maxAtom {
			return Term{}, p.errorf(t.off, "atom of more than %d characters", maxAtom)
		}
		return p.leaf(Atom)
	case tokInteger:
		return p.leaf(Integer)
	case tokFloat:
		return p.leaf(Float)
	case tokString:
		return p.str()
	case tokPunct:
		return p.compound()
	case tokWord:
		if t.text == "fun" {
			return p.fun()
		}
	}
	return Term{}, p.unexpected("a term")
}

func (p *parser) leaf(k Kind) (Term, error) {
	t := Term{Kind: k, Text: p.tok.text, Offset: p.tok.off, End: p.tok.end}
	return t, p.advance()
}

// str joins adjacent strings.
func (p *parser) str() (Term, error) {
	t := Term{Kind: String, Offset: p.tok.off}
	var b strings.Builder
	for p.tok.kind == tokString {
		b.WriteString(p.tok.text)
		if err := p.advance(); err != nil {
			return Term{}, err
		}
	}
	t.Text, t.End = b.String(), p.last
	return t, nil
}

// compound reads what begins with a bracket or a sign.
func (p *parser) compound() (Term, error) {
	switch p.tok.text {
	case "[", "{", "#{", "<<", "(":
		return p.bracket()
	case "-", "+":
		return p.signed()
	}
	return Term{}, p.unexpected("a term")
}

func (p *parser) bracket() (Term, error) {
	open := p.tok
	if p.depth++; p.depth > MaxDepth {
		return Term{}, p.errorf(open.off, "nested more than %d deep", MaxDepth)
	}
	p.open = append(p.open, open)
	if err := p.advance(); err != nil {
		return Term{}, err
	}
	t, err := p.inside(open.text)
	if err != nil {
		return Term{}, err
	}
	p.open = p.open[:len(p.open)-1]
	p.depth--
	t.Offset, t.End = open.off, p.last
	return t, nil
}

func (p *parser) inside(open string) (Term, error) {
	switch open {
	case "[":
		return p.list()
	case "{":
		elems, err := p.elements("}", p.term)
		return Term{Kind: Tuple, Elems: elems}, err
	case "#{":
		return p.mapping()
	case "<<":
		return p.binary()
	}
	t, err := p.term()
	if err != nil {
		return Term{}, err
	}
	return t, p.expect(")", "')'")
}

// elements reads what is separated by commas up to and with the closing
// bracket; nothing at all is allowed, a comma before the bracket is not.
func (p *parser) elements(closing string, element func() (Term, error)) ([]Term, error) {
	if p.is(closing) {
		return nil, p.advance()
	}
	var elems []Term
	for {
		t, err := element()
		if err != nil {
			return nil, err
		}
		elems = append(elems, t)
		if p.is(closing) {
			return elems, p.advance()
		}
		if err := p.expect(",", "',' or '"+closing+"'"); err != nil {
			return nil, err
		}
	}
}

func (p *parser) list() (Term, error) {
	t := Term{Kind: List}
	elems, err := p.elements("]", func() (Term, error) {
		e, err := p.term()
		if err != nil || !p.is("|") {
			return e, err
		}
		if err := p.advance(); err != nil {
			return e, err
		}
		tail, err := p.term()
		if err == nil && !p.is("]") {
			err = p.unexpected("']' after the tail of the list")
		}
		t.Tail = &tail
		return e, err
	})
	t.Elems = elems
	return proper(t), err
}

// proper turns [a|[b]] into [a,b], which is the same list, and so with a
// string for [b].
func proper(t Term) Term {
	if t.Tail == nil {
		return t
	}
	switch tail := *t.Tail; tail.Kind {
	case List:
		t.Elems, t.Tail = append(t.Elems, tail.Elems...), tail.Tail
	case String:
		t.Tail = nil
		for _, r := range tail.Text {
			t.Elems = append(t.Elems, Term{Kind: Integer, Text: strconv.Itoa(int(r)), Offset: tail.Offset, End: tail.End})
		}
	}
	return t
}

func (p *parser) mapping() (Term, error) {
	t := Term{Kind: Map}
	_, err := p.elements("}", func() (Term, error) {
		key, err := p.term()
		if err != nil {
			return key, err
		}
		if err := p.expect("=>", "'=>'"); err != nil {
			return key, err
		}
		value, err := p.term()
		t.Elems = append(t.Elems, key, value)
		return key, err
	})
	return t, err
}

// signed reads -N and +N; Erlang allows one sign.
func (p *parser) signed() (Term, error) {
	sign := p.tok
	if err := p.advance(); err != nil {
		return Term{}, err
	}
	var t Term
	var err error
	switch {
	case p.tok.kind == tokInteger, p.tok.kind == tokFloat, p.is("("):
		t, err = p.term()
	default:
		return Term{}, p.unexpected("a number after '" + sign.text + "'")
	}
	if err != nil {
		return Term{}, err
	}
	if t.Kind != Integer && t.Kind != Float {
		return Term{}, p.errorf(t.Offset, "unexpected %v, expected a number after '%s'", t.Kind, sign.text)
	}
	if sign.text == "-" {
		t.Text = negate(t)
	}
	t.Offset = sign.off
	return t, nil
}

func negate(t Term) string {
	if text, negative := strings.CutPrefix(t.Text, "-"); negative {
		return text
	}
	if t.Kind == Integer && t.Text == "0" {
		return t.Text
	}
	return "-" + t.Text
}

// fun reads the name of an exported function, as logger filters have it.
func (p *parser) fun() (Term, error) {
	t := Term{Kind: Fun, Offset: p.tok.off}
	if err := p.advance(); err != nil {
		return Term{}, err
	}
	module, err := p.part(tokAtom, "a module name")
	if err == nil {
		err = p.expect(":", "':' and a function name")
	}
	if err != nil {
		return Term{}, err
	}
	function, err := p.part(tokAtom, "a function name")
	if err == nil {
		err = p.expect("/", "'/' and an arity")
	}
	if err != nil {
		return Term{}, err
	}
	arity, err := p.part(tokInteger, "an arity")
	t.Text = NewAtom(module).String() + ":" + NewAtom(function).String() + "/" + arity
	t.End = p.last
	return t, err
}

// part reads the text of one token of a kind.
func (p *parser) part(kind tokenKind, expected string) (string, error) {
	if p.tok.kind != kind {
		return "", p.unexpected(expected)
	}
	text := p.tok.text
	return text, p.advance()
}

// binary reads the segments of a binary.
func (p *parser) binary() (Term, error) {
	var out []byte
	_, err := p.elements(">>", func() (Term, error) {
		t, err := p.segment()
		out = append(out, t.Text...)
		return Term{}, err
	})
	return Term{Kind: Binary, Text: string(out)}, err
}

// segment reads one segment and returns its bytes as Text.
func (p *parser) segment() (Term, error) {
	if k := p.tok.kind; k != tokString && k != tokInteger && !p.is("-") && !p.is("+") && !p.is("(") {
		return Term{}, p.unexpected("a string or an integer")
	}
	value, err := p.term()
	if err != nil {
		return Term{}, err
	}
	if value.Kind != String && value.Kind != Integer {
		return Term{}, p.errorf(value.Offset, "unexpected %v in a binary, expected a string or an integer", value.Kind)
	}
	size, err := p.segmentSize()
	if err != nil {
		return Term{}, err
	}
	utf, err := p.segmentType(size)
	if err != nil {
		return Term{}, err
	}
	if !utf {
		return Term{Text: string(integers(value, max(size, 8)/8))}, nil
	}
	return p.utf8Segment(value)
}

// maxSegment bounds the size of one segment in bits.
const maxSegment = 4096

// segmentSize reads ":bits"; 0 is none.
func (p *parser) segmentSize() (int, error) {
	if !p.is(":") {
		return 0, nil
	}
	if err := p.advance(); err != nil {
		return 0, err
	}
	n, ok := new(big.Int).SetString(p.tok.text, 10)
	if p.tok.kind != tokInteger || !ok {
		return 0, p.unexpected("a size in bits")
	}
	if !n.IsInt64() || n.Int64() < 8 || n.Int64() > maxSegment || n.Int64()%8 != 0 {
		return 0, p.errorf(p.tok.off, "size of %s bits is not supported, expected a multiple of 8 up to %d", clip(p.tok.text), maxSegment)
	}
	return int(n.Int64()), p.advance()
}

// segmentType reads "/type".
func (p *parser) segmentType(size int) (utf bool, err error) {
	if !p.is("/") {
		return false, nil
	}
	if err := p.advance(); err != nil {
		return false, err
	}
	if p.tok.kind != tokAtom || p.tok.text != "utf8" && p.tok.text != "integer" {
		return false, p.unexpected("utf8 or integer")
	}
	utf = p.tok.text == "utf8"
	if utf && size > 0 {
		return false, p.errorf(p.tok.off, "utf8 takes no size")
	}
	return utf, p.advance()
}

// integers encodes an integer, or each character of a string, as size bytes;
// what doesn't fit is cut off, as in Erlang.
func integers(value Term, size int) []byte {
	if value.Kind == Integer {
		return truncate(value.Text, size)
	}
	var out []byte
	for _, r := range value.Text {
		wide := binary.BigEndian.AppendUint64(make([]byte, size), uint64(r))
		out = append(out, wide[len(wide)-size:]...)
	}
	return out
}

// truncate is the two's complement of a decimal number, modulo 256^size.
func truncate(text string, size int) []byte {
	n, _ := new(big.Int).SetString(text, 10)
	modulus := new(big.Int).Lsh(big.NewInt(1), uint(size)*8)
	return n.Mod(n, modulus).FillBytes(make([]byte, size))
}

func (p *parser) utf8Segment(value Term) (Term, error) {
	if value.Kind == String {
		return value, nil
	}
	n, _ := new(big.Int).SetString(value.Text, 10)
	if !n.IsInt64() || n.Sign() < 0 || n.Int64() > utf8.MaxRune || !utf8.ValidRune(rune(n.Int64())) {
		return Term{}, p.errorf(value.Offset, "%s is not a character", clip(value.Text))
	}
	return Term{Text: string(rune(n.Int64()))}, nil
}
