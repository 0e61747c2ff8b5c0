package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Difference is one thing on which two configurations must agree and don't.
type Difference struct {
	App  policy.App // "" where it is not about one app
	What string     // list, order, equals, timeout, takeover, start_type, start_phases, voters, address of NODE
	A, B string     // what each says
}

func (d Difference) String() string {
	subject := d.What
	if d.App != "" {
		subject = string(d.App) + ": " + d.What
	}
	return fmt.Sprintf("%s differs: %s and %s", subject, d.A, d.B)
}

// Change says it of one specification that replaces another.
func (d Difference) Change() string {
	subject := d.What
	if d.App != "" {
		subject = string(d.App) + ": " + d.What
	}
	return fmt.Sprintf("%s from %s to %s", subject, d.A, d.B)
}

// Compare lists what nodes with these configurations would disagree on: the
// specs, the voters, and the ports.
func Compare(a, b *Config) []Difference {
	diffs := CompareSpecs(a.Specs, b.Specs)
	selfA, selfB := absent(a, b), absent(b, a)
	if va, vb := a.voterText(selfA), b.voterText(selfB); va != vb {
		diffs = append(diffs, Difference{What: "voters", A: va, B: vb})
	}
	return append(diffs, compareAddresses(a, b, selfA, selfB)...)
}

// absent guesses the name of a's own node, which is not in its own sync lists:
// the one node that only b knows.
func absent(a, b *Config) node.Name {
	known := a.Nodes()
	only := slices.DeleteFunc(b.Nodes(), func(n node.Name) bool { return slices.Contains(known, n) })
	if len(only) != 1 {
		return ""
	}
	return only[0]
}

func (c *Config) voterText(self node.Name) string {
	voters, err := c.Voters(self)
	if err != nil {
		return "two"
	}
	return nodeText(voters)
}

func compareAddresses(a, b *Config, selfA, selfB node.Name) []Difference {
	mapA, errA := a.PortMap(selfA, nil)
	mapB, errB := b.PortMap(selfB, nil)
	if errA != nil || errB != nil {
		return nil // reported where each is used
	}
	var diffs []Difference
	for _, x := range mapA {
		i := slices.IndexFunc(mapB, func(y Address) bool { return x.Node == y.Node })
		if i < 0 || x == mapB[i] {
			continue
		}
		y := mapB[i]
		diffs = append(diffs, Difference{
			What: "address of " + string(x.Node),
			A:    x.Client + " " + x.Cluster,
			B:    y.Client + " " + y.Cluster,
		})
	}
	return diffs
}

// CompareSpecs lists what two sets of specs, both sorted by app, disagree on.
func CompareSpecs(a, b []policy.Spec) []Difference {
	var diffs []Difference
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].App < b[0].App:
			diffs = append(diffs, Difference{App: a[0].App, What: "list", A: groupText(a[0].Groups), B: "not distributed"})
			a = a[1:]
		case len(a) == 0 || b[0].App < a[0].App:
			diffs = append(diffs, Difference{App: b[0].App, What: "list", A: "not distributed", B: groupText(b[0].Groups)})
			b = b[1:]
		default:
			diffs = append(diffs, compareSpec(a[0], b[0])...)
			a, b = a[1:], b[1:]
		}
	}
	return diffs
}

func compareSpec(a, b policy.Spec) []Difference {
	var diffs []Difference
	differ := func(what, x, y string) {
		if x != y {
			diffs = append(diffs, Difference{a.App, what, x, y})
		}
	}
	differ(listDifference(a, b), groupText(sortedGroups(a.Groups)), groupText(sortedGroups(b.Groups)))
	differ("timeout", a.Timeout.String(), b.Timeout.String())
	differ("takeover", string(a.Takeover), string(b.Takeover))
	differ("start_type", startTypeText(a.FullStart), startTypeText(b.FullStart))
	differ("start_phases", phaseText(a.StartPhases), phaseText(b.StartPhases))
	return diffs
}

// listDifference names how two lists differ: other nodes, the same in another
// order, or only grouped otherwise.
func listDifference(a, b policy.Spec) string {
	x, y := a.Nodes(), b.Nodes()
	switch {
	case !slices.Equal(sortedSet(x), sortedSet(y)):
		return "list"
	case !slices.Equal(groupSizes(a), groupSizes(b)):
		return "equals"
	}
	return "order"
}

func groupSizes(s policy.Spec) []int {
	var sizes []int
	for _, g := range s.Groups {
		sizes = append(sizes, len(g))
	}
	return sizes
}

func sortedGroups(groups [][]node.Name) [][]node.Name {
	var out [][]node.Name
	for _, g := range groups {
		out = append(out, slices.Sorted(slices.Values(g)))
	}
	return out
}

// groupText is the list as Erlang writes it.
func groupText(groups [][]node.Name) string {
	var parts []string
	for _, g := range groups {
		text := joinNodes(g)
		if len(g) > 1 {
			text = "{" + text + "}"
		}
		parts = append(parts, text)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func nodeText(names []node.Name) string { return "[" + joinNodes(names) + "]" }

func joinNodes(names []node.Name) string {
	var parts []string
	for _, n := range names {
		parts = append(parts, string(n))
	}
	return strings.Join(parts, ", ")
}

func startTypeText(full bool) string {
	if full {
		return startFull
	}
	return startOTP
}

func phaseText(phases []policy.Phase) string {
	var parts []string
	for _, p := range phases {
		text := p.String()
		if p.Args != "" {
			text += " " + p.Args
		}
		parts = append(parts, text)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
