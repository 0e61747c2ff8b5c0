package arch

import (
	"flag"
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rulesPage is the table of rules and the tests that pin them.
const rulesPage = "docs/semantics-tests.md"

var rewrite = flag.Bool("rewrite", false, "write "+rulesPage+" anew")

var (
	ruleRow   = regexp.MustCompile(`(?m)^\| ([AB]-\d+) \|(.*)\|$`)
	ruleCited = regexp.MustCompile(`\b[AB]-\d+\b`)
)

// TestRulesTested: every rule of docs/semantics.md that has a counterpart is
// pinned by a test or golden scenario that names it, and the table of them names
// no test that is not there. With -rewrite the table is written.
func TestRulesTested(t *testing.T) {
	pins := rulePins(t)
	var rules []string
	for _, m := range ruleRow.FindAllStringSubmatch(read(t, semantics), -1) {
		rule, row := m[1], m[2]
		if !slices.Contains(rules, rule) { // other tables of the page name rules, too
			rules = append(rules, rule)
		}
		if len(pins[rule]) == 0 && !strings.Contains(row, "n/a") && !strings.Contains(row, "not yet") {
			t.Errorf("no test names the rule %s, which %s says is implemented", rule, semantics)
		}
	}
	if len(rules) < 100 {
		t.Errorf("only %d rules found in %s", len(rules), semantics)
	}
	page := rulesTable(rules, pins)
	if *rewrite {
		if err := os.WriteFile(filepath.Join(root, rulesPage), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have := strings.Split(page, "\n")
	for line := range strings.SplitSeq(read(t, rulesPage), "\n") {
		checkRuleLine(t, line, have)
	}
}

// checkRuleLine: what the table says of a rule is so. That more tests name it by
// now is no fault.
func checkRuleLine(t *testing.T, line string, have []string) {
	t.Helper()
	m := ruleRow.FindStringSubmatch(line)
	if m == nil {
		return
	}
	i := slices.IndexFunc(have, func(l string) bool { return strings.HasPrefix(l, "| "+m[1]+" |") })
	for pin := range strings.SplitSeq(strings.TrimSpace(m[2]), ", ") {
		if i < 0 || !strings.Contains(have[i], pin) {
			t.Errorf("%s: %s is not pinned by %s any more: go test ./tests/arch -run TestRulesTested -rewrite", rulesPage, m[1], pin)
		}
	}
}

// rulePins are the tests that name each rule: functions of Go, in their text or
// comment, and golden scenarios, in their comments.
func rulePins(t *testing.T) map[string][]string {
	t.Helper()
	pins := map[string][]string{}
	add := func(text, pin string) {
		for _, rule := range ruleCited.FindAllString(text, -1) {
			if !slices.Contains(pins[rule], pin) {
				pins[rule] = append(pins[rule], pin)
			}
		}
	}
	r := loaded(t)
	for _, f := range r.files {
		if !f.test || f.pkg == "tests/arch" {
			continue
		}
		src := read(t, f.path)
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !regexp.MustCompile(`^(Test|Fuzz|Example)`).MatchString(fn.Name.Name) {
				continue
			}
			from := fn.Pos()
			if fn.Doc != nil {
				from = fn.Doc.Pos()
			}
			text := src[r.fset.Position(from).Offset:r.fset.Position(fn.End()).Offset]
			add(text, fmt.Sprintf("[%s](../%s)", fn.Name.Name, f.path))
		}
	}
	scenarios(t, func(name, comment string) {
		add(comment, fmt.Sprintf("[%s](../%s)", path.Base(name), name))
	})
	return pins
}

// scenarios gives the comments of every golden scenario, and the rules that one of
// tests/scenario is about: text files in a directory testdata, or below tests.
func scenarios(t *testing.T, each func(name, comment string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		name = filepath.ToSlash(name)
		golden := strings.Contains(name, "testdata/") || strings.HasPrefix(name, "tests/")
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !golden || !slices.Contains([]string{".txt", ".txtar", ".scenario"}, path.Ext(name)):
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var comment strings.Builder
		for line := range strings.Lines(string(src)) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "rules ") && path.Ext(name) == ".scenario" {
				comment.WriteString(line)
			}
		}
		each(name, comment.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rulesTable is the page.
func rulesTable(rules []string, pins map[string][]string) string {
	var b strings.Builder
	b.WriteString(`# Rules and their tests

Which tests and golden scenarios name each rule of [semantics.md](semantics.md). The table is made from the source:
` + "`go test ./tests/arch -run TestRulesTested -rewrite`" + ` writes it, and an ordinary run fails when a rule that has a
counterpart is named by no test, or a test that stands here is gone.

| rule | named by |
|---|---|
`)
	for _, rule := range rules {
		list := slices.Sorted(slices.Values(pins[rule]))
		text := strings.Join(list, ", ")
		if text == "" {
			text = "–"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", rule, text)
	}
	return b.String()
}
