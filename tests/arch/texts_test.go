package arch

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unwanted are words that have no place in the project: what is not done is not
// there, and it stands on its own. The literal is a quick look whether the
// pattern is worth a try. They are spelled in pieces, or this file would have
// them.
var unwanted = []struct {
	literal string
	pattern *regexp.Regexp
}{
	{"TO" + "DO", regexp.MustCompile(`\bTO` + `DO\b`)},
	{"FIX" + "ME", regexp.MustCompile(`\bFIX` + `ME\b`)},
	{"X" + "XX", regexp.MustCompile(`\bX` + `XX\b`)},
	{"HA" + "CK", regexp.MustCompile(`\bHA` + `CK\b`)},
	{"ssue", regexp.MustCompile(`\b[Ii]ssue` + ` #?\d`)},
	{"sha" + "red/", regexp.MustCompile(`\bsha` + `red/`)},
	{"C" + "EO", regexp.MustCompile(`\bC` + `EO\b`)},
	{".md", regexp.MustCompile(`\b(DESIGN|PROTOCOL|CONTRACT|LAYOUT|ROADMAP|SEMANTICS|RELIABILITY)` + `\.md`)},
	{"DESI" + "GN", regexp.MustCompile(`\bDESI` + `GN (rule|§)`)},
	{"br" + "ief", regexp.MustCompile(`\b[Tt]h(is|e) br` + `ief\b`)},
}

// TestNoUnwantedWords looks at every text of the project.
func TestNoUnwantedWords(t *testing.T) {
	err := walk("", func(name string, src []byte) error {
		if !isText(src) {
			return nil
		}
		for _, w := range unwanted {
			if !bytes.Contains(src, []byte(w.literal)) {
				continue
			}
			for _, at := range w.pattern.FindAllIndex(src, -1) {
				line := 1 + bytes.Count(src[:at[0]], []byte("\n"))
				t.Errorf("%s:%d: %q", name, line, src[at[0]:at[1]])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isText(src []byte) bool { return !slices.Contains(src[:min(len(src), 8000)], 0) }

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

// TestLinksResolve: every link of the documents to a file or a heading leads
// somewhere.
func TestLinksResolve(t *testing.T) {
	links := 0
	err := walk(".md", func(name string, src []byte) error {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(src), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			if why := broken(name, m[1]); why != "" {
				t.Errorf("%s: link to %s: %s", name, m[1], why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 20 {
		t.Errorf("found only %d links: the test looks for the wrong thing", links)
	}
}

// broken says why a link from a document leads nowhere.
func broken(from, to string) string {
	file, anchor, _ := strings.Cut(to, "#")
	if file == "" {
		file = path.Base(from)
	}
	target := filepath.Join(root, path.Dir(from), file)
	if _, err := os.Stat(target); err != nil {
		return "no such file"
	}
	if anchor == "" {
		return ""
	}
	src, err := os.ReadFile(target)
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(src), ""), -1) {
		if anchorOf(m[1]) == anchor {
			return ""
		}
	}
	return "no such heading"
}

// anchorOf is the name that GitHub gives to a heading.
func anchorOf(text string) string {
	text = strings.ToLower(strings.ReplaceAll(text, "`", ""))
	text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(text, "")
	return strings.ReplaceAll(text, " ", "-")
}
