package erlterm

import "slices"

// Kind says what a Term is.
type Kind uint8

// Kinds of terms. String is a list of characters that was written in quotes:
// Erlang forgets the difference, a configuration should not.
const (
	Atom Kind = iota + 1
	Integer
	Float
	String
	Binary
	Fun
	List
	Tuple
	Map
)

func (k Kind) String() string {
	names := [...]string{"nothing", "atom", "integer", "float", "string", "binary", "fun", "list", "tuple", "map"}
	if int(k) >= len(names) {
		return "unknown kind"
	}
	return names[k]
}

// Term is one term and, when it was parsed, where it stood.
type Term struct {
	Kind Kind
	// Text is the name of an atom, the decimal digits of a number (a float
	// always has a point), the characters of a string in UTF-8, the bytes of a
	// binary, Module:Function/Arity of a fun; "" for the others.
	Text string
	// Elems are the elements of a list or tuple, or the keys and values of a
	// map in turn, as written: a key may stand there twice.
	Elems []Term
	// Tail is what follows the | of an improper list, else nil.
	Tail *Term

	Offset, End int // the term is source[Offset:End]
}

// Equal reports whether a and b are written the same, wherever they stand.
func Equal(a, b Term) bool {
	if a.Kind != b.Kind || a.Text != b.Text || (a.Tail == nil) != (b.Tail == nil) {
		return false
	}
	if a.Tail != nil && !Equal(*a.Tail, *b.Tail) {
		return false
	}
	return slices.EqualFunc(a.Elems, b.Elems, Equal)
}

// NewAtom, NewString and the others below build terms for printing.
func NewAtom(name string) Term { return Term{Kind: Atom, Text: name} }

// NewString makes a string of UTF-8 text.
func NewString(s string) Term { return Term{Kind: String, Text: s} }

// NewInteger makes an integer of decimal digits, with a sign or not.
func NewInteger(digits string) Term { return Term{Kind: Integer, Text: digits} }

// NewList makes a proper list.
func NewList(elems ...Term) Term { return Term{Kind: List, Elems: elems} }

// NewTuple makes a tuple.
func NewTuple(elems ...Term) Term { return Term{Kind: Tuple, Elems: elems} }
