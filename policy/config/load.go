package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/policy/erlterm"
)

// Reader returns the content of a file. An error that is fs.ErrNotExist lets
// the search for an include go on.
type Reader func(path string) ([]byte, error)

// includesMax bounds the files that are read: includes that include others
// twice grow without end.
const includesMax = 200

// Load reads files, in order, with their includes. ".config" may be left off.
// The error is a [Diagnostics] with everything found wrong.
func Load(read Reader, files ...string) (*Config, error) {
	l := loader{read: read, dec: &decoder{}}
	for _, name := range files {
		l.top(name)
	}
	m := merge(l.layers)
	c := l.dec.finish(m)
	if len(l.dec.errors) > 0 {
		return nil, Diagnostics(sorted(l.dec.errors))
	}
	return c, nil
}

type loader struct {
	read   Reader
	dec    *decoder
	layers []*layer
	files  int
}

// top reads a file that was named by the caller.
func (l *loader) top(name string) {
	found, src, err := l.find([]string{name})
	if err != nil {
		l.dec.add(Diagnostic{Position: Position{File: name}, Message: err.Error(), cause: err})
		return
	}
	l.file(found, src, nil)
}

// find reads the first of the candidates that exists, with ".config" or
// without.
func (l *loader) find(candidates []string) (string, []byte, error) {
	var tried []string
	for _, name := range candidates {
		tried = append(tried, name)
		if !strings.HasSuffix(name, ".config") {
			tried = append(tried, name+".config")
		}
	}
	for _, name := range tried {
		src, err := l.read(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return name, src, err
		}
	}
	return "", nil, notFound(tried)
}

// notFound is the names that were tried. It is fs.ErrNotExist.
type notFound []string

func (n notFound) Error() string { return "no such file, looked for " + strings.Join(n, ", ") }
func (n notFound) Unwrap() error { return fs.ErrNotExist }

// file reads one file; within are the files that include it, outermost first.
func (l *loader) file(name string, src []byte, within []string) {
	within = append(slices.Clip(within), name)
	if isErlang(name, src) {
		l.erlang(name, src, within)
		return
	}
	v, err := parseYAML(name, bytes.TrimPrefix(src, []byte("\ufeff")))
	if err != nil {
		l.dec.fail(err)
		return
	}
	l.layers = append(l.layers, l.dec.yamlTop(v))
}

// isErlang decides by content: an Erlang configuration is a list, a YAML one a
// mapping, whose flow form can be told from a tuple by the final dot. The name
// only decides where there is nothing else to go by.
func isErlang(name string, src []byte) bool {
	rest, comment := src, false
	for {
		rest = bytes.TrimLeft(rest, " \t\r\n\f\v\ufeff")
		if !bytes.HasPrefix(rest, []byte("%")) || bytes.HasPrefix(rest, []byte("%YAML")) || bytes.HasPrefix(rest, []byte("%TAG")) {
			break
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
		comment = true
	}
	switch {
	case len(rest) == 0:
		return comment || strings.HasSuffix(name, ".config")
	case rest[0] == '[':
		return true
	case rest[0] == '{':
		return comment || strings.HasSuffix(name, ".config") || bytes.HasSuffix(bytes.TrimRight(rest, " \t\r\n"), []byte("."))
	}
	return comment
}

// erlang reads the sections and includes of a file where they stand.
func (l *loader) erlang(name string, src []byte, within []string) {
	items, err := erlangItems(name, src)
	if err != nil {
		l.dec.fail(err)
		return
	}
	seen := map[string]Position{}
	for _, item := range items {
		switch {
		case item.kind == kindText:
			l.include(item, within)
		case item.kind == kindTuple && len(item.items) == 2 && item.items[0].kind == kindAtom:
			section := item.items[0]
			if first, again := seen[section.text]; again {
				l.dec.errorf(section.at, "", "duplicate application %s, first at %v", section.text, first)
				continue
			}
			seen[section.text] = section.at
			l.layers = append(l.layers, l.dec.section(section.text, item.items[1]))
		default:
			l.dec.errorf(item.at, "", "expected {Application, [{Key, Value}]} or \"FILE\", found %v", item)
		}
	}
}

// erlangItems reads the one list of an Erlang configuration.
func erlangItems(name string, src []byte) ([]value, error) {
	f, err := erlterm.Parse(src)
	if e, ok := errors.AsType[*erlterm.Error](err); ok {
		return nil, Diagnostic{Position: Position{name, e.Line, e.Column}, Message: e.Message}
	}
	if len(f.Terms) == 0 {
		p := f.Position(len(src))
		return nil, Diagnostic{Position: Position{name, p.Line, p.Column}, Message: "unexpected end of file, expected a list of {Application, [{Key, Value}]}"}
	}
	if len(f.Terms) > 1 {
		return nil, Diagnostic{Position: fromTerm(f, name, f.Terms[1]).at, Message: "second term, expected one list"}
	}
	v := fromTerm(f, name, f.Terms[0])
	if v.kind != kindList || f.Terms[0].Tail != nil {
		return nil, Diagnostic{Position: v.at, Message: fmt.Sprintf("expected a list of {Application, [{Key, Value}]}, found %v", v)}
	}
	return v.items, nil
}

// include reads another file where its name stands: beside the including
// file, else in the working directory.
func (l *loader) include(v value, within []string) {
	candidates := []string{v.text}
	if including := within[len(within)-1]; !path.IsAbs(v.text) {
		if beside := path.Join(path.Dir(including), v.text); beside != v.text {
			candidates = []string{beside, v.text}
		}
	}
	name, src, err := l.find(candidates)
	if err != nil {
		l.dec.add(Diagnostic{Position: v.at, Message: fmt.Sprintf("include %s: %v", quote(v.text), err), cause: err})
		return
	}
	for i, outer := range within {
		if path.Clean(outer) == path.Clean(name) {
			l.dec.errorf(v.at, "", "include cycle: %s", strings.Join(append(slices.Clone(within[i:]), name), " includes "))
			return
		}
	}
	if l.files++; l.files > includesMax {
		if l.files == includesMax+1 {
			l.dec.errorf(v.at, "", "more than %d includes", includesMax)
		}
		return
	}
	l.file(name, src, within)
}
