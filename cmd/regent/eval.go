package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/erlterm"
	"github.com/seed7529eb29/regent/policy/node"
)

// EvalCall is one call of an -eval expression.
type EvalCall struct {
	Func      EvalFunc
	App       policy.App         // of the application functions
	Type      policy.RestartType // start/2, takeover/2
	Permitted bool               // permit/2
	Node      node.Name          // connect_node/1
	Spec      *policy.Spec       // load/2: its Timeout and Groups
	Text      string             // as it was written
}

// EvalFunc is a function that -eval understands.
type EvalFunc string

// The functions that -eval understands.
const (
	EvalStart    EvalFunc = "application:start"
	EvalStop     EvalFunc = "application:stop"
	EvalTakeover EvalFunc = "application:takeover"
	EvalPermit   EvalFunc = "application:permit"
	EvalLoad     EvalFunc = "application:load"
	EvalEnsure   EvalFunc = "application:ensure_all_started"
	EvalConnect  EvalFunc = "net_kernel:connect_node"
)

const evalList = "application:start/1,2, application:stop/1, application:takeover/2, application:permit/2, " +
	"application:load/1,2, application:ensure_all_started/1 and net_kernel:connect_node/1, joined by commas"

// argument takes one argument of a call into c.
type argument func(c *EvalCall, t erlterm.Term) error

// evalFuncs are the arguments of each function. start and load may end after
// the first.
var evalFuncs = map[EvalFunc][]argument{
	EvalStart:    {appArgument, typeArgument},
	EvalStop:     {appArgument},
	EvalTakeover: {appArgument, typeArgument},
	EvalPermit:   {appArgument, boolArgument},
	EvalLoad:     {appArgument, distArgument},
	EvalEnsure:   {appArgument},
	EvalConnect:  {nodeArgument},
}

// evalError is what is wrong with an expression, and where: Column counts
// characters from 1.
type evalError struct {
	Column  int
	Message string
}

func (e *evalError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// parseEval reads calls joined by commas; a final dot is allowed. Its error is
// an *evalError.
func parseEval(expr string) ([]EvalCall, error) {
	s := evalScanner{src: expr}
	var calls []EvalCall
	for {
		c, err := s.call()
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
		s.space()
		if s.next(",") {
			continue
		}
		s.next(".")
		s.space()
		if s.pos < len(expr) {
			return nil, s.errorAt(s.pos, "expected a comma, a final dot or the end of the expression, found %s", s.found())
		}
		return calls, nil
	}
}

type evalScanner struct {
	src string
	pos int
}

func (s *evalScanner) errorAt(pos int, format string, args ...any) error {
	return &evalError{utf8.RuneCountInString(s.src[:pos]) + 1, fmt.Sprintf(format, args...)}
}

func (s *evalScanner) space() {
	s.pos = len(s.src) - len(strings.TrimLeft(s.src[s.pos:], " \t\r\n"))
}

// next takes text if it comes next.
func (s *evalScanner) next(text string) bool {
	if !strings.HasPrefix(s.src[s.pos:], text) {
		return false
	}
	s.pos += len(text)
	return true
}

// found describes what comes next, for errors.
func (s *evalScanner) found() string {
	if s.pos >= len(s.src) {
		return "the end of the expression"
	}
	r, _ := utf8.DecodeRuneInString(s.src[s.pos:])
	return fmt.Sprintf("%q", r)
}

// call reads module:function(arguments).
func (s *evalScanner) call() (EvalCall, error) {
	s.space()
	start := s.pos
	f, err := s.function()
	if err != nil {
		return EvalCall{}, err
	}
	opening := s.pos
	terms, err := s.arguments()
	if err != nil {
		return EvalCall{}, err
	}
	c := EvalCall{Func: f, Text: s.src[start:s.pos]}
	takes := evalFuncs[f]
	if len(terms) > len(takes) || len(terms) < len(takes) && (f != EvalStart && f != EvalLoad || len(terms) == 0) {
		return EvalCall{}, s.errorAt(start, "%s/%d is not understood", f, len(terms))
	}
	for i, t := range terms {
		err := takes[i](&c, t)
		if inner, ok := errors.AsType[*argumentError](err); ok {
			t.Offset = inner.offset
		}
		if err != nil {
			return EvalCall{}, s.errorAt(opening+t.Offset, "%v", err)
		}
	}
	return c, nil
}

// function reads module:function.
func (s *evalScanner) function() (EvalFunc, error) {
	start := s.pos
	module := s.word()
	if module == "" {
		return "", s.errorAt(s.pos, "expected a call, found %s", s.found())
	}
	if !s.next(":") {
		return "", s.errorAt(start, "%q is not a call of module:function", s.src[start:min(start+40, len(s.src))])
	}
	f := EvalFunc(module + ":" + s.word())
	if _, ok := evalFuncs[f]; !ok {
		return "", s.errorAt(start, "%s is not understood", f)
	}
	s.space()
	if s.pos >= len(s.src) || s.src[s.pos] != '(' {
		return "", s.errorAt(s.pos, "expected ( after %s, found %s", f, s.found())
	}
	return f, nil
}

// word reads an atom without quotes.
func (s *evalScanner) word() string {
	rest := s.src[s.pos:]
	n := strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	if n < 0 {
		n = len(rest)
	}
	s.pos += n
	return rest[:n]
}

// arguments reads a parenthesis as a list of terms, whose offsets count from
// it.
func (s *evalScanner) arguments() ([]erlterm.Term, error) {
	opening := s.pos
	end := closing(s.src[opening:])
	if end < 0 {
		return nil, s.errorAt(opening, "( is never closed")
	}
	inside := s.src[opening+1 : opening+end]
	file, err := erlterm.Parse([]byte("[" + inside + "]. "))
	if e, ok := errors.AsType[*erlterm.Error](err); ok {
		at := opening + min(e.Offset, end)
		return nil, s.errorAt(at, "%s", e.Message)
	}
	if err != nil || len(file.Terms) != 1 || file.Terms[0].Kind != erlterm.List || file.Terms[0].Tail != nil {
		return nil, s.errorAt(opening, "expected arguments between parentheses")
	}
	s.pos = opening + end + 1
	return file.Terms[0].Elems, nil
}

// closing finds the parenthesis that closes the one that text begins with,
// past quotes; -1 if there is none.
func closing(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != 0, c == '$' && quote == 0:
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func appArgument(c *EvalCall, t erlterm.Term) (err error) {
	if t.Kind != erlterm.Atom {
		return fmt.Errorf("expected the name of an app, an atom, found the %s %s", t.Kind, t)
	}
	c.App, err = policy.ParseApp(t.Text)
	return err
}

func typeArgument(c *EvalCall, t erlterm.Term) (err error) {
	if t.Kind != erlterm.Atom {
		return fmt.Errorf("expected permanent, transient or temporary, found the %s %s", t.Kind, t)
	}
	c.Type, err = policy.ParseRestartType(t.Text)
	return err
}

func boolArgument(c *EvalCall, t erlterm.Term) error {
	if t.Kind != erlterm.Atom || !slices.Contains([]string{"true", "false"}, t.Text) {
		return fmt.Errorf("expected true or false, found %s", t)
	}
	c.Permitted = t.Text == "true"
	return nil
}

func nodeArgument(c *EvalCall, t erlterm.Term) (err error) {
	if t.Kind != erlterm.Atom {
		return fmt.Errorf("expected the name of a node, an atom, found the %s %s", t.Kind, t)
	}
	c.Node, err = node.Parse(t.Text)
	return err
}

// argumentError is wrong with a part of an argument.
type argumentError struct {
	offset int
	err    error
}

func (e *argumentError) Error() string { return e.err.Error() }

// badDistribution is OTP's bad_distribution_spec (rule A-5).
func badDistribution(t erlterm.Term, format string, args ...any) error {
	return &argumentError{t.Offset, fmt.Errorf("bad distribution spec: "+format, args...)}
}

// distArgument reads {App, [Node | {Node, ...}]} or {App, Timeout, [...]}. There
// is no infinity here, as in OTP.
func distArgument(c *EvalCall, t erlterm.Term) error {
	if t.Kind != erlterm.Tuple || len(t.Elems) < 2 || len(t.Elems) > 3 {
		return badDistribution(t, "expected {App, Nodes} or {App, Timeout, Nodes}, found %s", t)
	}
	if app := t.Elems[0]; app.Kind != erlterm.Atom || app.Text != string(c.App) {
		return badDistribution(app, "expected %s, the app that is loaded, found %s", c.App, app)
	}
	c.Spec = &policy.Spec{App: c.App}
	if len(t.Elems) == 3 {
		ms, err := milliseconds(t.Elems[1])
		if err != nil {
			return err
		}
		c.Spec.Timeout = policy.Timeout(ms)
	}
	return nodesArgument(c, t.Elems[len(t.Elems)-1])
}

// timeoutMax is far more than anybody waits for, and fits into a duration.
const timeoutMax = 1 << 40 // ms

func milliseconds(t erlterm.Term) (time.Duration, error) {
	ms, err := strconv.ParseInt(t.String(), 10, 64)
	switch {
	case t.Kind != erlterm.Integer || err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, badDistribution(t, "expected a Timeout in milliseconds, found %s", t)
	case err != nil || ms < 0 || ms > timeoutMax:
		return 0, badDistribution(t, "Timeout %s is out of range", t)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func nodesArgument(c *EvalCall, t erlterm.Term) error {
	if t.Kind != erlterm.List || t.Tail != nil || len(t.Elems) == 0 {
		return badDistribution(t, "expected a list of nodes, found %s", t)
	}
	seen := map[node.Name]bool{}
	for _, elem := range t.Elems {
		members := []erlterm.Term{elem}
		if elem.Kind == erlterm.Tuple && len(elem.Elems) > 0 {
			members = elem.Elems
		}
		var group []node.Name
		for _, m := range members {
			n, err := node.Parse(m.Text)
			switch {
			case m.Kind != erlterm.Atom:
				return badDistribution(m, "expected a node or a tuple of nodes, found %s", m)
			case err != nil:
				return badDistribution(m, "%w", err)
			case seen[n]:
				return badDistribution(m, "%s is repeated", n)
			}
			seen[n] = true
			group = append(group, n)
		}
		c.Spec.Groups = append(c.Spec.Groups, group)
	}
	return nil
}
