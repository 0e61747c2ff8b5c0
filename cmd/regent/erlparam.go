package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/erlterm"
)

// Param is a parameter of an application on the command line of erl: -kernel KEY
// TERM. It stands over the files.
type Param struct{ Section, Key, Term string }

// name is what errors call it, in place of a file.
func (p Param) name() string { return "-" + p.Section + " " + p.Key }

// check makes sure that the parts are an atom and one term: they become the text
// of a configuration.
func (p Param) check() error {
	if key, err := oneTerm(p.Key); err != nil || key.Kind != erlterm.Atom {
		return fmt.Errorf("%q is no atom", p.Key)
	}
	_, err := oneTerm(p.Term)
	return err
}

func oneTerm(text string) (erlterm.Term, error) {
	f, err := erlterm.Parse([]byte(text + " ."))
	if e, ok := errors.AsType[*erlterm.Error](err); ok {
		return erlterm.Term{}, fmt.Errorf("column %d of %q: %s", e.Column, text, e.Message)
	}
	if err != nil {
		return erlterm.Term{}, err
	}
	if len(f.Terms) != 1 {
		return erlterm.Term{}, fmt.Errorf("expected one term, found %q", text)
	}
	return f.Terms[0], nil
}

// text is the parameter as a configuration of its own, the term beginning the
// second line.
func (p Param) text() string {
	return fmt.Sprintf("[{%s,[{%s,\n%s\n}]}].", p.Section, p.Key, p.Term)
}

// loadConfig reads files, and the parameters of the command line after them.
func loadConfig(files []string, params []Param) (*config.Config, error) {
	texts := map[string]string{}
	names := append([]string(nil), files...)
	for i, p := range params {
		name := fmt.Sprintf("%s\x00%d", p.name(), i) // no file has such a name
		texts[name] = p.text()
		names = append(names, name)
	}
	c, err := config.Load(func(path string) ([]byte, error) {
		if text, ok := texts[path]; ok {
			return []byte(text), nil
		}
		if strings.ContainsRune(path, 0) {
			return nil, fs.ErrNotExist
		}
		return os.ReadFile(path)
	}, names...)
	if c != nil {
		c.Warnings = fromParams(c.Warnings)
	}
	if ds, ok := errors.AsType[config.Diagnostics](err); ok {
		return nil, config.Diagnostics(fromParams(ds))
	}
	return c, err
}

// fromParams tells places within parameters as the user has written them.
func fromParams(ds []config.Diagnostic) []config.Diagnostic {
	for i := range ds {
		name, _, ours := strings.Cut(ds[i].File, "\x00")
		if !ours {
			continue
		}
		ds[i].File = name
		if ds[i].Line > 1 {
			ds[i].Line--
		} else {
			ds[i].Line, ds[i].Column = 0, 0 // the key itself
		}
	}
	return ds
}
