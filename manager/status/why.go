package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Candidate is one node of an app's list: why it runs the app, or does not.
type Candidate struct {
	Node     node.Name        `json:"node"`
	Standing machine.Standing `json:"standing"`
	Weight   int              `json:"weight"` // distributed apps it owns
	Error    string           `json:"error,omitempty"`
}

func candidates(vs []machine.Verdict) []Candidate {
	var out []Candidate
	for _, v := range vs {
		out = append(out, Candidate{v.Node, v.Standing, v.Weight, v.Error})
	}
	return out
}

// Why is an explanation in words: what is so, the rule that makes it so, and
// what there is to say about every node of the list.
type Why struct {
	Schema     int         `json:"schema"`
	App        policy.App  `json:"app"`
	Now        string      `json:"now"`
	Rule       string      `json:"rule"`
	Candidates []WhyNode   `json:"candidates"`
	History    []WhyMoment `json:"history"` // of the last move, oldest first
}

// WhyNode is one candidate in words.
type WhyNode struct {
	Candidate

	Text string `json:"text"`
}

// WhyMoment is one event of the last move. After counts from the one before.
type WhyMoment struct {
	Time  Time          `json:"time"`
	After time.Duration `json:"after_ns"`
	Text  string        `json:"text"`
}

// Explain says why app a of the document is where it is.
func (d *Document) Explain(a *App) Why {
	w := Why{Schema: Schema, App: a.Name, Now: a.sentence(), Rule: a.rule(d), Candidates: []WhyNode{}, History: []WhyMoment{}}
	for _, c := range a.Candidates {
		w.Candidates = append(w.Candidates, WhyNode{c, a.about(c)})
	}
	return w
}

// sentence says what is so now.
func (a *App) sentence() string {
	switch {
	case a.Local() && len(a.RunningOn) > 0:
		return fmt.Sprintf("%s runs on %s", a.Name, join(a.RunningOn))
	case a.Node == "":
		return fmt.Sprintf("%s does not run: %s", a.Name, strings.ReplaceAll(string(a.State), "_", " "))
	}
	text := fmt.Sprintf("%s is %s on %s, epoch %d", a.Name, a.State, a.Node, a.Epoch)
	if a.State == machine.AppRunning {
		text = fmt.Sprintf("%s runs on %s, epoch %d", a.Name, a.Node, a.Epoch)
	}
	if a.From != "" {
		return fmt.Sprintf("%s (%s from %s)", text, a.StartType, a.From)
	}
	return fmt.Sprintf("%s (%s)", text, a.StartType)
}

// rule is the rule that holds now.
func (a *App) rule(d *Document) string {
	switch a.Cause {
	case machine.CauseBest:
		return "the first node of its list that is there, permitted, and was told to start it runs it (A-16, B-4)"
	case machine.CauseEqual:
		return "it is not moved among equals (A-38)"
	case machine.CausePinned:
		return "a command put it there, and priority alone does not move it back (A-41); start or permit on the better node does"
	case machine.CauseChanged:
		return "its list was changed while it ran, and nothing moves by that (A-7); start or permit on a better node, or the next failover, goes by the new one"
	case machine.CauseNever:
		return "a better node could run it, but its takeover is never (B-9)"
	case machine.CauseHandOver:
		return a.handOver()
	case machine.CauseLeaving:
		return fmt.Sprintf("%s may or can no longer run it: it stops there, and where takeovers overlap the next instance comes first (A-47, A-54)", a.Node)
	case machine.CauseRestarted:
		return "it was stopped and started again: what runs comes down first (A-43, B-16)"
	case machine.CauseStarting:
		return "the claim holds, and its start has not returned yet (A-17)"
	case machine.CauseLocal:
		return "it has no distributed entry: it runs on every node where it is started (A-50)"
	case machine.CauseStopping:
		return "it was told to stop (A-43)"
	case machine.CauseStopped:
		return "it was stopped; start on any node that is to run it starts it again (A-43)"
	case machine.CauseUnstarted:
		return "no node that is there was told to start it (A-32)"
	case machine.CauseStore:
		return "this node can't act on the records (B-22): " + orElse(strings.Join(d.Waiting, "; "), "they were not read yet, or there is no quorum")
	case machine.CauseDamaged:
		return "its record is missing or damaged: nobody claims it before nothing can run by what it said (B-1)"
	}
	return a.ruleFree()
}

// ruleFree is the rule for an app that nobody runs.
func (a *App) ruleFree() string {
	switch a.Cause {
	case machine.CauseProof:
		return "its owner is silent and not proved dead: a certificate, or the end of its lease, comes first (B-1)"
	case machine.CauseTimeout:
		if !a.FailoverAt.IsZero() {
			return fmt.Sprintf("its owner is dead, and its Timeout runs until %s (A-25)", a.FailoverAt.UTC().Format(clockFormat))
		}
		return "its owner is dead, and its Timeout is not over (A-25)"
	case machine.CauseInfinite:
		return "its Timeout is infinity: no failover (A-4); start on its own node, or takeover, runs it"
	case machine.CauseAwaited:
		return fmt.Sprintf("a first start waits for a better node that is there to be told as well (A-16)%s", named(": ", a.WaitingFor))
	case machine.CauseReserved:
		return fmt.Sprintf("%s has precedence, for a while (B-9)", orElse(string(a.Next), "another node"))
	case machine.CauseFailed:
		return "it could not start on any node that was told to (B-7); start on one of them tries again"
	case machine.CauseNobody:
		return "no node of its list that is there may and can run it (B-4)"
	case machine.CauseClaiming:
		return "the best candidate is about to claim it (A-25, A-36)"
	}
	return "unknown"
}

func (a *App) handOver() string {
	if a.Next == "" {
		return "a better node is there, permitted and told to start it: it is about to ask for it (A-39)"
	}
	return fmt.Sprintf("%s has asked for it (A-39)", a.Next)
}

// about is what there is to say about one node.
func (a *App) about(c Candidate) string {
	switch c.Standing {
	case machine.StandingRuns:
		return "has it"
	case machine.StandingChosen:
		return "the best that could run it now"
	case machine.StandingAbsent:
		return "not there: not heard, or ended"
	case machine.StandingSyncing:
		return "still in its barrier (A-9)"
	case machine.StandingClosing:
		return "stopping"
	case machine.StandingHidden:
		return "a hidden node (B-18)"
	case machine.StandingNoSession:
		return "there, but without a session (B-22)"
	case machine.StandingUnstarted:
		return "was not told to start it (B-4)"
	case machine.StandingDenied:
		return "not permitted (A-46)"
	case machine.StandingFailed:
		return "its start failed (B-7): " + c.Error
	case machine.StandingPriority:
		return "could run it, but comes later in the list (A-16)"
	case machine.StandingOwner:
		return "could run it as well; apps are not moved among equals (A-38)"
	case machine.StandingWeight:
		return fmt.Sprintf("could run it, but an equal has fewer apps (it has %d, A-36)", c.Weight)
	case machine.StandingName:
		return "could run it, but an equal with as many apps comes first by name (A-36)"
	case machine.StandingBetter:
		return "could run it, and comes earlier in the list"
	}
	return string(c.Standing)
}

const clockFormat = "15:04:05.000Z"

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func named(before string, n node.Name) string {
	if n == "" {
		return ""
	}
	return before + string(n)
}

func join(names []node.Name) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}
