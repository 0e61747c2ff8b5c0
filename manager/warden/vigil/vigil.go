package vigil

import (
	"slices"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Vigil is one warden's knowledge of its agent. Its zero value knows nothing.
// Moments are on the clock since boot.
type Vigil[G comparable] struct {
	life   Life
	groups []G
	all    bool          // every group that the agent has is among them
	armed  time.Duration // 0: never
	until  time.Duration // with the end begun: how long what was killed may take to go
}

// Life is the agent whose end is to be proved.
type Life struct {
	Node  node.Name
	Agent policy.Nonce
	TTL   time.Duration
}

// Meet says whose warden this is.
func (v *Vigil[G]) Meet(l Life) { v.life = l }

// Met reports whether it is known whose warden this is.
func (v *Vigil[G]) Met() bool { return v.life.Agent != "" }

// Add says that a group is about to execute something.
func (v *Vigil[G]) Add(g G) { v.groups = append(v.groups, g) }

// Gone says that nothing of a group is alive any more.
func (v *Vigil[G]) Gone(g G) {
	v.groups = slices.DeleteFunc(v.groups, func(o G) bool { return o == g })
}

// Arm says when the agent's apps have to be gone; 0 is never.
func (v *Vigil[G]) Arm(at time.Duration) { v.armed = at }

// All says that every group that ran before this warden has been told.
func (v *Vigil[G]) All() { v.all = true }

// Groups is how many are known.
func (v *Vigil[G]) Groups() int { return len(v.groups) }

// Passed reports whether the agent's right to run apps has run out.
func (v *Vigil[G]) Passed(now time.Duration) bool { return v.armed > 0 && now >= v.armed }

// Target is what SIGKILL is sent to.
type Target[G comparable] struct {
	Agent bool
	Group G // if it is not the agent
}

// Patience is how long what was killed is waited for, and a certificate tried.
func (v *Vigil[G]) Patience() time.Duration { return 2 * v.life.TTL }

// Begin is the end of the agent: its right has passed or its socket has ended.
// It lists what to kill, in order. The agent is the first: else its renewals
// would outrun the certificate, and it could start apps again. That its socket
// has ended does not prove its death.
func (v *Vigil[G]) Begin(now time.Duration) []Target[G] {
	v.until = now + v.Patience()
	return append([]Target[G]{{Agent: true}}, v.targets()...)
}

func (v *Vigil[G]) targets() (ts []Target[G]) {
	for _, g := range v.groups {
		ts = append(ts, Target[G]{Group: g})
	}
	return ts
}

// Verdict is what comes next.
type Verdict int

// Verdicts.
const (
	Wait    Verdict = iota // something is still there: kill that, look again
	Certify                // all is confirmed gone
	Unknown                // all that is known is gone, and there may be more: nothing is certified
	GiveUp                 // SIGKILL does not end it: nothing is certified
)

// Look takes what is seen after the kills. Confirmed gone is what was looked at
// and not found alive; a kill that was sent confirms nothing.
func (v *Vigil[G]) Look(now time.Duration, agentGone bool, gone func(G) bool) ([]Target[G], Verdict) {
	v.groups = slices.DeleteFunc(v.groups, gone)
	switch {
	case agentGone && len(v.groups) == 0:
		if !v.all {
			return nil, Unknown
		}
		return nil, Certify
	case now > v.until:
		return v.targets(), GiveUp
	}
	return v.targets(), Wait // one that was forking
}

// Certificate is transition S4 on the node's cell, read after all was confirmed
// gone: exactly what was read is replaced. It is over when the cell says that the
// life has ended, or names another one, which is nobody's to end.
func (l Life) Certificate(c policy.Cell) (w policy.Write, over bool) {
	rec := c.Node
	if rec == nil || rec.Agent != l.Agent || rec.State != policy.SessionLive {
		return policy.Write{}, true
	}
	dead := *rec
	dead.State = policy.SessionDead
	return policy.Write{Cell: policy.Cell{Key: policy.NodeKey(l.Node), Node: &dead}, Expect: c.Rev}, false
}

// Certificate is that of the vigil's life.
func (v *Vigil[G]) Certificate(c policy.Cell) (w policy.Write, over bool) {
	return v.life.Certificate(c)
}
