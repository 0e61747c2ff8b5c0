package arch

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pure are the packages that compute and do nothing else: what they return
// depends on what they are given, and on nothing besides.
var pure = []string{
	"policy", "policy/node", "policy/audit", "policy/erlterm", "policy/specjson", "policy/config",
	"manager/machine", "manager/warden/vigil", "manager/status", "bus/wire",
}

// pureMay are the packages that pure ones may import. The standard library's
// are few enough to be listed; sync, context, os, net, log and math/rand are not
// among them.
var pureMay = []string{
	"bytes", "cmp", "crypto/sha256", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt",
	"io/fs", // its errors: files come through a function
	"maps", "math", "math/big", "path", "slices", "strconv", "strings", "time", "unicode", "unicode/utf8",
	"github.com/goccy/go-yaml", "github.com/goccy/go-yaml/ast", "github.com/goccy/go-yaml/parser", "github.com/goccy/go-yaml/token",
}

// forbidden are functions of those packages that are not pure.
var forbidden = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Local", "LoadLocation"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"maps": {"Keys", "Values", "All", "DeleteFunc"}, // but see sortedAtOnce
}

// TestPure checks the pure packages: their imports, and that they contain no
// goroutine, no channel, no clock, no order of a map and no variable that
// changes.
func TestPure(t *testing.T) {
	r := loaded(t)
	imp := exportData(t, r.fset)
	for _, pkg := range pure {
		files := r.in(pkg)
		if len(files) == 0 {
			t.Errorf("no package %s", pkg)
			continue
		}
		info := newInfo()
		conf := types.Config{Importer: imp}
		if _, err := conf.Check(module+"/"+pkg, r.fset, files, info); err != nil {
			t.Errorf("%s: %v", pkg, err)
			continue
		}
		for _, f := range files {
			p := purity{info: info, report: func(n ast.Node, what string) {
				t.Errorf("%v: %s, in a pure package", r.fset.Position(n.Pos()), what)
			}}
			p.checkFile(f)
		}
	}
}

// exportData imports packages as the compiler has left them in the build
// cache, which is many times faster than from source.
func exportData(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	exports, err := exportFiles()
	if err != nil {
		t.Fatal(err)
	}
	return importer.ForCompiler(fset, "gc", func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("no export data for %q", name)
		}
		return os.Open(exports[name])
	})
}

// exportFiles finds the export data of the pure packages and of all they
// import.
var exportFiles = sync.OnceValues(func() (map[string]string, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}
	for _, pkg := range pure {
		args = append(args, "./"+pkg)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go list: %s", exit.Stderr)
	}
	exports := map[string]string{}
	for line := range bytes.Lines(out) {
		name, file, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		exports[name] = file
	}
	return exports, err
})

// TestPurityHasTeeth: what must be caught is caught, and the allowed spelling
// of it is not.
func TestPurityHasTeeth(t *testing.T) {
	fset := token.NewFileSet()
	imp := exportData(t, fset)
	for _, c := range []struct{ body, want string }{
		{"for range m {}", "a range over a map, whose order is random (range over slices.Sorted(maps.Keys(m)))"},
		{"for range maps.Keys(m) {}", "maps.Keys"},
		{"for range slices.Sorted(maps.Keys(m)) {}", ""},
		{"_ = time.Now()", "time.Now"},
		{"f := time.Now; _ = f", "time.Now"},
		{"_ = time.Second", ""},
		{"go f()", "a goroutine"},
		{"select {}", "a select"},
		{"var c chan int; _ = c", "a channel"},
		{"state++", "a change of the variable state of its package"},
		{"table[1] = 2", "a change of the variable table of its package"},
		{"state := 1; state++", ""},
	} {
		src := "package p\nimport (\"maps\"; \"slices\"; \"time\")\nvar (m, table map[int]int; state int; _ = maps.Keys[map[int]int]; _ = slices.Max[[]int]; _ time.Time)\nfunc f() { " + c.body + " }"
		f, err := parser.ParseFile(fset, "p.go", src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		info := newInfo()
		if _, err := (&types.Config{Importer: imp}).Check("p", fset, []*ast.File{f}, info); err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		got := ""
		p := purity{info: info, report: func(_ ast.Node, what string) { got = what }}
		p.checkFile(f.Decls[len(f.Decls)-1])
		if got != c.want {
			t.Errorf("%s: found %q, expected %q", c.body, got, c.want)
		}
	}
}

func newInfo() *types.Info {
	return &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
}

// purity judges syntax trees.
type purity struct {
	info   *types.Info
	report func(n ast.Node, what string)
}

func (p *purity) errorf(n ast.Node, format string, args ...any) {
	p.report(n, fmt.Sprintf(format, args...))
}

func (p *purity) checkFile(n ast.Node) {
	ast.PreorderStack(n, nil, func(n ast.Node, stack []ast.Node) bool {
		p.check(n, stack)
		return true
	})
}

func (p *purity) checkImport(n *ast.ImportSpec) {
	imported := strings.Trim(n.Path.Value, `"`)
	what, ours := local(imported)
	if ours && !slices.Contains(pure, what) || !ours && !slices.Contains(pureMay, imported) {
		p.errorf(n, "import of %s", imported)
	}
}

func (p *purity) check(n ast.Node, stack []ast.Node) {
	switch n := n.(type) {
	case *ast.ImportSpec:
		p.checkImport(n)
	case *ast.GoStmt:
		p.errorf(n, "a goroutine")
	case *ast.SelectStmt:
		p.errorf(n, "a select")
	case *ast.SendStmt:
		p.errorf(n, "a send on a channel")
	case *ast.ChanType:
		p.errorf(n, "a channel")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			p.errorf(n, "a receive from a channel")
		}
	case *ast.RangeStmt:
		p.checkRange(n)
	case *ast.SelectorExpr:
		p.checkUse(n, stack)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			p.checkWrites(n.Lhs...)
		}
	case *ast.IncDecStmt:
		p.checkWrites(n.X)
	}
}

func (p *purity) checkRange(n *ast.RangeStmt) {
	if isMap(p.info.TypeOf(n.X)) {
		p.errorf(n, "a range over a map, whose order is random (range over slices.Sorted(maps.Keys(m)))")
	}
}

// isMap reports whether t, or a type that t stands for, is a map.
func isMap(t types.Type) bool {
	if param, ok := t.(*types.TypeParam); ok {
		t = param.Constraint()
	}
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface:
		for embedded := range u.EmbeddedTypes() {
			if union, ok := embedded.(*types.Union); ok && slices.ContainsFunc(slices.Collect(union.Terms()), func(t *types.Term) bool { return isMap(t.Type()) }) {
				return true
			}
		}
	}
	return false
}

// checkUse looks at every use of something from another package.
func (p *purity) checkUse(n *ast.SelectorExpr, stack []ast.Node) {
	obj := p.info.Uses[n.Sel]
	if obj == nil || obj.Pkg() == nil || obj.Parent() != obj.Pkg().Scope() {
		return // a method or a field
	}
	if slices.Contains(forbidden[obj.Pkg().Path()], obj.Name()) && !p.sortedAtOnce(stack) {
		p.errorf(n, "%s.%s", path.Base(obj.Pkg().Path()), obj.Name())
	}
}

// sortedAtOnce: the order of maps.Keys is gone when slices.Sorted has it.
func (p *purity) sortedAtOnce(stack []ast.Node) bool {
	if len(stack) < 2 {
		return false
	}
	outer, ok := stack[len(stack)-2].(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := outer.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	obj := p.info.Uses[sel.Sel]
	return obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "slices" && strings.HasPrefix(obj.Name(), "Sorted")
}

// checkWrites: a variable of a package that changes is a hidden argument.
func (p *purity) checkWrites(targets ...ast.Expr) {
	for _, e := range targets {
		id := base(e)
		if id == nil {
			continue
		}
		v, ok := p.info.Uses[id].(*types.Var)
		if ok && !v.IsField() && v.Parent() == v.Pkg().Scope() {
			p.errorf(e, "a change of the variable %s of its package", v.Name())
		}
	}
}

// base is the variable that an assignment to e changes.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}
