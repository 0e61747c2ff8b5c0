package policy

import (
	"cmp"
	"slices"

	"github.com/seed7529eb29/regent/policy/node"
)

// Candidate is a node that could run an app now: heard, permitted, started
// there, not failed, not closing. Weight is the number of distributed apps it
// owns.
type Candidate struct {
	Node   node.Name
	Weight int
}

// Place chooses where an app of this spec should run: the first group of the
// list that has a candidate, in it the least weight, then the least name (OTP:
// dist_ac:find_any_node). current, when it is a candidate of that group, stays:
// an app is not moved among equals. It returns "" when nobody can run it.
func Place(s *Spec, candidates []Candidate, current node.Name) node.Name {
	for _, group := range s.Groups {
		in := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool {
			return !slices.Contains(group, c.Node)
		})
		if len(in) == 0 {
			continue
		}
		if slices.ContainsFunc(in, func(c Candidate) bool { return c.Node == current }) {
			return current
		}
		return slices.MinFunc(in, byWeight).Node
	}
	return ""
}

func byWeight(a, b Candidate) int {
	return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Node, b.Node))
}
