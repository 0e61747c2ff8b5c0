package kv

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// GlobalName says which process has a name of the whole cluster. Epoch grows
// with every registration and stays when the name is given back.
type GlobalName struct {
	Name  string
	Node  node.Name // of the process; empty: nobody has the name
	PID   string
	SRev  policy.Revision // at which the writer knew the record of Node to be of this life
	Epoch policy.Epoch
}

// nameJSON is its stored form.
type nameJSON struct {
	Name  string          `json:"name"`
	PID   string          `json:"pid"`
	Node  node.Name       `json:"node"`
	Epoch policy.Epoch    `json:"epoch"`
	SRev  policy.Revision `json:"srev"`
	V     int             `json:"v"`
}

// nameKey is the key of a name: "name." and its token.
func nameKey(name string) string { return "name." + node.Token(name) }

// ReadName returns who has a name, and the revision of the record; 0: nobody
// ever had it. A record that was deleted or can't be read has a revision and
// no holder, and its epoch is lost: it is taken from the revision, which is
// higher than any epoch before. The errors are those of Read.
func (s *Store) ReadName(ctx context.Context, name string) (GlobalName, policy.Revision, error) {
	value, rev, err := s.ReadKey(ctx, nameKey(name))
	if err != nil || rev == 0 {
		return GlobalName{Name: name}, rev, err
	}
	var j nameJSON
	if err := json.Unmarshal(value, &j); err != nil || j.V != recordVersion || j.Name != name {
		if err == nil && j.V > recordVersion {
			return GlobalName{}, rev, fmt.Errorf("name %s: %w: version %d", name, ErrRejected, j.V)
		}
		return GlobalName{Name: name, Epoch: policy.Epoch(rev)}, rev, nil
	}
	return GlobalName{Name: name, Node: j.Node, PID: j.PID, SRev: j.SRev, Epoch: j.Epoch}, rev, nil
}

// WriteName makes n the record of its name if the last revision is exactly
// expect. The outcomes are those of CAS.
func (s *Store) WriteName(ctx context.Context, n GlobalName, expect policy.Revision) (policy.Outcome, error) {
	value, err := encodeJSON(nameJSON{n.Name, n.PID, n.Node, n.Epoch, n.SRev, recordVersion})
	if err != nil {
		return policy.OutcomeUnknown, err
	}
	_, outcome, err := s.CASKey(ctx, nameKey(n.Name), value, expect, uuid.NewString())
	return outcome, err
}
