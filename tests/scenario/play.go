package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Play performs a scenario. The error says which line did not come true, and
// what was seen until then.
func Play(e Engine, s *Scenario) (*Trace, error) {
	w, err := e.Begin(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name(), err)
	}
	defer w.Close()
	p := &player{w: w, s: s, trace: &Trace{Engine: e.Name(), Side: e.Side()}, nodes: map[string]string{}, runs: map[place]int{}, last: map[string]Event{}}
	for _, st := range s.Steps {
		if st.Only != "" && st.Only != e.Side() {
			continue
		}
		if err := p.step(st); err != nil {
			return p.trace, fmt.Errorf("%s: %s: %q: %w\n%s", e.Name(), st.Pos, st.Text, err, p.trace)
		}
	}
	if err := p.settle(); err != nil {
		return p.trace, fmt.Errorf("%s: %s: at the end: %w\n%s", e.Name(), s.Name, err, p.trace)
	}
	return p.trace, nil
}

// player is a scenario being played.
type player struct {
	w     World
	s     *Scenario
	trace *Trace

	nodes map[string]string // how they are
	runs  map[place]int
	last  map[string]Event // start, by app
	calls []*issued
	began time.Duration // of the segment
	facts []Statement   // that came true in this segment
}

type place struct{ app, node string }

// issued is a call.
type issued struct {
	verb      Verb
	app, node string
	result    string // empty: not returned
}

func (p *player) step(st Statement) error {
	switch {
	case st.Verb == Wait:
		return p.pass(st.Time)
	case st.Verb == Expect:
		return p.expect(st)
	}
	if st.Only == "" {
		if err := p.settle(); err != nil {
			return fmt.Errorf("before it: %w", err)
		}
		p.began, p.facts = p.w.Now(), nil
		p.trace.Segments = append(p.trace.Segments, Segment{Text: st.Text, Pos: st.Pos, s: p.s})
	} else if err := p.calm(); err != nil {
		return err
	}
	if st.call() {
		return p.call(st)
	}
	if st.Verb == Up {
		for _, n := range st.Nodes {
			p.nodes[n] = Waits
		}
	}
	if err := p.w.Do(st); err != nil {
		return err
	}
	return p.finished(st)
}

// finished waits for the end of what has one.
func (p *player) finished(st Statement) error {
	switch st.Verb {
	case Up:
		if st.Result == Waits {
			if err := p.calm(); err != nil {
				return err
			}
		}
		return p.until(func() error {
			for _, n := range st.Nodes {
				if p.nodes[n] != st.Result {
					return fmt.Errorf("%s: %s", n, p.nodes[n])
				}
			}
			return nil
		})
	case Kill, Down:
		return p.until(func() error {
			for _, n := range st.Nodes {
				if p.nodes[n] == "up" || p.nodes[n] == Waits {
					return fmt.Errorf("%s has not ended", n)
				}
			}
			return nil
		})
	}
	return nil
}

func (p *player) call(st Statement) error {
	var mine []*issued
	for _, n := range st.Nodes {
		c := &issued{verb: st.Verb, app: st.App, node: n}
		for _, app := range p.named(st.App) {
			one := *c
			one.app = app
			p.calls = append(p.calls, &one)
			mine = append(mine, &one)
			call := st
			call.App = app
			if err := p.w.Call(len(p.calls)-1, call, n); err != nil {
				return err
			}
		}
	}
	switch st.Result {
	case Pending:
		return nil
	case Blocked:
		if err := p.calm(); err != nil {
			return err
		}
	}
	return p.until(func() error {
		for _, c := range mine {
			if got := c.shown(); got != st.Result {
				return fmt.Errorf("on %s: %s", c.node, got)
			}
		}
		return nil
	})
}

// named are the apps that a pattern means; a name alone is itself.
func (p *player) named(pattern string) []string {
	if !strings.HasSuffix(pattern, "*") {
		return []string{pattern}
	}
	var out []string
	for _, a := range p.s.Apps {
		if matches(pattern, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

func (c *issued) shown() string {
	if c.result == "" {
		return Blocked
	}
	return c.result
}

func (p *player) expect(st Statement) error {
	if err := p.until(func() error { return p.check(*st.Fact) }); err != nil {
		return err
	}
	p.facts = slices.DeleteFunc(p.facts, func(o Statement) bool { return o.Fact.subject() == st.Fact.subject() })
	p.facts = append(p.facts, st)
	return nil
}

func (p *player) check(f Fact) error {
	got, late := p.fact(f), ""
	if f.Kind == Started && got == f.Value {
		switch took := p.last[f.App].At - p.began; {
		case took < f.After:
			late = fmt.Sprintf(", after %v", took)
		case f.Within > 0 && took > f.Within:
			late = fmt.Sprintf(", only after %v", took)
		}
	}
	if got != f.Value || late != "" {
		return fmt.Errorf("it is: %s%s", got, late)
	}
	return nil
}

// fact is what is true.
func (p *player) fact(f Fact) string {
	switch f.Kind {
	case Runs:
		return p.running(f.App)
	case Started:
		e := p.last[f.App]
		return strings.TrimSpace(e.Node + " " + e.Word + " " + e.From)
	case Count:
		n := 0
		for at, k := range p.runs {
			if matches(f.App, at.app) && (f.Node == "" || f.Node == at.node) {
				n += k
			}
		}
		return strconv.Itoa(n)
	case Saw:
		return orNothing(strings.Join(p.segment().subjects()["app "+f.App], ", "))
	case NodeIs:
		if is := p.nodes[f.Node]; is != "" {
			return is
		}
		return "down"
	case Returns:
		for _, c := range slices.Backward(p.calls) {
			if c.verb == f.Verb && c.app == f.App && c.node == f.Node {
				return c.shown()
			}
		}
		return "never called"
	}
	return "?"
}

func (p *player) running(app string) string {
	var on []string
	for at, n := range p.runs {
		if at.app == app {
			on = append(on, slices.Repeat([]string{at.node}, n)...)
		}
	}
	if len(on) == 0 {
		return Nowhere
	}
	slices.Sort(on)
	return strings.Join(on, " ")
}

// until lets time pass until something is so, with patience.
func (p *player) until(ok func() error) error {
	begin := p.w.Now()
	for {
		p.news()
		err := ok()
		if err == nil || p.w.Now()-begin > p.w.Patience() {
			return err
		}
		if err := p.w.Pass(pulse); err != nil {
			return err
		}
	}
}

// pulse is between two looks.
const pulse = 10 * time.Millisecond

func (p *player) pass(d time.Duration) error {
	for begin := p.w.Now(); p.w.Now()-begin < d; {
		if err := p.w.Pass(pulse); err != nil {
			return err
		}
		p.news()
	}
	return nil
}

// calm waits until nothing has happened for some time.
func (p *player) calm() error {
	for since := p.w.Now(); p.w.Now()-since < p.w.Calm(); {
		if p.news() > 0 {
			since = p.w.Now()
		}
		if err := p.w.Pass(pulse); err != nil {
			return err
		}
	}
	return nil
}

// settle ends a segment: what came true in it is still so when all is calm.
func (p *player) settle() error {
	if len(p.trace.Segments) == 0 {
		return nil
	}
	if err := p.calm(); err != nil {
		return err
	}
	for _, st := range p.facts {
		if err := p.check(*st.Fact); err != nil {
			return fmt.Errorf("%s: %q was so for a moment only: %w", st.Pos, st.Text, err)
		}
	}
	return nil
}

// news takes in what has happened.
func (p *player) news() int {
	events := p.w.Events()
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range events {
		p.see(e)
		if len(p.trace.Segments) > 0 {
			g := p.segment()
			g.log, g.calls = append(g.log, e), p.calls
		}
	}
	return len(events)
}

// segment is the one that is being played.
func (p *player) segment() *Segment { return &p.trace.Segments[len(p.trace.Segments)-1] }

func (p *player) see(e Event) {
	at := place{e.App, e.Node}
	switch e.Kind {
	case NodeUp:
		p.nodes[e.Node] = "up"
	case NodeEnds:
		p.nodes[e.Node] = e.Word
		for at := range p.runs {
			if at.node == e.Node {
				delete(p.runs, at)
			}
		}
	case AppStart:
		p.last[e.App] = e
	case AppStarted:
		p.runs[at]++
	case AppEnds:
		if p.runs[at]--; p.runs[at] <= 0 {
			delete(p.runs, at)
		}
	case Reply:
		p.calls[e.Call].result = e.Word
	}
}
