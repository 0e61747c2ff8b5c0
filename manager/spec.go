package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// specKey is where the cluster's specification stands in the bucket, for nodes
// that join: the digest decides, the rest tells people what differs.
const specKey = "config"

type specDoc struct {
	Version int            `json:"v"`
	Node    node.Name      `json:"node"` // who wrote it
	Session policy.Session `json:"session"`
	Digest  string         `json:"digest"`
	Voters  []node.Name    `json:"voters"`
	Apps    []specDocApp   `json:"apps"`
}

type specDocApp struct {
	App       policy.App          `json:"app"`
	TimeoutMS *int64              `json:"timeout_ms"` // null: infinity
	Nodes     [][]node.Name       `json:"nodes"`
	Takeover  policy.TakeoverMode `json:"takeover"`
	FullStart bool                `json:"full_start"`
	Phases    []specDocPhase      `json:"start_phases,omitempty"`
}

type specDocPhase struct {
	Name string `json:"name"`
	Args string `json:"args,omitempty"`
}

func (n *Node) specDoc(session policy.Session) specDoc {
	d := specDoc{Version: 1, Node: n.plan.self, Session: session, Digest: n.plan.digest, Voters: n.plan.voters}
	for _, s := range n.opts.Config.Specs {
		a := specDocApp{App: s.App, Nodes: s.Groups, Takeover: s.Takeover, FullStart: s.FullStart}
		if s.Timeout != policy.Infinite {
			a.TimeoutMS = new(time.Duration(s.Timeout).Milliseconds())
		}
		for _, p := range s.StartPhases {
			a.Phases = append(a.Phases, specDocPhase(p))
		}
		d.Apps = append(d.Apps, a)
	}
	return d
}

func (d *specDoc) specs() []policy.Spec {
	var out []policy.Spec
	for _, a := range d.Apps {
		s := policy.Spec{App: a.App, Timeout: policy.Infinite, Groups: a.Nodes, Takeover: a.Takeover, FullStart: a.FullStart}
		if a.TimeoutMS != nil {
			s.Timeout = policy.Timeout(time.Duration(*a.TimeoutMS) * time.Millisecond)
		}
		for _, p := range a.Phases {
			s.StartPhases = append(s.StartPhases, policy.Phase(p))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b policy.Spec) int { return strings.Compare(string(a.App), string(b.App)) })
	return out
}

// watchSpec makes this node's specification the cluster's as soon as it has a
// session, unless another live node's stands there: of two that come up at
// once with different ones, the first to write stays (B-10).
//
// A session of a former life may look live until its lease has ended, as after
// a restart of all nodes with another configuration: the difference has to last
// for longer than that.
func (n *Node) watchSpec(ctx context.Context, p *parts) {
	var since time.Time // of the difference; zero: there is none
	for ctx.Err() == nil {
		if session := p.agent.Status().Session; session != "" {
			if done := n.settleSpec(ctx, p, session, &since); done {
				return
			}
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (n *Node) settleSpec(ctx context.Context, p *parts, session policy.Session, since *time.Time) (done bool) {
	o := p.store.opened.Load()
	if o == nil {
		return false
	}
	theirs, rev, err := readSpec(ctx, o.kv)
	switch {
	case err != nil && !errors.Is(err, kv.ErrNoRecord):
		return false
	case err == nil && theirs.Digest == n.plan.digest:
		return true
	case err == nil && liveWith(p.agent.Status(), theirs.Node, theirs.Session):
		if since.IsZero() {
			*since = time.Now()
		}
		if time.Since(*since) < n.plan.lease.FailoverMax() {
			return false
		}
		n.end(Exit{Code: ExitDigest, Reason: "the specification differs from that of " + string(theirs.Node) + n.difference(theirs), Hint: digestHint})
		return true
	}
	value, err := json.MarshalIndent(n.specDoc(session), "", " ")
	if err != nil {
		n.log.Error("encode specification", "err", err)
		return true
	}
	_, outcome, _ := o.kv.CASKey(ctx, specKey, value, rev, uuid.NewString())
	return outcome == policy.OutcomeOK
}

const digestHint = "compare the files with: regent config check FILE..."

// readSpec returns ErrNoRecord with revision 0 if there is none.
func readSpec(ctx context.Context, s *kv.Store) (specDoc, policy.Revision, error) {
	raw, rev, err := s.ReadKey(ctx, specKey)
	if err != nil {
		return specDoc{}, rev, err
	}
	if rev == 0 {
		return specDoc{}, 0, kv.ErrNoRecord
	}
	var d specDoc
	if err := json.Unmarshal(raw, &d); err != nil {
		return specDoc{}, rev, kv.ErrNoRecord // unreadable: replaced like none
	}
	return d, rev, nil
}

func liveWith(st *machine.Status, name node.Name, session policy.Session) bool {
	return slices.ContainsFunc(st.Nodes, func(s machine.NodeStatus) bool {
		return s.Name == name && s.Name != st.Node && s.Session == session && s.State == machine.NodeUp
	})
}

// difference says what differs between the cluster's specification and ours.
func (n *Node) difference(theirs specDoc) string {
	var parts []string
	for _, d := range config.CompareSpecs(theirs.specs(), n.opts.Config.Specs) {
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
	o := p.store.opened.Load()
	if e.Code != ExitDigest || o == nil {
		return e
	}
	ctx, cancel := context.WithTimeout(context.Background(), quorumMax)
	defer cancel()
	if theirs, _, err := readSpec(ctx, o.kv); err == nil {
		e.Reason += n.difference(theirs)
	}
	return e
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
