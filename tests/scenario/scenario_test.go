package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	only    = flag.String("scenario", "*", "play the scenarios that match this pattern")
	rewrite = flag.Bool("rewrite", false, "write the table of docs/conformance.md anew")
)

// TestMachine plays every scenario on the pure machine, in virtual time.
func TestMachine(t *testing.T) {
	for _, s := range load(t) {
		if ok, err := filepath.Match(*only, s.Name); err != nil || !ok {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			trace, err := Play(Virtual{t}, s)
			if err != nil {
				t.Error(err)
			} else if testing.Verbose() {
				t.Logf("\n%s", trace)
			}
		})
	}
}

func load(t *testing.T) []*Scenario {
	t.Helper()
	all, err := Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d scenarios", len(all))
	}
	return all
}

// untold are the rules of OTP's distributed applications that no scenario is
// about, and why.
var untold = map[string]string{
	"A-24": "a lock, which can't be seen from outside",
	"A-62": "messages between nodes",
	"B-18": "hidden nodes: manager/machine, policy/config",
	"B-25": "hidden nodes: manager/machine",
}

// TestRulesAreCovered: every rule of A1 to A12 and B that docs/semantics.md
// has is told in a scenario, or it is said why not.
func TestRulesAreCovered(t *testing.T) {
	text, err := os.ReadFile("../../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := rulesOf(load(t))
	var rules []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([AB]-\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		if byRule(m[1], "A-67") < 0 || m[1][0] == 'B' {
			rules = append(rules, m[1])
		}
	}
	if len(rules) < 66+26 {
		t.Fatalf("found only %d rules: the test looks for the wrong thing", len(rules))
	}
	for _, r := range rules {
		switch why, is := untold[r], slices.Contains(told, r); {
		case !is && why == "":
			t.Errorf("no scenario is about %s", r)
		case is && why != "":
			t.Errorf("%s is told, although: %s", r, why)
		}
	}
	for _, r := range told {
		if !slices.Contains(rules, r) {
			t.Errorf("docs/semantics.md has no rule %s", r)
		}
	}
}

// TestDifferencesAreRules: whoever differs names a rule of B that the scenario
// is about.
func TestDifferencesAreRules(t *testing.T) {
	for _, s := range load(t) {
		for _, r := range s.differences() {
			if r[0] != 'B' || !slices.Contains(s.Rules, r) {
				t.Errorf("%s: differs by %s, which is no rule of B that it names", s.Name, r)
			}
		}
	}
}

// TestTableIsCurrent: docs/conformance.md lists the scenarios.
func TestTableIsCurrent(t *testing.T) {
	const page, begin, end = "../../docs/conformance.md", "<!-- generated: scenarios -->\n", "<!-- end: scenarios -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	want := before + begin + Table(load(t)) + end + after
	if *rewrite {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table of %s is out of date: go test ./tests/scenario -run TestTableIsCurrent -rewrite", page)
	}
}

// TestParseErrors: what is wrong with a file is said with its place.
func TestParseErrors(t *testing.T) {
	const head = "# title\nrules A-1\napp myapp 0s n1 n2\n"
	for _, c := range []struct{ text, want string }{
		{"rules A-1\napp myapp 0s n1\nup n1\n", "x.scenario:5:1: the first line is a comment that says what the scenario is about"},
		{"# t\napp myapp 0s n1\nup n1\n", "x.scenario:5:1: no rules"},
		{head, "x.scenario:5:1: nothing happens"},
		{head + "up n9", `x.scenario:4:4: "n9" is not a node; the nodes are n1 n2 n3`},
		{head + "boot n1", `x.scenario:4:1: "boot" is not a statement`},
		{head + "start other on n1 -> ok", `x.scenario:4:7: "other" is not an app`},
		{head + "start myapp on n1", "x.scenario:4:18: expected: -> RESULT"},
		{head + "start myapp n1 -> ok", "x.scenario:4:16: expected: on NODE…"},
		{head + "start myapp on n1 ->", "x.scenario:4:21: the line ends where a result should be"},
		{head + "permit myapp maybe on n1 -> ok", `x.scenario:4:14: "maybe": expected one of true, false`},
		{head + "wait soon", `x.scenario:4:6: "soon" is not a duration such as 500ms or 2s`},
		{head + "kill", "x.scenario:4:5: expected nodes"},
		{head + "expect luck", `x.scenario:4:8: "luck": expected one of runs, started, count, node, returns, saw`},
		{head + "wait 1s 2s", `x.scenario:4:9: "2s" is more than expected`},
		{head + "up n1\nerlang[B-1] start myapp on n1 -> pending\nregent[B-1] start myapp on n1 -> ok", `x.scenario:5: "erlang[B-1] start myapp on n1 -> pending" asserts nothing`},
		{head + "wait -1s", "x.scenario:4:6: less than nothing"},
		{"# t\nrules A-1\napp a count 1000000 0s n1\n", "x.scenario:3:13: expected a number up to 999"},
		{"# t\nrules a16\n", `x.scenario:2:7: "a16" is not a rule such as A-16`},
		{"# t\nrules A-1\napp myapp 1s {n1 n7}\n", `x.scenario:3:18: "n7" is not a node`},
		{"# t\nrules A-1\napp myapp 1s\n", "x.scenario:3:13: expected a list of nodes"},
		{head + "up n1\nerlang[B-1] expect runs myapp n1", `x.scenario:5: "erlang[B-1] expect runs myapp n1" has no line of regent[B-1] about the same after it`},
		{head + "up n1\nregent[B-1] expect runs myapp n1", `x.scenario:5: "regent[B-1] expect runs myapp n1" has no line of erlang[B-1] about the same before it`},
		{head + "up n1\nerlang[B-1] expect runs myapp n1\nregent[B-2] expect runs myapp n2", `x.scenario:6: "regent[B-2] expect runs myapp n2" has no line of erlang[B-2] about the same before it`},
		{head + "up n1\nerlang[B-1] expect runs myapp n1\nregent[B-1] expect runs myapp n1", `x.scenario:6: "regent[B-1] expect runs myapp n1" expects the same of both: no difference is needed`},
	} {
		if _, err := Parse("x.scenario", c.text); fmt.Sprint(err) != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// FuzzParse: nothing that is read crashes the parser.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.scenario")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Parse("x.scenario", text) })
}
