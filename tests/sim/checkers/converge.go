package checkers

import (
	"fmt"
	"slices"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Standing is what nodes say of one app in their heartbeats, when no fault is
// left.
type Standing struct {
	Candidates []node.Name // up, permitted, started, not failed
	Idle       []node.Name // up and permitted, but not started there
	Barred     []node.Name // up, but not permitted, or its start failed there
	Moved      bool        // some command moved it at some time
	Spec       string      // by which it is placed where no node was told to start it since; empty: whichever
}

// Converged is I5 and I6: it says why the app is not where it should be, or
// returns "".
func (c *Checker) Converged(name policy.App, st Standing) string {
	a := c.apps[name]
	rec := &a.record
	alive := c.aliveOf(name)
	switch {
	case len(alive) > 1:
		return fmt.Sprintf("%d instances: %s, %s", len(alive), alive[0].name(), alive[1].name())
	case !a.exists && len(st.Candidates) > 0:
		return "it is started, but there is no record"
	case !a.exists || rec.Want == policy.WantStopped || len(st.Candidates) == 0:
		return c.idle(rec, alive, len(st.Candidates) == 0)
	case len(alive) == 0:
		return a.absent(st)
	}
	return c.settled(a, &alive[0], st)
}

// Stopped is I5 after a stop everywhere: it says what is still there, or
// returns "".
func (c *Checker) Stopped(name policy.App) string {
	a := c.apps[name]
	if a.exists && a.record.Want != policy.WantStopped {
		return "it is to run although it was stopped"
	}
	return c.idle(&a.record, c.aliveOf(name), false)
}

// Wanted reports whether the cluster was told to run the app.
func (c *Checker) Wanted(name policy.App) bool {
	a := c.apps[name]
	return a.exists && a.record.Want == policy.WantRun
}

func (c *Checker) aliveOf(name policy.App) (alive []instance) {
	for _, in := range c.instances {
		if in.app == name {
			alive = append(alive, in)
		}
	}
	return alive
}

// idle: nothing should run. unable means that no node can, so that a record
// may still name an owner that has died.
func (c *Checker) idle(rec *policy.AppRecord, alive []instance, unable bool) string {
	switch {
	case len(alive) > 0:
		return fmt.Sprintf("%s runs although it should not", alive[0].name())
	case unable:
		return ""
	case c.live(rec.Next):
		return fmt.Sprintf("reserved for %s", rec.Next.Node)
	}
	return ""
}

func (a *app) absent(st Standing) string {
	best := func(n node.Name) bool { return a.best(st.Candidates, n) }
	awaited := func(n node.Name) bool {
		return slices.ContainsFunc(st.Candidates, func(c node.Name) bool { return best(c) && a.spec.Better(n, c) })
	}
	if a.record.First == policy.FirstWait && slices.ContainsFunc(st.Idle, awaited) {
		return "" // a first start waits for a better node that has not been told to start
	}
	if owner := a.record.Owner.Node; a.spec.Timeout == policy.Infinite && owner != "" && !slices.Contains(st.Candidates, owner) {
		return "" // no failover with an infinite Timeout
	}
	return fmt.Sprintf("no instance, but %v could run it (owner %q, next %q, prev %q, first %q)",
		st.Candidates, a.record.Owner.Node, a.record.Next.Node, a.record.Prev.Node, a.record.First)
}

// live: the session that a slot names has not ended.
func (c *Checker) live(s policy.Slot) bool {
	n := c.nodes[s.Node]
	return n.Session == s.Session && n.State == policy.SessionLive
}

func (a *app) best(candidates []node.Name, n node.Name) bool {
	return !slices.ContainsFunc(candidates, func(c node.Name) bool { return a.spec.Better(c, n) })
}

func (c *Checker) settled(a *app, in *instance, st Standing) string {
	rec := &a.record
	respecified := st.Spec != "" && rec.Spec != "" && rec.Spec != st.Spec // that moves nothing by itself
	free := a.spec.Takeover == policy.Never || rec.Pinned && st.Moved || respecified
	switch {
	case !in.up:
		return in.name() + " is still starting"
	case rec.Owner.Node != in.node || rec.Owner.Session != in.session:
		return fmt.Sprintf("%s runs, but the owner is %q", in.name(), rec.Owner.Node)
	case rec.Phase != policy.PhaseRunning:
		return in.name() + " runs, but the record says " + string(rec.Phase)
	case !rec.Next.Empty() || !rec.Prev.Empty() && c.live(rec.Prev):
		return fmt.Sprintf("%s runs, but next is %q and prev is %q", in.name(), rec.Next.Node, rec.Prev.Node)
	case !slices.Contains(st.Candidates, in.node):
		return in.name() + " runs on a node that may not run it"
	case !free && !a.best(st.Candidates, in.node):
		return fmt.Sprintf("%s runs, but %v are candidates", in.name(), st.Candidates)
	}
	return ""
}
