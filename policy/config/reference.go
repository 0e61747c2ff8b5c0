package config

import (
	"fmt"
	"strings"
)

// doc is what the reference says about a key.
type doc struct {
	erlang    string // how it is written in a .config; "": as a pair within its parent's value
	value     string // what may stand there; Markdown, as all that follows
	otherwise string // default
	meaning   string
	entry     string         // what the keys of the value stand for, where each has keys itself
	inner     func() []field // keys of the value, or of its entries
}

// Key is one key of the configuration, for the reference in docs. Value,
// Default and Meaning are Markdown.
type Key struct {
	YAML    string // path with dots; APP and NODE stand for a name
	Erlang  string // how it is written in a .config, "…" being its value
	Value   string
	Default string // empty: none
	Meaning string
	Refused bool // known, but not supported by this version: nothing else is said about it
}

// Keys lists every key that Load knows. They come from the tables that it
// decodes with; a mapping with known keys is described by these.
func Keys() []Key {
	d := &decoder{}
	var keys []Key
	for _, f := range d.yamlKeys(&layer{}) {
		keys = append(keys, f.keys("", "{regent, …}")...)
	}
	return keys
}

// keys are those of a field and, below it, of its value. parent is the path of
// the mapping it stands in, and form that mapping in Erlang.
func (f field) keys(parent, form string) []Key {
	k := Key{
		YAML: parent + f.name, Erlang: f.doc.erlang,
		Value: f.doc.value, Default: f.doc.otherwise, Meaning: f.doc.meaning,
		Refused: f.read == nil,
	}
	if k.Erlang == "" {
		k.Erlang = pairIn(form, f.name)
	}
	var keys []Key
	if k.Meaning != "" || k.Refused {
		keys = append(keys, k)
	}
	if f.doc.inner == nil {
		return keys
	}
	path, inside := k.YAML+".", k.Erlang
	if f.doc.entry != "" {
		path, inside = path+f.doc.entry+".", pairIn(inside, f.doc.entry)
	}
	for _, g := range f.doc.inner() {
		keys = append(keys, g.keys(path, inside)...)
	}
	return keys
}

// pairIn writes a pair as the value of what is around it.
func pairIn(form, name string) string {
	return strings.Replace(form, "…", "[{"+name+", …}]", 1)
}

// kernelForm is a key of OTP's own section.
func kernelForm(name string) string { return pairIn("{kernel, …}", name) }

func code(v any) string { return fmt.Sprintf("`%v`", v) }

// alternatives is "`a`, `b` or `c`".
func alternatives[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(code(w))
	}
	return b.String()
}
