package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed7529eb29/regent/policy/erlterm"
)

type syntax uint8

const (
	erlang syntax = iota
	yaml
)

// kind is what a value is in either syntax.
type kind uint8

const (
	kindNull  kind = iota
	kindBool       // YAML only
	kindInt        // text: decimal digits
	kindFloat      // text: with a point
	kindText
	kindAtom // Erlang only
	kindFun  // Erlang only
	kindList
	kindTuple // Erlang only
	kindMap
)

// value is one value of either syntax, and where it stands.
type value struct {
	at     Position
	syntax syntax
	kind   kind
	text   string
	raw    string  // a number as it was written, where that is known
	items  []value // of a list or tuple; the tail of an improper list is its last
	pairs  []pair  // of a map

	improper bool
}

type pair struct{ key, val value }

// String names a value in a message: what kind of thing stands there.
func (v value) String() string {
	switch v.kind {
	case kindBool, kindAtom:
		return clip(v.text)
	case kindInt, kindFloat:
		return "the number " + clip(v.text)
	case kindText:
		return "the string " + quote(v.text)
	}
	if v.improper {
		return "an improper list"
	}
	return [...]string{kindNull: "nothing", kindFun: "a fun", kindList: "a list", kindTuple: "a tuple", kindMap: "a mapping"}[v.kind]
}

// clip shortens what goes into a message.
func clip(s string) string {
	const limit = 60
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}

func quote(s string) string { return fmt.Sprintf("%q", clip(s)) }

// list is the elements of a list. In Erlang "" is a list too.
func (v value) list() ([]value, bool) {
	return v.items, v.kind == kindList && !v.improper || v.syntax == erlang && v.kind == kindText && v.text == ""
}

// entries is the pairs of a map, or of a list of pairs in Erlang. bad is the
// first element that is no pair, or v itself.
func (v value) entries() (pairs []pair, bad value, ok bool) {
	if v.kind == kindMap {
		return v.pairs, value{}, true
	}
	items, ok := v.list()
	if !ok || v.syntax != erlang {
		return nil, v, false
	}
	for _, item := range items {
		if item.kind != kindTuple || len(item.items) != 2 {
			return nil, item, false
		}
		pairs = append(pairs, pair{item.items[0], item.items[1]})
	}
	return pairs, value{}, true
}

// boolean reads true and false of either syntax.
func (v value) boolean() (b, ok bool) {
	if v.kind != kindBool && v.kind != kindAtom {
		return false, false
	}
	return v.text == "true", v.text == "true" || v.text == "false"
}

// str reads what may stand for a string: a string, a binary, an atom.
func (v value) str() (string, bool) {
	return v.text, v.kind == kindText || v.kind == kindAtom
}

// appendJSON converts v by the rules in the package's documentation.
func (v value) appendJSON(b []byte) []byte {
	switch v.kind {
	case kindNull:
		return append(b, "null"...)
	case kindBool, kindInt, kindFloat:
		return append(b, v.text...)
	case kindAtom:
		if v.text == "true" || v.text == "false" || v.text == "null" {
			return append(b, v.text...)
		}
	case kindMap:
		return v.appendObject(b)
	case kindList, kindTuple:
		if s, ok := v.printable(); ok {
			return appendString(b, s)
		}
		return v.appendArray(b)
	}
	return appendString(b, v.text)
}

func appendString(b []byte, s string) []byte {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("encode a string: " + err.Error())
	}
	return append(b, strings.TrimSuffix(out.String(), "\n")...)
}

func (v value) appendArray(b []byte) []byte {
	b = append(b, '[')
	for i, item := range v.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = item.appendJSON(b)
	}
	return append(b, ']')
}

// appendObject sorts the keys, so that equal objects are equal texts. Of keys
// that are equal as JSON the last is taken, as Erlang does.
func (v value) appendObject(b []byte) []byte {
	last := map[string]value{}
	var keys []string
	for _, p := range v.pairs {
		key := p.key.jsonKey()
		if _, again := last[key]; !again {
			keys = append(keys, key)
		}
		last[key] = p.val
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		b = last[key].appendJSON(b)
	}
	return append(b, '}')
}

// jsonKey is the text of a scalar, or the JSON of anything else.
func (v value) jsonKey() string {
	if v.kind == kindText || v.kind == kindAtom {
		return v.text
	}
	return string(v.appendJSON(nil))
}

// printable reads a non-empty Erlang list of Latin-1 characters as a string
// (OTP: io_lib:printable_latin1_list/1).
func (v value) printable() (string, bool) {
	if v.syntax != erlang || v.kind != kindList || v.improper || len(v.items) == 0 {
		return "", false
	}
	var b strings.Builder
	for _, item := range v.items {
		r, ok := item.char()
		if !ok {
			return "", false
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

func (v value) char() (rune, bool) {
	if v.kind != kindInt || len(v.text) > 3 {
		return 0, false
	}
	var n rune
	for _, c := range v.text {
		n = n*10 + c - '0'
	}
	printable := n >= ' ' && n < 0x7f || n >= 0xA0 && n <= 0xFF || n == 27 || n >= '\b' && n <= '\r'
	return n, printable && v.text[0] != '-'
}

// fromTerm converts an Erlang term.
func fromTerm(f *erlterm.File, name string, t erlterm.Term) value {
	p := f.Position(t.Offset)
	v := value{at: Position{name, p.Line, p.Column}, syntax: erlang, text: t.Text}
	switch t.Kind {
	case erlterm.Atom:
		v.kind = kindAtom
	case erlterm.Integer:
		v.kind, v.raw = kindInt, t.Text
	case erlterm.Float:
		v.kind = kindFloat
	case erlterm.String:
		v.kind = kindText
	case erlterm.Binary:
		v.kind, v.text = kindText, binaryText(t.Text)
	case erlterm.Fun:
		v.kind, v.text = kindFun, "fun "+t.Text
	case erlterm.List:
		v.kind, v.items = kindList, fromTerms(f, name, t.Elems)
		if t.Tail != nil {
			v.items, v.improper = append(v.items, fromTerm(f, name, *t.Tail)), true
		}
	case erlterm.Tuple:
		v.kind, v.items = kindTuple, fromTerms(f, name, t.Elems)
	case erlterm.Map:
		v.kind = kindMap
		for i := 0; i+1 < len(t.Elems); i += 2 {
			v.pairs = append(v.pairs, pair{fromTerm(f, name, t.Elems[i]), fromTerm(f, name, t.Elems[i+1])})
		}
	}
	return v
}

func fromTerms(f *erlterm.File, name string, terms []erlterm.Term) []value {
	items := make([]value, len(terms))
	for i, t := range terms {
		items[i] = fromTerm(f, name, t)
	}
	return items
}

// binaryText reads bytes as UTF-8, or as Latin-1 where they are none:
// <<"é">> without /utf8 is Latin-1.
func binaryText(s string) string {
	if utf8.ValidString(s) && legal(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// legal reports whether a text has only characters that Erlang and YAML can
// both write.
func legal(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == 0xFFFE || r == 0xFFFF })
}
