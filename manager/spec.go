package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// specification is what this node's files say, as it stands in the bucket.
func (n *Node) specification() *policy.SpecRecord {
	return &policy.SpecRecord{Node: n.plan.self, Digest: n.plan.digest, Voters: n.plan.voters, Specs: n.opts.Config.Specs}
}

// Applied is what ApplyConfig did.
type Applied struct {
	Nodes   []node.Name // that go by the specification now: all that are there
	Changed []string    // in words; empty: nothing
}

// ApplyConfig makes what c says of distributed apps the cluster's specification
// (OTP: a changed kernel parameter distributed, rule A-7). It returns when every
// node that is there goes by it. Nothing moves by that: lists and timeouts count
// for the next start or failover. From then on a node whose files say something
// else is refused (exit code 6), until the next ApplyConfig.
//
// Errors: ErrVoters when other nodes would be voters, ErrInUse when an app that
// is started would no longer be distributed or change whether it overlaps,
// ErrOvertaken, ErrConfig, and those of Call.
func (n *Node) ApplyConfig(ctx context.Context, c *Config) (Applied, error) {
	var voters []node.Name // on a NATS of somebody else's nodes don't vote
	if !n.plan.external {
		var err error
		if voters, err = c.Voters(n.plan.self); err != nil {
			return Applied{}, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return n.apply(ctx, voters, c.Specs)
}

func (n *Node) apply(ctx context.Context, voters []node.Name, specs []policy.Spec) (Applied, error) {
	if len(specs) == 0 {
		return Applied{}, fmt.Errorf("%w: nothing is distributed", ErrConfig)
	}
	if n.plan.external {
		voters = nil
	}
	rec := &policy.SpecRecord{Digest: policy.Digest(n.opts.Cluster, voters, specs), Voters: voters, Specs: specs}
	done := Applied{Changed: n.changes(ctx, specs)}
	detail := "applied: " + strings.Join(done.Changed, "; ")
	if len(done.Changed) == 0 {
		detail = "applied: nothing differs"
	}
	if err := n.Call(ctx, machine.Command{Verb: machine.VerbConfig, Apply: rec, Detail: detail}); err != nil {
		return Applied{}, err
	}
	for _, s := range n.View().Nodes {
		if s.State == machine.NodeUp {
			done.Nodes = append(done.Nodes, s.Name)
		}
	}
	return done, nil
}

// changes says what a specification changes of the one that holds.
func (n *Node) changes(ctx context.Context, specs []policy.Spec) []string {
	n.mu.Lock()
	st := n.store
	n.mu.Unlock()
	now := n.opts.Config.Specs
	if st != nil {
		ctx, cancel := context.WithTimeout(ctx, quorumMax)
		defer cancel()
		if c, err := st.Read(ctx, policy.ConfigKey()); err == nil && c.Config != nil {
			now = c.Config.Specs
		}
	}
	changed := []string{}
	for _, d := range config.CompareSpecs(now, specs) {
		changed = append(changed, d.Change())
	}
	return changed
}

// difference says what differs between the cluster's specification and ours.
func (n *Node) difference(theirs *policy.SpecRecord) string {
	var parts []string
	for _, d := range config.CompareSpecs(theirs.Specs, n.opts.Config.Specs) {
		parts = append(parts, fmt.Sprintf("%s (theirs and ours)", d))
	}
	if !slices.Equal(theirs.Voters, n.plan.voters) {
		parts = append(parts, fmt.Sprintf("voters differ: %v and %v (theirs and ours)", theirs.Voters, n.plan.voters))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; ")
}

// explainDigest adds what differs to an exit that the core decided on.
func (n *Node) explainDigest(p *parts, e Exit) Exit {
	if e.Code != ExitDigest {
		return e
	}
	ctx, cancel := context.WithTimeout(context.Background(), quorumMax)
	defer cancel()
	if theirs, err := p.store.look(ctx, policy.ConfigKey()); err == nil && theirs.Config != nil {
		e.Reason += n.difference(theirs.Config)
	}
	return e
}
