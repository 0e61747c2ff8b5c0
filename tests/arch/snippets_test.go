package arch

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/policy/config"
)

// notConfiguration stands before a block of Erlang or YAML that is something
// else.
const notConfiguration = "<!-- not a configuration -->"

// block is a fenced block, with the language it names and what stands on the
// line before.
var block = regexp.MustCompile("(?m)(?:^(.*)\n)?^```([a-z]*)\n((?s:.*?))^```$")

// TestSnippetsLoad: every configuration that a document shows loads, and
// without a warning. Programs and their outputs have no language; Go belongs
// into an example that is compiled, to which documents link.
func TestSnippetsLoad(t *testing.T) {
	loaded := 0
	if err := walk(".md", func(name string, src []byte) error {
		for _, m := range block.FindAllStringSubmatch(string(src), -1) {
			before, language, text := m[1], m[2], m[3]
			switch language {
			case "", "mermaid", "ini": // ini: for systemd
			case "erlang", "yaml":
				if before == notConfiguration {
					continue
				}
				loads(t, name, text)
				loaded++
			default:
				t.Errorf("%s: nothing tests a block of %s", name, language)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if loaded < 5 {
		t.Errorf("found only %d configurations: the test looks for the wrong thing", loaded)
	}
}

// TestExamplesLoad: so does every configuration among the examples.
func TestExamplesLoad(t *testing.T) {
	loaded := 0
	for _, suffix := range []string{".config", ".yaml"} {
		if err := walk(suffix, func(name string, src []byte) error {
			if strings.HasPrefix(name, "examples/") {
				loads(t, name, string(src))
				loaded++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if loaded < 5 {
		t.Errorf("found only %d configurations: the test looks for the wrong thing", loaded)
	}
}

// loads demands that a text is a configuration with nothing wrong. The file's
// name says nothing about its syntax, as always.
func loads(t *testing.T, where, text string) {
	t.Helper()
	read := func(file string) ([]byte, error) {
		if file != where {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	c, err := config.Load(read, where)
	if err != nil {
		t.Errorf("%s shows a configuration that does not load:\n%s%v", where, text, err)
		return
	}
	for _, w := range c.Warnings {
		t.Errorf("%s shows a configuration with a warning: %v (%s)", where, w, w.Hint)
	}
}
