package config

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// rewrite asks for datadriven's flag, which golden files of this package have.
func rewrite() bool { return flag.Lookup("rewrite").Value.String() == "true" }

const page = "../../docs/configuration.md"

// TestReferenceIsCurrent: the tables of the page are those of the decoder. With
// -rewrite they are written.
func TestReferenceIsCurrent(t *testing.T) {
	src, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for _, made := range [][2]string{{"keys", keysTable()}, {"app keys", appKeysTable()}} {
		name, table := made[0], made[1]
		begin, end := "<!-- generated: "+name+" -->\n", "<!-- end: "+name+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s lacks the marks %q and %q", page, begin, end)
		}
		if old != table && !rewrite() {
			t.Errorf("the table %q of %s is not that of the code: go test ./policy/config -run TestReferenceIsCurrent -rewrite", name, page)
		}
		text = before + begin + table + end + after
	}
	if rewrite() {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// appPath is before the keys of an app, which have a table of their own.
const appPath = "apps.APP."

func keysTable() string {
	var b strings.Builder
	b.WriteString("| YAML | Erlang | value | default | meaning |\n|---|---|---|---|---|\n")
	refused := split(func(k Key, app bool) {
		if !app {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", k.YAML, k.Erlang, k.Value, k.Default, k.Meaning)
		}
	}, false)
	return b.String() + refused
}

func appKeysTable() string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	refused := split(func(k Key, app bool) {
		if app {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.TrimPrefix(k.YAML, appPath), k.Value, k.Default, k.Meaning)
		}
	}, true)
	return b.String() + refused
}

// split shows each key that has a meaning, and returns a sentence about those
// that are refused: an app's, or the others.
func split(show func(k Key, app bool), apps bool) string {
	var refused []string
	for _, k := range Keys() {
		name, app := strings.CutPrefix(k.YAML, appPath)
		switch {
		case !k.Refused:
			show(k, app)
		case app == apps:
			refused = append(refused, "`"+name+"`")
		}
	}
	if len(refused) == 0 {
		return ""
	}
	return "\nNot yet, refused as not supported by this version: " + strings.Join(refused, ", ") + ".\n"
}

// TestKeysAreComplete: every key of every table says what it means, or is
// refused, or its value has keys that do; and a key of kernel stands in the
// list too.
func TestKeysAreComplete(t *testing.T) {
	d := &decoder{}
	var check func(path string, fields []field)
	check = func(path string, fields []field) {
		for _, f := range fields {
			if f.read != nil && f.doc.inner == nil && (f.doc.meaning == "" || f.doc.value == "") {
				t.Errorf("nothing says what %s%s means", path, f.name)
			}
			if f.doc.inner != nil {
				check(path+f.name+".", f.doc.inner())
			}
		}
	}
	check("", d.yamlKeys(&layer{}))
	check("kernel.", d.kernelKeys(&layer{}))
	keys := Keys()
	for _, f := range d.kernelKeys(&layer{}) {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Erlang == kernelForm(f.name) }) {
			t.Errorf("the reference lacks %s", kernelForm(f.name))
		}
	}
	if len(keys) < 40 {
		t.Errorf("only %d keys", len(keys))
	}
}
