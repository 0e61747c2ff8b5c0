package kv

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

// permitJSON is the stored form of a PermitRecord.
type permitJSON struct {
	App   policy.App         `json:"app"`
	V     int                `json:"v"`
	Nodes map[node.Name]bool `json:"nodes"`
}

// specJSON is the stored form of a SpecRecord.
type specJSON struct {
	V       int            `json:"v"`
	Node    node.Name      `json:"node"` // who wrote it
	Session policy.Session `json:"session"`
	Digest  string         `json:"digest"`
	Applied bool           `json:"applied,omitempty"`
	Voters  []node.Name    `json:"voters"`
	Apps    []specjson.App `json:"apps"`
	Loaded  []specjson.App `json:"loaded,omitempty"`
}

func permitToJSON(r *policy.PermitRecord) permitJSON {
	j := permitJSON{App: r.App, V: recordVersion, Nodes: map[node.Name]bool{}}
	for _, p := range r.Nodes {
		j.Nodes[p.Node] = p.Permitted
	}
	return j
}

func decodePermit(c *policy.Cell, value []byte) (reason string) {
	var j permitJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return "not a record of permissions: " + err.Error()
	}
	if policy.PermitKey(j.App) != c.Key {
		return fmt.Sprintf("permissions of %q under the key of %q", j.App, c.Key.Name)
	}
	r := &policy.PermitRecord{App: j.App}
	for _, n := range slices.Sorted(maps.Keys(j.Nodes)) {
		if _, err := node.Parse(string(n)); err != nil {
			return fmt.Sprintf("%q is no node name", n)
		}
		r.Nodes = append(r.Nodes, policy.NodePermit{Node: n, Permitted: j.Nodes[n]})
	}
	c.Permit = r
	return ""
}

func specToJSON(r *policy.SpecRecord) specJSON {
	j := specJSON{
		V: recordVersion, Node: r.Node, Session: r.Session, Digest: r.Digest, Applied: r.Applied,
		Voters: r.Voters, Apps: specjson.FromAll(r.Specs), Loaded: specjson.FromAll(r.Loaded),
	}
	if j.Voters == nil {
		j.Voters = []node.Name{} // of an external NATS
	}
	return j
}

func decodeSpec(c *policy.Cell, value []byte) (reason string) {
	var j specJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return "not a specification: " + err.Error()
	}
	for _, n := range append(slices.Clone(j.Voters), j.Node) {
		if _, err := node.Parse(string(n)); err != nil {
			return fmt.Sprintf("%q is no node name", n)
		}
	}
	r := &policy.SpecRecord{Node: j.Node, Session: j.Session, Digest: j.Digest, Applied: j.Applied}
	if len(j.Voters) > 0 {
		r.Voters = slices.SortedFunc(slices.Values(j.Voters), func(a, b node.Name) int { return strings.Compare(string(a), string(b)) })
	}
	var err error
	if r.Specs, err = specjson.Specs(j.Apps); err == nil {
		r.Loaded, err = specjson.Specs(j.Loaded)
	}
	if err != nil {
		return "not a specification: " + err.Error()
	}
	c.Config = r
	return ""
}
