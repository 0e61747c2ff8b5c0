package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Trace is what was seen of a scenario, from one statement to the next.
type Trace struct {
	Engine, Side string
	Segments     []Segment
}

// Segment is what was seen after one thing was done. Order counts within a
// subject: an app, a node, a call. Between them it is often not determined.
type Segment struct {
	Text, Pos string
	s         *Scenario
	log       []Event
	calls     []*issued // by the number of the event
}

// subjects is what was seen, by subject, in the order of time.
func (g *Segment) subjects() map[string][]string {
	out := map[string][]string{}
	slices.SortStableFunc(g.log, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range g.log {
		g.add(out, e)
	}
	return out
}

func (g *Segment) add(to map[string][]string, e Event) {
	subject, what := "app "+e.App, ""
	if isLocal(g.s, e.App) {
		subject += " on " + e.Node
	}
	switch e.Kind {
	case AppStart:
		what = strings.TrimSpace(fmt.Sprintf("%s start %s %s", e.Node, e.Word, e.From))
	case AppPhase:
		what = fmt.Sprintf("%s phase %s", e.Node, e.Word)
	case AppFailed, AppPrep, AppEnds:
		what = fmt.Sprintf("%s %s", e.Node, e.Kind)
	case NodeUp:
		subject, what = "node "+e.Node, string(e.Kind)
	case NodeEnds:
		if e.Word == Killed { // it was done to it
			return
		}
		subject, what = "node "+e.Node, e.Word
		if e.Word == ExitDigest { // whether it was up for a moment is chance
			delete(to, subject)
		}
	case Reply:
		subject, what = g.calls[e.Call].subject(), e.Word
	default:
		return
	}
	to[subject] = append(to[subject], what)
}

func isLocal(s *Scenario, app string) bool {
	i := slices.IndexFunc(s.Apps, func(a App) bool { return a.Name == app })
	return i >= 0 && s.Apps[i].Groups == nil && !s.Apps[i].Unloaded
}

func (c *issued) subject() string { return fmt.Sprintf("call %s %s on %s", c.verb, c.app, c.node) }

// String is the trace in the order of time.
func (t *Trace) String() string {
	var b strings.Builder
	for _, g := range t.Segments {
		fmt.Fprintf(&b, "  %s\n", g.Text)
		for _, e := range g.log {
			fmt.Fprintf(&b, "    %10.3f  %s %s %s %s %s\n", e.At.Seconds(), e.Node, e.Kind, e.App, e.Word, e.From)
		}
	}
	return b.String()
}

// Differences compares what two engines saw of one scenario. Two of one side
// see the same; Erlang and regent differ where the scenario says so.
func Differences(s *Scenario, a, b *Trace) []string {
	if len(a.Segments) != len(b.Segments) {
		return []string{fmt.Sprintf("%s: %d statements on %s, %d on %s", s.Name, len(a.Segments), a.Engine, len(b.Segments), b.Engine)}
	}
	allowed := map[string][]string{}
	if a.Side != b.Side {
		allowed = allowances(s)
	}
	var out []string
	for i, g := range a.Segments {
		was, is := g.subjects(), b.Segments[i].subjects()
		for _, subject := range keys(was, is) {
			x, y := strings.Join(was[subject], ", "), strings.Join(is[subject], ", ")
			if x == y || slices.ContainsFunc(allowed[g.Pos], func(pattern string) bool { return covers(pattern, subject) }) {
				continue
			}
			out = append(out, fmt.Sprintf("%s: %q: %s\n\t%s: %s\n\t%s: %s", g.Pos, g.Text, subject, a.Engine, orNothing(x), b.Engine, orNothing(y)))
		}
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func keys(a, b map[string][]string) (all []string) {
	for _, m := range []map[string][]string{a, b} {
		for s := range m {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// allowances are the subjects that lines for one side mention, by the
// statement under which they stand. Where one side waits, what it waits for may
// come later.
func allowances(s *Scenario) map[string][]string {
	out := map[string][]string{}
	var open []string
	at := ""
	for _, st := range s.Steps {
		if st.Only == "" {
			if st.Verb != Wait && st.Verb != Expect {
				at = st.Pos
				out[at] = append(out[at], open...)
			}
			continue
		}
		out[at] = append(out[at], st.mentions()...)
		if v, ok := st.Expects(); ok && (v.Value == Blocked || v.Value == Waits) {
			open = append(open, st.mentions()...)
		}
	}
	return out
}

func (s *Statement) mentions() (subjects []string) {
	switch {
	case s.call():
		for _, n := range s.Nodes {
			subjects = append(subjects, fmt.Sprintf("call %s %s on %s", s.Verb, s.App, n))
		}
	case s.Verb == Up || s.Verb == Down:
		for _, n := range s.Nodes {
			subjects = append(subjects, "node "+n)
		}
	case s.Fact == nil:
	case s.Fact.Kind == NodeIs:
		subjects = append(subjects, "node "+s.Fact.Node)
	case s.Fact.Kind == Returns:
		subjects = append(subjects, fmt.Sprintf("call %s %s on %s", s.Fact.Verb, s.Fact.App, s.Fact.Node))
	default:
		subjects = append(subjects, "app "+s.Fact.App)
	}
	return subjects
}

// covers: the * of a pattern is any rest of an app's name. A local app is
// another subject on each node.
func covers(pattern, subject string) bool {
	if pattern == subject {
		return true
	}
	before, after, many := strings.Cut(pattern, "*")
	if many {
		return strings.HasPrefix(subject, before) && strings.HasSuffix(subject, after)
	}
	return strings.HasPrefix(pattern, "app ") && strings.HasPrefix(subject, pattern+" on ")
}
