package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/policy/node"
)

// PermitRecord is the cell permit.A: the permissions of one app that outlive
// their nodes' restarts (OTP forgets them, rule A-46; B-15). A node that is not
// named has what its configuration says.
type PermitRecord struct {
	App   App
	Nodes []NodePermit // sorted by node
}

// NodePermit is whether one node may run the app.
type NodePermit struct {
	Node      node.Name
	Permitted bool
}

func (r *PermitRecord) find(n node.Name) (int, bool) {
	return slices.BinarySearchFunc(r.Nodes, n, func(p NodePermit, n node.Name) int {
		return strings.Compare(string(p.Node), string(n))
	})
}

// Of is what the record says of a node; said is false when it says nothing.
// There may be no record.
func (r *PermitRecord) Of(n node.Name) (permitted, said bool) {
	if r == nil {
		return false, false
	}
	i, found := r.find(n)
	return found && r.Nodes[i].Permitted, found
}

// With is the record with one node's permission set; r is not changed.
func (r *PermitRecord) With(p NodePermit) *PermitRecord {
	out := &PermitRecord{App: r.App, Nodes: slices.Clone(r.Nodes)}
	if i, found := out.find(p.Node); found {
		out.Nodes[i] = p
	} else {
		out.Nodes = slices.Insert(out.Nodes, i, p)
	}
	return out
}

// SpecRecord is the cell config: the specification that the nodes of the
// cluster go by.
type SpecRecord struct {
	Node    node.Name // who wrote it, and in which session
	Session Session
	Digest  string      // of cluster, voters and Specs: what a node's files must come to
	Voters  []node.Name // sorted
	Specs   []Spec      // what the files say, sorted by app
	Loaded  []Spec      // what load/2 said, over those of the files; sorted by app
	Applied bool        // by command: it stays until the next one, whoever is alive
}

// Effective lists the specs that hold, sorted by app: those of the files with
// those of load/2 over them.
func (r *SpecRecord) Effective() []Spec {
	out := slices.Clone(r.Specs)
	for _, s := range r.Loaded {
		out = PutSpec(out, s)
	}
	return out
}

// Spec finds the spec of an app that holds; nil: it is not distributed.
func (r *SpecRecord) Spec(a App) *Spec {
	return cmp.Or(FindSpec(r.Loaded, a), FindSpec(r.Specs, a))
}

// FindSpec finds the spec of an app in a list sorted by app; nil: there is none.
func FindSpec(list []Spec, a App) *Spec {
	if i, found := findSpec(list, a); found {
		return &list[i]
	}
	return nil
}

// PutSpec replaces or inserts s in a list sorted by app.
func PutSpec(list []Spec, s Spec) []Spec {
	i, found := findSpec(list, s.App)
	if found {
		list[i] = s
		return list
	}
	return slices.Insert(list, i, s)
}

func findSpec(list []Spec, a App) (int, bool) {
	return slices.BinarySearchFunc(list, a, func(s Spec, a App) int {
		return strings.Compare(string(s.App), string(a))
	})
}
