package status_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// constants are the values of all constants of a type in the machine's source.
func constants(t *testing.T, typeName string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../machine/why.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == typeName {
				text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, text)
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("%d constants of %s found", len(out), typeName)
	}
	return out
}

// Every cause and every standing that the machine can tell has its own words.
func TestEveryReasonHasWords(t *testing.T) {
	said := map[string]string{}
	tell := func(what, text string) {
		if text == "" || text == "unknown" || text == what {
			t.Errorf("%s has no words", what)
		}
		if other, twice := said[text]; twice {
			t.Errorf("%s and %s are told alike: %s", what, other, text)
		}
		said[text] = what
	}
	for _, c := range constants(t, "Cause") {
		d := status.Document{Apps: []status.App{{Name: "a", Node: "n1@h", Next: "n2@h", State: machine.AppRunning, Cause: machine.Cause(c)}}}
		tell(c, d.Explain(&d.Apps[0]).Rule)
	}
	for _, s := range constants(t, "Standing") {
		d := status.Document{Apps: []status.App{{Name: "a", Candidates: []status.Candidate{{Node: "n1@h", Standing: machine.Standing(s), Error: "boom"}}}}}
		tell(s, d.Explain(&d.Apps[0]).Candidates[0].Text)
	}
}

// What is so now is one sentence.
func TestSentence(t *testing.T) {
	for _, c := range []struct {
		app  status.App
		want string
	}{
		{status.App{Name: "a", State: machine.AppRunning, Node: "n1@h", Epoch: 3, StartType: "normal"}, "a runs on n1@h, epoch 3 (normal)"},
		{status.App{Name: "a", State: machine.AppStarting, Node: "n1@h", Epoch: 3, StartType: "takeover", From: "n2@h"}, "a is starting on n1@h, epoch 3 (takeover from n2@h)"},
		{status.App{Name: "a", State: machine.AppFailingOver}, "a does not run: failing over"},
		{status.App{Name: "a", State: machine.AppRunning, RunningOn: []node.Name{"n1@h", "n2@h"}}, "a runs on n1@h, n2@h"},
	} {
		d := status.Document{Apps: []status.App{c.app}}
		if got := d.Explain(&d.Apps[0]).Now; got != c.want {
			t.Errorf("%+v: %q, want %q", c.app, got, c.want)
		}
	}
}
