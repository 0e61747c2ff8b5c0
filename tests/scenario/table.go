package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is docs/conformance.md's table: the scenarios of each rule, and which
// of them expect Erlang and regent to differ.
func Table(all []*Scenario) string {
	var b strings.Builder
	b.WriteString("| rule | scenarios |\n|---|---|\n")
	for _, rule := range rulesOf(all) {
		var of []string
		for _, s := range all {
			if slices.Contains(s.Rules, rule) {
				of = append(of, s.Name)
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", rule, strings.Join(of, ", "))
	}
	b.WriteString("\n| scenario | what it is about | differences |\n|---|---|---|\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.Name, s.Title, strings.Join(s.differences(), ", "))
	}
	return b.String()
}

func rulesOf(all []*Scenario) (rules []string) {
	for _, s := range all {
		rules = append(rules, s.Rules...)
	}
	slices.SortFunc(rules, byRule)
	return slices.Compact(rules)
}

func byRule(a, b string) int {
	if a[0] != b[0] {
		return int(a[0]) - int(b[0])
	}
	x, _ := strconv.Atoi(a[2:])
	y, _ := strconv.Atoi(b[2:])
	return x - y
}

// differences are the rules by which the sides differ.
func (s *Scenario) differences() (rules []string) {
	for _, st := range s.Steps {
		if st.Only == Regent && !slices.Contains(rules, st.Rule) {
			rules = append(rules, st.Rule)
		}
	}
	return rules
}
