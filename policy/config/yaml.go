package config

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/seed7529eb29/regent/policy/erlterm"
)

// parseYAML reads the one document of src. A document with nothing in it is
// an empty mapping.
func parseYAML(name string, src []byte) (v value, err error) {
	// The YAML parser has panicked on broken input before, and a typing error
	// of a user is no bug of ours.
	defer func() {
		if r := recover(); r != nil {
			err = Diagnostic{Position: Position{File: name}, Message: fmt.Sprintf("not readable as YAML: %v", r)}
		}
	}()
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return value{}, yamlError(name, src, err)
	}
	c := yamlConverter{file: name, anchors: map[string]value{}}
	v = value{at: Position{name, 1, 1}, syntax: yaml, kind: kindMap}
	for i, doc := range documents(file) {
		if i > 0 {
			return value{}, Diagnostic{Position: c.position(doc), Message: "second YAML document, expected one"}
		}
		if v, err = c.convert(doc, 0); err != nil {
			return value{}, err
		}
	}
	return v, nil
}

// documents lists the bodies that hold something.
func documents(file *ast.File) []ast.Node {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.DirectiveNode:
		default:
			bodies = append(bodies, doc.Body)
		}
	}
	return bodies
}

func yamlError(name string, src []byte, err error) Diagnostic {
	d := Diagnostic{Position: Position{File: name}, Message: firstLine(err.Error()), cause: err}
	if e, ok := err.(goyaml.Error); ok {
		d.Message = firstLine(e.GetMessage())
		d.Position = tokenPosition(name, e.GetToken())
	}
	if bracket, at, ok := unclosed(name, src); ok && d.Line >= at.Line {
		d.Position, d.Message = at, fmt.Sprintf("'%c' is never closed: %s", bracket, d.Message)
	}
	return d
}

// unclosed finds the innermost flow bracket that is open where the source
// ends: the parser reports only where it noticed. It knows quotes and comments
// as far as an error message needs them.
func unclosed(name string, src []byte) (bracket rune, at Position, ok bool) {
	type opening struct {
		bracket rune
		at      Position
	}
	var open []opening
	quote, before := rune(0), ' '
	pos := Position{name, 1, 0}
	for _, r := range string(src) {
		pos.Column++
		fresh := strings.ContainsRune(" \t\n[{,:", before)
		switch {
		case quote != 0:
			if r == quote || quote == '#' && r == '\n' {
				quote = 0
			}
		case fresh && (r == '"' || r == '\'' || r == '#'):
			quote = r
		case r == '[' || r == '{':
			if fresh || len(open) > 0 {
				open = append(open, opening{r, pos})
			}
		case (r == ']' || r == '}') && len(open) > 0:
			open = open[:len(open)-1]
		}
		if before = r; r == '\n' {
			pos.Line, pos.Column = pos.Line+1, 0
		}
	}
	if len(open) == 0 || quote == '"' || quote == '\'' {
		return 0, Position{}, false
	}
	last := open[len(open)-1]
	return last.bracket, last.at, true
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

func tokenPosition(name string, t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{File: name}
	}
	return Position{name, max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// yamlConverter turns nodes into values.
type yamlConverter struct {
	file    string
	anchors map[string]value
	count   int
}

// Limits of a YAML file: aliases of aliases would grow without end.
const (
	yamlDepthMax = 100
	yamlCountMax = 200_000
)

func (c *yamlConverter) position(n ast.Node) Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return c.position(m.Values[0].Key)
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return c.position(m.Key)
	}
	return tokenPosition(c.file, n.GetToken())
}

func (c *yamlConverter) convert(n ast.Node, depth int) (value, error) {
	if n == nil {
		return value{at: Position{File: c.file}, syntax: yaml}, nil
	}
	v := value{at: c.position(n), syntax: yaml}
	if c.count++; c.count > yamlCountMax {
		return v, Diagnostic{Position: v.at, Message: "too many values"}
	}
	if depth > yamlDepthMax {
		return v, Diagnostic{Position: v.at, Message: fmt.Sprintf("nested more than %d deep", yamlDepthMax)}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return c.mapping(v, n.Values, depth)
	case *ast.MappingValueNode:
		return c.mapping(v, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		return c.sequence(v, n, depth)
	case *ast.AnchorNode:
		return c.anchor(n, depth)
	case *ast.AliasNode:
		return c.alias(v, n)
	case *ast.TagNode:
		return v, Diagnostic{Position: v.at, Message: "YAML tags are not supported"}
	}
	return c.scalar(v, n)
}

func (c *yamlConverter) scalar(v value, n ast.Node) (value, error) {
	switch n := n.(type) {
	case *ast.NullNode:
		v.kind = kindNull
	case *ast.BoolNode:
		v.kind, v.text = kindBool, fmt.Sprint(n.Value)
	case *ast.IntegerNode:
		v.kind, v.text, v.raw = kindInt, integerText(n), n.Token.Value
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) {
			return v, Diagnostic{Position: v.at, Message: "number out of range"}
		}
		v.kind, v.text, v.raw = kindFloat, erlterm.FormatFloat(n.Value), n.Token.Value
	case *ast.StringNode:
		v.kind, v.text = kindText, n.Value
	case *ast.LiteralNode:
		v.kind, v.text = kindText, n.Value.Value
	default:
		return v, Diagnostic{Position: v.at, Message: fmt.Sprintf("%v is not supported here", n.Type())}
	}
	if !utf8.ValidString(v.text) || !legal(v.text) {
		return v, Diagnostic{Position: v.at, Message: "illegal character, or invalid UTF-8"}
	}
	return v, nil
}

func integerText(n *ast.IntegerNode) string {
	if i, ok := new(big.Int).SetString(fmt.Sprint(n.Value), 10); ok {
		return i.String()
	}
	return "0"
}

func (c *yamlConverter) sequence(v value, n *ast.SequenceNode, depth int) (value, error) {
	v.kind = kindList
	for _, item := range n.Values {
		e, err := c.convert(item, depth+1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, e)
	}
	return v, nil
}

func (c *yamlConverter) mapping(v value, nodes []*ast.MappingValueNode, depth int) (value, error) {
	v.kind = kindMap
	var merged []pair
	for _, n := range nodes {
		val, err := c.convert(n.Value, depth+1)
		if err != nil {
			return v, err
		}
		if val.at.Line == 0 {
			val.at = c.position(n.Key)
		}
		if _, merge := n.Key.(*ast.MergeKeyNode); merge {
			if val.kind != kindMap {
				return v, Diagnostic{Position: c.position(n.Key), Message: "<< expects a mapping, found " + val.String()}
			}
			merged = append(merged, val.pairs...)
			continue
		}
		key, err := c.convert(n.Key, depth+1)
		if err != nil {
			return v, err
		}
		v.pairs = append(v.pairs, pair{key, val})
	}
	v.pairs = underlay(v.pairs, merged)
	return v, nil
}

// underlay adds the pairs of merge keys that are not there themselves.
func underlay(own, merged []pair) []pair {
	seen := map[string]bool{}
	for _, p := range own {
		seen[p.key.jsonKey()] = true
	}
	for _, p := range merged {
		if key := p.key.jsonKey(); !seen[key] {
			seen[key] = true
			own = append(own, p)
		}
	}
	return own
}

func (c *yamlConverter) anchor(n *ast.AnchorNode, depth int) (value, error) {
	v, err := c.convert(n.Value, depth+1)
	if err == nil && n.Name != nil {
		c.anchors[n.Name.GetToken().Value] = v
	}
	return v, err
}

// alias stands where it is used: that is what a reader has to look at.
func (c *yamlConverter) alias(v value, n *ast.AliasNode) (value, error) {
	name := n.Value.GetToken().Value
	target, found := c.anchors[name]
	if !found {
		return v, Diagnostic{Position: v.at, Message: fmt.Sprintf("no anchor %s before this alias", quote(name))}
	}
	if c.count += target.size(); c.count > yamlCountMax {
		return v, Diagnostic{Position: v.at, Message: "too many values"}
	}
	target.at = v.at
	return target, nil
}

// size counts the values in v.
func (v value) size() int {
	n := 1
	for _, item := range v.items {
		n += item.size()
	}
	for _, p := range v.pairs {
		n += p.key.size() + p.val.size()
	}
	return n
}
