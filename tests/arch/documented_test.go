package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The documents that users and operators read.
const (
	protocol      = "docs/protocol.md"
	semantics     = "docs/semantics.md"
	configuration = "docs/configuration.md"
	operations    = "docs/operations.md"
	ledgerDoc     = "docs/ledger.md"
)

// mentions demands that a document has each of these words in code style, or
// as part of a longer piece of code.
func mentions(t *testing.T, doc, what string, words []string) {
	t.Helper()
	if len(words) == 0 {
		t.Errorf("found no %s in the source: the test looks for the wrong thing", what)
	}
	code := codeOf(read(t, doc))
	for _, w := range slices.Compact(slices.Sorted(slices.Values(words))) {
		if !regexp.MustCompile(`(^|[^A-Za-z0-9_])` + regexp.QuoteMeta(w) + `($|[^A-Za-z0-9_])`).MatchString(code) {
			t.Errorf("%s does not mention the %s %s", doc, what, w)
		}
	}
}

var inlineCode = regexp.MustCompile("`[^`\n]+`")

// codeOf is what stands between backquotes.
func codeOf(text string) string { return strings.Join(inlineCode.FindAllString(text, -1), "\n") }

// constants returns the values of the constants of one type, or, with a prefix
// in place of a type, of those whose names begin with it.
func constants(t *testing.T, pkg, typ, prefix string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range loaded(t).in(pkg) {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				id, _ := v.Type.(*ast.Ident)
				if typ != "" && (id == nil || id.Name != typ) || typ == "" && !strings.HasPrefix(v.Names[0].Name, prefix) {
					continue
				}
				if lit, ok := first(v.Values).(*ast.BasicLit); ok {
					found[v.Names[0].Name] = strings.Trim(lit.Value, `"`)
				}
			}
		}
	}
	return found
}

func first(exprs []ast.Expr) ast.Expr {
	if len(exprs) == 0 {
		return nil
	}
	return exprs[0]
}

func valuesOf(m map[string]string) []string { return slices.Collect(maps.Values(m)) }

// TestSubjectsDocumented: every kind of subject, and what is below a node.
func TestSubjectsDocumented(t *testing.T) {
	var subjects []string
	for _, kind := range constants(t, "bus", "Kind", "") {
		subjects = append(subjects, "regent.CLUSTER."+kind)
	}
	subjects = append(subjects, constants(t, "bus", "", "pingPart")["pingPart"], constants(t, "bus", "", "messagePart")["messagePart"])
	mentions(t, protocol, "subject", subjects)
}

// TestEventsDocumented: every type of event, and no type is made up elsewhere.
func TestEventsDocumented(t *testing.T) {
	types := valuesOf(constants(t, "kv", "EventType", ""))
	mentions(t, protocol, "event type", types)
	for _, used := range historyTypes(t) {
		if !slices.Contains(types, used) {
			t.Errorf("a line of history has the type %q, which kv.EventType does not know", used)
		}
	}
}

// TestEventFieldsDocumented: every field of an event stands where the history is
// described, and those that make it evidence where that is explained.
func TestEventFieldsDocumented(t *testing.T) {
	var fields []string
	for _, f := range loaded(t).in("kv") {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.Name == "Event" {
				fields = jsonNames(s.Type.(*ast.StructType))
			}
			return true
		})
	}
	mentions(t, protocol, "field of an event", fields)
	if len(fields) < 20 {
		t.Fatalf("found only the fields %v", fields)
	}
	mentions(t, ledgerDoc, "field of an event", fields[slices.Index(fields, "detail")+1:])
}

// TestFindingsDocumented: every kind of finding of regent verify.
func TestFindingsDocumented(t *testing.T) {
	mentions(t, ledgerDoc, "kind of finding", valuesOf(constants(t, "policy/audit", "Kind", "")))
}

// TestMetricsDocumented: the metrics that exist are those that are documented.
func TestMetricsDocumented(t *testing.T) {
	names := valuesOf(constants(t, "manager/metrics", "", "name"))
	mentions(t, operations, "metric", names)
	for _, name := range regexp.MustCompile(`\bregent_[a-z_]+\b`).FindAllString(codeOf(read(t, operations)), -1) {
		if !slices.Contains(names, name) {
			t.Errorf("%s has the metric %s, which does not exist", operations, name)
		}
	}
}

// historyTypes are the types that the source gives to lines of history.
func historyTypes(t *testing.T) (used []string) {
	for _, f := range loaded(t).files {
		if f.test || !slices.Contains([]string{"manager/machine", "manager", "cmd/regent"}, f.pkg) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if ok && strings.HasSuffix(typeName(lit.Type), "History") {
				used = append(used, textOf(lit, "Type")...)
			}
			return true
		})
	}
	if len(used) < 10 {
		t.Errorf("found only %d lines of history in the source", len(used))
	}
	return used
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// textOf is the text that a literal gives to a field.
func textOf(lit *ast.CompositeLit, field string) []string {
	for i, e := range lit.Elts {
		kv, keyed := e.(*ast.KeyValueExpr)
		switch {
		case keyed && typeName(kv.Key) == field:
			e = kv.Value
		case keyed || i > 0:
			continue
		}
		if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
			return []string{strings.Trim(text.Value, `"`)}
		}
	}
	return nil
}

// TestRowsDocumented: every transition of the protocol has its row.
func TestRowsDocumented(t *testing.T) {
	ops := constants(t, "manager/machine", "Op", "")
	text := read(t, protocol)
	for name, op := range ops {
		row, _, _ := strings.Cut(op, " ")
		if regexp.MustCompile(`^[SA]\d`).MatchString(row) && !strings.Contains(text, "| "+row+" |") {
			t.Errorf("%s has no row %s (%s)", protocol, row, name)
		}
	}
	if len(ops) < 16 {
		t.Errorf("found only %d rows in the source", len(ops))
	}
}

// TestFieldsDocumented: every field of the records and of the heartbeat.
func TestFieldsDocumented(t *testing.T) {
	var fields []string
	for _, pkg := range []string{"kv", "bus/wire"} {
		for _, f := range loaded(t).in(pkg) {
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.TypeSpec)
				if ok && slices.Contains([]string{"nodeJSON", "hostJSON", "appJSON", "slotJSON", "endedJSON", "identityJSON", "nameJSON", "beat", "appBeat"}, s.Name.Name) {
					fields = append(fields, jsonNames(s.Type.(*ast.StructType))...)
				}
				return true
			})
		}
	}
	mentions(t, protocol, "field", fields)
}

var jsonTag = regexp.MustCompile(`json:"([^",]+)`)

func jsonNames(s *ast.StructType) (names []string) {
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		if m := jsonTag.FindStringSubmatch(f.Tag.Value); m != nil {
			names = append(names, m[1])
		}
	}
	return names
}

// TestKeysDocumented: every key of the configuration.
func TestKeysDocumented(t *testing.T) {
	var keys []string
	for _, f := range loaded(t).in("policy/config") {
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if typeName(lit.Type) == "field" {
				keys = append(keys, textOf(lit, "name")...)
			}
			if array, ok := lit.Type.(*ast.ArrayType); ok && typeName(array.Elt) == "field" {
				for _, e := range lit.Elts {
					if inner, ok := e.(*ast.CompositeLit); ok {
						keys = append(keys, textOf(inner, "name")...)
					}
				}
			}
			return true
		})
	}
	if len(keys) < 40 {
		t.Errorf("found only %d keys in the source", len(keys))
	}
	mentions(t, configuration, "key", keys)
}

// TestVariablesDocumented: every variable that an app's process finds.
func TestVariablesDocumented(t *testing.T) {
	mentions(t, configuration, "variable", valuesOf(constants(t, "manager/osproc", "", "env")))
}

// TestExitCodesDocumented: the three places that name exit codes agree, and the
// table has exactly those.
func TestExitCodesDocumented(t *testing.T) {
	program := codes(constants(t, "cmd/regent", "", "exit"))
	for _, c := range []struct{ pkg, prefix string }{{"manager", "Exit"}, {"manager/machine", "exit"}} {
		for _, code := range codes(constants(t, c.pkg, "", c.prefix)) {
			if !slices.Contains(program, code) {
				t.Errorf("package %s ends with %d, which cmd/regent does not know", c.pkg, code)
			}
		}
	}
	_, table, _ := strings.Cut(read(t, operations), "## Exit codes")
	var documented []int
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(table, -1) {
		documented = append(documented, number(m[1]))
	}
	if !slices.Equal(program, documented) {
		t.Errorf("%s lists the exit codes %v, cmd/regent has %v", operations, documented, program)
	}
}

func codes(m map[string]string) (list []int) {
	for _, v := range m {
		list = append(list, number(v))
	}
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// TestSentinelsDocumented: every exported error says when it is returned, and
// those of the Go API stand in the table of errors.
func TestSentinelsDocumented(t *testing.T) {
	var api []string
	for _, f := range loaded(t).files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				name := v.Names[0].Name
				if !strings.HasPrefix(name, "Err") {
					continue
				}
				if g.Doc == nil && v.Doc == nil && v.Comment == nil {
					t.Errorf("%s: nothing says when %s is returned", f.path, name)
				}
				if f.pkg == "manager" {
					api = append(api, name)
				}
			}
		}
	}
	mentions(t, semantics, "sentinel", api)
}

// TestRulesDocumented: every rule that a comment, a test or a document cites
// exists, and the numbers have no gaps.
func TestRulesDocumented(t *testing.T) {
	text := read(t, semantics)
	rules := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([AB]-\d+) \|`).FindAllStringSubmatch(text, -1) {
		rules[m[1]] = true
	}
	for part, last := range map[string]int{"A": 76, "B": 26} {
		for n := range last {
			if rule := fmt.Sprintf("%s-%d", part, n+1); !rules[rule] {
				t.Errorf("%s has no rule %s", semantics, rule)
			}
		}
	}
	cited := regexp.MustCompile(`\b[AB]-\d+\b`)
	for _, suffix := range []string{".go", ".md", ".txt"} {
		if err := walk(suffix, func(name string, src []byte) error {
			for _, rule := range cited.FindAllString(string(src), -1) {
				if !rules[rule] && !strings.HasPrefix(name, "tests/arch/") {
					t.Errorf("%s cites rule %s, which %s does not have", name, rule, semantics)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCommandsDocumented: what documents tell people to type exists, and every
// command that the help shows stands in one of them.
func TestCommandsDocumented(t *testing.T) {
	exists := map[string]bool{"completion": true, "help": true}
	var shown []string
	for _, f := range loaded(t).in("cmd/regent") {
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if ok && typeName(lit.Type) == "Command" {
				for _, use := range textOf(lit, "Use") {
					name, _, _ := strings.Cut(use, " ")
					exists[name] = true
					if fieldOf(lit, "Hidden") == nil {
						shown = append(shown, name)
					}
				}
			}
			return true
		})
	}
	typed := map[string]bool{"regent": true}
	command := regexp.MustCompile(`(?m)(?:^\s*(?:\$ )?|[^a-zA-Z0-9_/ -]|&& )regent ([a-z]+)\b(?: ([a-z]+)\b)?`)
	if err := walk(".md", func(name string, src []byte) error {
		text := string(src)
		code := codeOf(fenced.ReplaceAllString(text, "")) + "\n" + strings.Join(fenced.FindAllString(text, -1), "\n")
		for _, m := range command.FindAllStringSubmatch(code, -1) {
			typed[m[1]], typed[m[2]] = true, true
			if !exists[m[1]] {
				t.Errorf("%s: there is no command %q", name, m[1])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range shown {
		if !typed[name] {
			t.Errorf("no document has the command %q", name)
		}
	}
}

// fieldOf is what a literal gives to a field, nil if nothing.
func fieldOf(lit *ast.CompositeLit, field string) ast.Expr {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && typeName(kv.Key) == field {
			return kv.Value
		}
	}
	return nil
}
