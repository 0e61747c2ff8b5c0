package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of this module; packages are named below it, and "." is
// the root.
const module = "github.com/seed7529eb29/regent"

// root is the directory of the module, seen from this one.
const root = "../.."

// file is one parsed Go file.
type file struct {
	path string // below root, with slashes
	pkg  string // directory below root
	test bool
	ast  *ast.File
}

// repo is every Go file of the module.
type repo struct {
	fset  *token.FileSet
	files []file
}

// load parses the module once for all tests.
var load = sync.OnceValues(func() (*repo, error) {
	r := &repo{fset: token.NewFileSet()}
	err := walk(".go", func(name string, src []byte) error {
		f, err := parser.ParseFile(r.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		r.files = append(r.files, file{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), f})
		return nil
	})
	return r, err
})

func loaded(t *testing.T) *repo {
	t.Helper()
	r, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// notOurs are directories without source of the project.
var notOurs = []string{".git", "bin", "testdata"}

// walk calls each for the files of the module whose name ends in suffix.
func walk(suffix string, each func(name string, src []byte) error) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(notOurs, d.Name()):
			return filepath.SkipDir
		case !d.Type().IsRegular() || !strings.HasSuffix(p, suffix):
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return each(filepath.ToSlash(name), src)
	})
}

// in lists the files of one package that are no tests.
func (r *repo) in(pkg string) []*ast.File {
	var files []*ast.File
	for _, f := range r.files {
		if f.pkg == pkg && !f.test {
			files = append(files, f.ast)
		}
	}
	return files
}

// imports lists what f imports, packages of the module below it.
func (f *file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, p)
	}
	return paths
}

// read returns a file of the module.
func read(t *testing.T, name string) string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}
