package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/policy"
)

// A-27, as OTP's application_starter has it: phase by phase, first the app, then
// its parts in order, each followed by its own; with the arguments of each; what
// only a part has is left out, and so are all where the app has none.
func TestPhasesOfIncludedApps(t *testing.T) {
	const parts = `
  in1: {start_phases: [{init: 1}, own, {go: a}], included_applications: [deep]}
  in2: {start_phases: [go]}
  deep: {start_phases: [{go: true}, init]}
  empty: {start_phases: []}`
	for _, c := range []struct{ app, want string }{
		{"{start_phases: [init, {go: [x]}, last], included_applications: [in1, in2, empty]}",
			`[init in1:init 1 deep:init go ["x"] in1:go "a" deep:go true in2:go last]`},
		{"{start_phases: [go, init], included_applications: [in2, in1]}", `[go in2:go in1:go "a" deep:go true init in1:init 1 deep:init]`},
		{"{start_phases: [], included_applications: [in1]}", "[]"},
		{"{included_applications: [in1]}", "[]"},
		{"{start_phases: [init]}", "[init]"},
	} {
		const entry = "distributed: [{app: a, timeout: 1s, nodes: [n@h]}]\n"
		cfg := mustLoad(t, files{"a.yaml": entry + "apps:\n  a: " + c.app + parts}, "a.yaml")
		spec, _ := cfg.Spec("a")
		for what, phases := range map[string][]policy.Phase{
			"specification": spec.StartPhases, "load/2": cfg.Distribute("a", 0, spec.Groups).StartPhases, "local": cfg.Phases("a"),
		} {
			var got []string
			for _, p := range phases {
				got = append(got, strings.TrimSpace(p.String()+" "+p.Args))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%s: %s: %v, want %s", c.app, what, got, c.want)
			}
		}
	}
}

// What can't be included is an error with its place.
func TestBadIncludedApps(t *testing.T) {
	for text, want := range map[string]string{
		"apps: {a: {included_applications: b}}":                                                                                "1:35: expected a list of apps, found the string \"b\"",
		"apps: {a: {included_applications: [1b]}}":                                                                             `1:36: invalid app name "1b": must begin with a letter`,
		"apps: {a: {included_applications: [b]}}":                                                                              "1:36: b is not defined",
		"apps: {a: {included_applications: [a]}}":                                                                              "1:36: a would include itself",
		"apps: {a: {included_applications: [b]}, b: {included_applications: [a]}}":                                             "1:69: a would include itself",
		"apps: {a: {included_applications: [c]}, b: {included_applications: [c]}, c: {}}":                                      "1:69: c is included by a already",
		"apps: {a: {included_applications: [b, b]}, b: {}}":                                                                    "1:39: b is included by a already",
		"apps: {a: {start_phases: [x], included_applications: [b]}, b: {}}":                                                    "1:55: b has no start_phases, but a, which includes it, has",
		"apps: {a: {start_phases: [x], included_applications: [b]}, b: {start_phases: [], included_applications: [c]}, c: {}}": "1:106: c has no start_phases, but a, which includes it, has",
	} {
		_, err := Load(files{"a.yaml": text}.read, "a.yaml")
		if got, _, _ := strings.Cut(fmt.Sprint(err), "\n"); got != "a.yaml:"+want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// B-10: nodes that include other apps, or whose parts have other phases, are told.
func TestIncludedAppsDiffer(t *testing.T) {
	load := func(a, part string) *Config {
		return mustLoad(t, files{"a.yaml": "distributed: [{app: a, timeout: 1s, nodes: [n@h]}]\napps: {a: {start_phases: [init]" + a + "}, part: {start_phases: [" + part + "]}}"}, "a.yaml")
	}
	base := load(", included_applications: [part]", "init")
	for _, c := range []struct {
		other *Config
		want  string
	}{
		{load(", included_applications: [part]", "init"), "[]"},
		{load("", "init"), "[a: start_phases differs: [init, part:init] and [init]]"},
		{load(", included_applications: [part]", "go"), "[a: start_phases differs: [init, part:init] and [init]]"},
		{load(", included_applications: [part]", "{init: 1}"), "[a: start_phases differs: [init, part:init] and [init, part:init 1]]"},
	} {
		diffs := CompareSpecs(base.Specs, c.other.Specs)
		if got := fmt.Sprint(diffs); got != c.want || (base.Digest("c", nil) == c.other.Digest("c", nil)) != (len(diffs) == 0) {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
