package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ranBy says who runs the command lines of a page, in its blocks. A page that
// shows commands and is not here has none of them run.
var ranBy = map[string]string{
	"README.md":                   "TestTypedCommands in tests/integration; its make verbs by .ci/run",
	"docs/quickstart.md":          "TestQuickstart and TestThreeMachines in tests/integration; make build by .ci/run; the Erlang part is README.md's",
	"docs/operations.md":          "TestTypedCommands in tests/integration; changing voters by voters_test.go in tests/external",
	"docs/deploy.md":              "TestDeploy… in tests/external",
	"docs/api.md":                 "TestAPI in tests/external",
	"examples/nodejs/README.md":   "TestNodeJS in tests/external",
	"docs/ledger.md":              "TestVerify in tests/integration",
	"docs/nats-cli.md":            "TestTypedCommands and TestNATSCLI in tests/integration",
	"docs/messaging.md":           "TestTalk, TestNet and TestRemsh in tests/integration",
	"docs/conformance.md":         "make conformance by .ci/run; its go test lines are .ci/run's with other flags",
	"docs/testing.md":             "its make verbs by .ci/run; its go test lines are .ci/run's with other flags",
	"examples/counter/README.md":  "the example's own test builds and runs it",
	"examples/embedded/README.md": "the example's own test builds and runs it",
	"examples/fencing/README.md":  "the example's own test builds it, and runs these lines",
}

// notRun are the lines that nothing runs, and why.
var notRun = map[string]string{
	"make sim":   "a soak of any length; the same lives are lived by make test",
	"make chaos": "CI runs its short form: make chaos-short",
	"make soak":  "of any length, by hand",
	"scp":        "there is one machine; the cookie and the file are the test's",
	"pkill":      "the test kills its own process",
	"export":     "the test gives the variable to what it runs",
	"kill":       "printed by the demo, not typed",
}

var (
	typedLine = regexp.MustCompile(`(?m)^\s*(?:T\+.*)?(?:\$ )?((?:regent|nats|make|go|scp|pkill|export|kill|sudo|systemctl|docker|curl|psql) .*)$`)
	makeVerb  = regexp.MustCompile(`^make (\w[\w-]*)`)
	goTest    = regexp.MustCompile(`^go test (\./\S+)(?:.*-run '?(\w+))?`)
)

// TestTypedLinesAreRun: there is nobody to tell a reader that a command of a
// page no longer works, so each is run by some test, or says here why not.
func TestTypedLinesAreRun(t *testing.T) {
	ci, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := walk(".md", func(name string, src []byte) error {
		for _, m := range block.FindAllStringSubmatch(string(src), -1) {
			for _, l := range typedLine.FindAllStringSubmatch(m[3], -1) {
				seen++
				if why := unrun(name, l[1], string(ci)); why != "" {
					t.Errorf("%s: %s: %s", name, l[1], why)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("found only %d lines: the test looks for the wrong thing", seen)
	}
}

// unrun says why nobody runs the line; empty: somebody does.
func unrun(page, line, ci string) string {
	for excused := range notRun {
		if strings.HasPrefix(line, excused+" ") || line == excused {
			return ""
		}
	}
	if ranBy[page] == "" {
		return "nothing runs the commands of this page"
	}
	if m := makeVerb.FindStringSubmatch(line); m != nil && !regexp.MustCompile(`(make|tests) `+m[1]+`\b`).MatchString(ci) {
		return "not a verb of .ci/run"
	}
	if m := goTest.FindStringSubmatch(line); m != nil {
		return missingTest(m[1], m[2])
	}
	return ""
}

// missingTest: the package of a go test line has to exist, and the test it
// names.
func missingTest(dir, name string) string {
	files, _ := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if len(files) == 0 {
		return "no such package"
	}
	if name == "" {
		return ""
	}
	for _, f := range files {
		if src, err := os.ReadFile(f); err == nil && strings.Contains(string(src), "func "+name+"(") {
			return ""
		}
	}
	return "no test " + name
}

// TestUnrunLinesAreNoticed: the test above would see what nobody runs.
func TestUnrunLinesAreNoticed(t *testing.T) {
	for line, page := range map[string]string{
		"regent status": "docs/new.md", "make nonsense": "README.md",
		"go test ./tests/nowhere": "docs/testing.md", "go test ./tests/sim -run TestNothing": "docs/testing.md",
	} {
		if unrun(page, line, "step make build\n") == "" {
			t.Errorf("%s in %s: nothing is found wrong", line, page)
		}
	}
}
