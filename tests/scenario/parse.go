package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseError is what is wrong with a file, and where.
type ParseError struct {
	File         string
	Line, Column int
	What         string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.What)
}

// Parse reads a scenario.
func Parse(file, text string) (*Scenario, error) {
	p := &parser{file: file, s: &Scenario{Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))}}
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		p.read(line)
		if p.err != nil {
			return nil, p.err
		}
	}
	p.finish()
	if p.err != nil {
		return nil, p.err
	}
	return p.s, nil
}

type parser struct {
	file string
	line int
	s    *Scenario
	err  error

	text  string // of the line
	words []word // not read yet
}

type word struct {
	text   string
	column int
}

var wordPattern = regexp.MustCompile(`\S+`)

func (p *parser) fail(column int, format string, args ...any) {
	if p.err == nil {
		p.err = &ParseError{p.file, p.line, column, fmt.Sprintf(format, args...)}
	}
}

func (p *parser) read(line string) {
	text, comment, hasComment := strings.Cut(line, "#")
	if hasComment && p.s.Title == "" && len(p.s.Steps) == 0 {
		p.s.Title = strings.TrimSpace(comment)
	}
	p.text, p.words = strings.TrimSpace(text), nil
	for _, at := range wordPattern.FindAllStringIndex(text, -1) {
		p.words = append(p.words, word{text[at[0]:at[1]], at[0] + 1})
	}
	if len(p.words) > 0 {
		p.statement()
	}
	if p.err == nil && len(p.words) > 0 {
		p.fail(p.words[0].column, "%q is more than expected", p.words[0].text)
	}
}

// next takes a word; what says what is expected.
func (p *parser) next(what string) string {
	if len(p.words) == 0 {
		p.fail(len(p.text)+1, "the line ends where %s should be", what)
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w.text
}

// take takes a word if it is this one.
func (p *parser) take(w string) bool {
	if len(p.words) > 0 && p.words[0].text == w {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *parser) column() int {
	if len(p.words) > 0 {
		return p.words[0].column
	}
	return len(p.text) + 1
}

// oneOf takes a word that must be one of these.
func (p *parser) oneOf(words ...string) string {
	at := p.column()
	w := p.next("one of " + strings.Join(words, ", "))
	if p.err == nil && !slices.Contains(words, w) {
		p.fail(at, "%q: expected one of %s", w, strings.Join(words, ", "))
	}
	return w
}

func (p *parser) node() string {
	at := p.column()
	n := p.next("a node")
	if p.err == nil && !slices.Contains(p.nodes(), n) {
		p.fail(at, "%q is not a node; the nodes are %s", n, strings.Join(p.nodes(), " "))
	}
	return n
}

func (p *parser) nodes() []string {
	if len(p.s.Nodes) == 0 {
		return []string{"n1", "n2", "n3"}
	}
	return p.s.Nodes
}

// some takes nodes to the end of the line or to the arrow.
func (p *parser) some() (nodes []string) {
	for len(p.words) > 0 && p.words[0].text != arrow && p.err == nil {
		nodes = append(nodes, p.node())
	}
	if len(nodes) == 0 {
		p.fail(p.column(), "expected nodes")
	}
	return nodes
}

const arrow = "->"

func (p *parser) app() string {
	at := p.column()
	a := p.next("an app")
	if p.err == nil && !p.isApp(a) {
		p.fail(at, "%q is not an app", a)
	}
	return a
}

// unknownApp may be named although nobody configured it.
const unknownApp = "nosuch"

func (p *parser) isApp(a string) bool {
	return a == unknownApp || slices.ContainsFunc(p.s.Apps, func(o App) bool { return matches(a, o.Name) })
}

// matches reports whether an app is meant by a name or a pattern.
func matches(pattern, app string) bool {
	if prefix, many := strings.CutSuffix(pattern, "*"); many {
		return strings.HasPrefix(app, prefix)
	}
	return pattern == app
}

func (p *parser) duration() time.Duration {
	at := p.column()
	w := p.next("a duration")
	d, err := time.ParseDuration(w)
	if p.err == nil && err != nil {
		p.fail(at, "%q is not a duration such as 500ms or 2s", w)
	}
	return d
}

// span is a duration that is not negative.
func (p *parser) span() time.Duration {
	at := p.column()
	d := p.duration()
	if p.err == nil && d < 0 {
		p.fail(at, "less than nothing")
	}
	return d
}

func (p *parser) finish() {
	p.s.Nodes = p.nodes()
	p.line++
	switch {
	case p.err != nil:
	case p.s.Title == "":
		p.fail(1, "the first line is a comment that says what the scenario is about")
	case len(p.s.Rules) == 0:
		p.fail(1, "no rules")
	case len(p.s.Steps) == 0:
		p.fail(1, "nothing happens")
	case p.partsBefore() != "":
		p.fail(1, "%s stands before its parts", p.partsBefore())
	default:
		p.pairs()
	}
}

// partsBefore is an app whose parts are not declared before it: none includes
// itself.
func (p *parser) partsBefore() string {
	var seen []string
	for _, a := range p.s.Apps {
		for _, part := range a.Parts {
			if !slices.Contains(seen, part) {
				return a.Name
			}
		}
		seen = append(seen, a.Name)
	}
	return ""
}

// pairs: what one side is expected to do differently is written beside what the
// other does.
func (p *parser) pairs() {
	var open []Statement // Erlang's, to be answered
	for _, st := range p.s.Steps {
		v, ok := st.Expects()
		if !ok || st.Only == "" {
			continue
		}
		if v.Value == Pending {
			p.err = fmt.Errorf("%s: %q asserts nothing", st.Pos, st.Text)
			return
		}
		if st.Only == Erlang {
			open = append(open, st)
			continue
		}
		i := slices.IndexFunc(open, func(o Statement) bool {
			w, _ := o.Expects()
			return o.Rule == st.Rule && w.subject() == v.subject()
		})
		if i < 0 {
			p.err = fmt.Errorf("%s: %q has no line of erlang[%s] about the same before it", st.Pos, st.Text, st.Rule)
			return
		}
		if w, _ := open[i].Expects(); w.Value == v.Value {
			p.err = fmt.Errorf("%s: %q expects the same of both: no difference is needed", st.Pos, st.Text)
			return
		}
		open = slices.Delete(open, i, i+1)
	}
	if len(open) > 0 {
		p.err = fmt.Errorf("%s: %q has no line of regent[%s] about the same after it", open[0].Pos, open[0].Text, open[0].Rule)
	}
}

// Expects is what a statement expects: its fact, or the result of its call.
func (s *Statement) Expects() (Fact, bool) {
	switch {
	case s.Fact != nil:
		return *s.Fact, true
	case s.call():
		return Fact{Kind: Returns, Verb: s.Verb, App: s.App, Node: strings.Join(s.Nodes, " "), Value: s.Result}, true
	case s.Verb == Up:
		return Fact{Kind: NodeIs, Node: strings.Join(s.Nodes, " "), Value: s.Result}, true
	}
	return Fact{}, false
}

var sidePattern = regexp.MustCompile(`^(erlang|regent)\[([A-Za-z0-9-]+)\]$`)

func (p *parser) statement() {
	st := Statement{Pos: fmt.Sprintf("%s:%d", p.file, p.line), Text: p.text}
	if side := sidePattern.FindStringSubmatch(p.words[0].text); side != nil {
		p.words = p.words[1:]
		st.Only, st.Rule = side[1], side[2]
		p.step(st, p.next("a verb"))
		return
	}
	at := p.column()
	switch w := p.next("a word"); w {
	case "rules":
		for len(p.words) > 0 {
			p.rule()
		}
	case "nodes":
		for len(p.words) > 0 {
			p.s.Nodes = append(p.s.Nodes, p.next("a node"))
		}
	case "app":
		p.declareApp()
	case "own":
		p.ownSpec()
	case "barrier":
		p.s.Barrier = p.barrier()
	case "net_ticktime":
		at := p.column()
		var err error
		if p.s.Tick, err = strconv.Atoi(p.next("seconds")); err != nil {
			p.fail(at, "not a number of seconds")
		}
	case "embedded":
		p.s.Servers = true
	case "prevent_overlapping_partitions":
		p.s.Overlap = true
	default:
		if !slices.Contains(verbs, Verb(w)) {
			p.fail(at, "%q is not a statement", w)
			return
		}
		p.step(st, w)
	}
}

var verbs = []Verb{Up, Kill, Down, Cut, Heal, Unlink, Freeze, Thaw, Start, Stop, Takeover, Permit, LoadApp, Apply, ExitApp, Fail, Mend, Slow, Wait, Expect}

var rulePattern = regexp.MustCompile(`^[AB]-[0-9]+$`)

func (p *parser) rule() {
	at := p.column()
	r := p.next("a rule")
	if !rulePattern.MatchString(r) {
		p.fail(at, "%q is not a rule such as A-16", r)
	}
	p.s.Rules = append(p.s.Rules, r)
}

// countMax bounds how many apps one line declares.
const countMax = 999

// declareApp: app NAME [count N] local|unloaded|(TIMEOUT N1 {N2 N3}) options
func (p *parser) declareApp() {
	a := App{Name: p.next("a name")}
	count := 0
	if p.take("count") {
		at := p.column()
		var err error
		if count, err = strconv.Atoi(p.next("a number")); err != nil || count < 1 || count > countMax {
			p.fail(at, "expected a number up to %d", countMax)
			return
		}
	}
	p.spec(&a)
	if count == 0 {
		p.s.Apps = append(p.s.Apps, a)
		return
	}
	for i := range count {
		one := a
		one.Name = fmt.Sprintf("%s%03d", a.Name, i+1)
		p.s.Apps = append(p.s.Apps, one)
	}
}

func (p *parser) spec(a *App) {
	if p.take("local") {
		p.options(a, "phases", "includes")
		return
	}
	if a.Unloaded = p.take("unloaded"); a.Unloaded {
		return
	}
	if a.Infinite = p.take("infinity"); !a.Infinite {
		a.Timeout = p.duration()
	}
	a.Groups = p.groups()
	p.options(a, "exclusive", "phases", "includes", "full", "prep")
}

func (p *parser) options(a *App, options ...string) {
	for len(p.words) > 0 && p.err == nil {
		switch p.oneOf(options...) {
		case "exclusive":
			a.Exclusive = true
		case "phases":
			a.Phases = strings.Split(p.next("phases with commas between them"), ",")
		case "includes":
			a.Parts = strings.Split(p.next("apps with commas between them"), ",")
		case "prep":
			a.Prep = true
		case "full":
			a.Full = true
		}
	}
}

// groups: nodes in order of priority, equals in braces.
func (p *parser) groups() (groups [][]string) {
	for len(p.words) > 0 && p.err == nil {
		w := p.words[0].text
		if !strings.HasPrefix(w, "{") {
			if !slices.Contains(p.nodes(), w) {
				break
			}
			groups = append(groups, []string{p.node()})
			continue
		}
		var group []string
		for p.err == nil {
			at := p.column()
			w := p.next("}")
			n := strings.Trim(w, "{}")
			if p.err == nil && !slices.Contains(p.nodes(), n) {
				p.fail(at, "%q is not a node", n)
			}
			group = append(group, n)
			if strings.HasSuffix(w, "}") {
				break
			}
		}
		groups = append(groups, group)
	}
	if len(groups) == 0 {
		p.fail(p.column(), "expected a list of nodes")
	}
	return groups
}

// ownSpec: own N none|denied|spec APP …, or own N barrier …
func (p *parser) ownSpec() {
	o := OwnSpec{Node: p.node()}
	switch p.oneOf("none", "denied", "spec", "barrier") {
	case "barrier":
		o.Barrier = p.barrier()
	case "none":
		o.None = true
		o.App.Name = p.app()
	case "denied":
		o.Denied = true
		o.App.Name = p.app()
	case "spec":
		o.App.Name = p.app()
		p.spec(&o.App)
	}
	p.s.Own = append(p.s.Own, o)
}

// barrier: barrier TIMEOUT|infinity|none [mandatory …] [optional …]
func (p *parser) barrier() *Barrier {
	b := &Barrier{}
	if b.Infinite = p.take("infinity"); !b.Infinite && !p.take("none") {
		b.Set, b.Timeout = true, p.duration()
	}
	to := &b.Mandatory
	for len(p.words) > 0 && p.err == nil {
		switch {
		case p.take("mandatory"):
			to = &b.Mandatory
		case p.take("optional"):
			to = &b.Optional
		default:
			*to = append(*to, p.node())
		}
	}
	return b
}

// step reads what happens.
func (p *parser) step(st Statement, verb string) {
	st.Verb = Verb(verb)
	switch st.Verb {
	case Up:
		st.Nodes = p.some()
		if st.Result = "up"; p.take(arrow) {
			st.Result = p.rest("up, waits or exits …")
		}
	case Kill, Down, Cut, Heal, Freeze, Thaw:
		st.Nodes = p.some()
	case Unlink:
		st.Nodes = []string{p.node(), p.node()}
	case Start, Stop, Takeover, Permit, LoadApp, Apply:
		p.callStep(&st)
	case ExitApp:
		st.App, st.Word = p.app(), p.oneOf("normal", "crash")
		p.on()
		st.Nodes = p.some()
	case Fail, Mend:
		st.App = p.app()
		p.on()
		st.Nodes = p.some()
	case Slow:
		st.Word, st.App, st.Time = p.oneOf("start", "stop"), p.app(), p.span()
		p.on()
		st.Nodes = p.some()
	case Wait:
		st.Time = p.span()
	case Expect:
		st.Fact = p.fact()
	default:
		p.fail(1, "%q is not a verb", verb)
	}
	p.s.Steps = append(p.s.Steps, st)
}

func (p *parser) on() {
	if !p.take("on") {
		p.fail(p.column(), "expected: on NODE…")
	}
}

// words are the Timeout in milliseconds and the list, equals with commas between
// them.
func (a App) words() string {
	words := []string{strconv.FormatInt(a.Timeout.Milliseconds(), 10)}
	for _, g := range a.Groups {
		words = append(words, strings.Join(g, ","))
	}
	return strings.Join(words, " ")
}

// callStep: VERB APP [WORD | TIMEOUT LIST] on N… -> RESULT
func (p *parser) callStep(st *Statement) {
	st.App = p.app()
	if st.Verb == LoadApp || st.Verb == Apply {
		st.Spec = App{Name: st.App, Timeout: p.span(), Groups: p.groups()}
		st.Word = st.Spec.words()
	} else if st.Verb == Permit {
		st.Word = p.oneOf("true", "false")
	} else if len(p.words) > 0 && p.words[0].text != "on" && (st.Verb == Start || st.Verb == Takeover) {
		st.Word = p.next("a type")
	}
	p.on()
	st.Nodes = p.some()
	if !p.take(arrow) {
		p.fail(p.column(), "expected: -> RESULT")
	}
	st.Result = p.rest("a result")
}

// rest is everything to the end of the line.
func (p *parser) rest(what string) string {
	if len(p.words) == 0 {
		p.fail(len(p.text)+1, "the line ends where %s should be", what)
		return ""
	}
	var all []string
	for _, w := range p.words {
		all = append(all, w.text)
	}
	p.words = nil
	return strings.Join(all, " ")
}

func (p *parser) fact() *Fact {
	f := &Fact{Kind: FactKind(p.oneOf("runs", "started", "count", "node", "returns", "saw"))}
	switch f.Kind {
	case Runs: // runs APP N…|nowhere
		f.App = p.app()
		if p.take(Nowhere) {
			f.Value = Nowhere
			break
		}
		nodes := p.some()
		slices.Sort(nodes)
		f.Value = strings.Join(nodes, " ")
	case Started: // started APP N TYPE [FROM] [after D] [within D]
		f.App = p.app()
		f.Value = p.node() + " " + p.oneOf("normal", "failover", "takeover")
		if len(p.words) > 0 && p.words[0].text != "after" && p.words[0].text != "within" {
			f.Value += " " + p.node()
		}
		if p.take("after") {
			f.After = p.duration()
		}
		if p.take("within") {
			f.Within = p.duration()
		}
	case Count: // count APP* NUMBER [on N]
		f.App = p.app()
		f.Value = p.next("a number")
		if p.take("on") {
			f.Node = p.node()
		}
	case Saw: // saw APP what, what …|nothing
		f.App, f.Value = p.app(), p.rest("what was seen, or nothing")
	case NodeIs: // node N up|down|exits …
		f.Node, f.Value = p.node(), p.rest("what it is")
	case Returns: // returns VERB APP on N -> RESULT
		f.Verb = Verb(p.oneOf("start", "stop", "takeover", "permit", "load"))
		f.App = p.app()
		p.on()
		f.Node = p.node()
		if !p.take(arrow) {
			p.fail(p.column(), "expected: -> RESULT")
		}
		f.Value = p.rest("a result")
	}
	return f
}

// Nowhere is where an app runs that doesn't.
const Nowhere = "nowhere"

// Load reads all scenarios of a directory, sorted by name.
func Load(dir string) ([]*Scenario, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.scenario"))
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		s, err := Parse(f, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
