package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

func TestParseEval(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want []EvalCall
	}{
		{"application:start(myapp)", []EvalCall{{Func: EvalStart, App: "myapp", Text: "application:start(myapp)"}}},
		{"application:start(myapp, permanent).", []EvalCall{{Func: EvalStart, App: "myapp", Type: policy.Permanent, Text: "application:start(myapp, permanent)"}}},
		{" application:stop( 'my-app' ) . ", []EvalCall{{Func: EvalStop, App: "my-app", Text: "application:stop( 'my-app' )"}}},
		{"application:takeover(a,temporary)", []EvalCall{{Func: EvalTakeover, App: "a", Type: policy.Temporary, Text: "application:takeover(a,temporary)"}}},
		{"application:permit(a,false)", []EvalCall{{Func: EvalPermit, App: "a", Text: "application:permit(a,false)"}}},
		{"application:permit(a,true)", []EvalCall{{Func: EvalPermit, App: "a", Permitted: true, Text: "application:permit(a,true)"}}},
		{
			"application:load(a),\n application:ensure_all_started (a), net_kernel:connect_node('n@h.d').",
			[]EvalCall{
				{Func: EvalLoad, App: "a", Text: "application:load(a)"},
				{Func: EvalEnsure, App: "a", Text: "application:ensure_all_started (a)"},
				{Func: EvalConnect, Node: "n@h.d", Text: "net_kernel:connect_node('n@h.d')"},
			},
		},
		{"net_kernel:connect_node(node2@lxw)", []EvalCall{{Func: EvalConnect, Node: "node2@lxw", Text: "net_kernel:connect_node(node2@lxw)"}}},
	} {
		got, err := parseEval(tt.expr)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseEval(%q) = %+v, %v; want %+v", tt.expr, got, err, tt.want)
		}
	}
}

func TestEvalErrorsPointIntoTheExpression(t *testing.T) {
	for _, tt := range []struct {
		expr, want string
	}{
		{"", "column 1: expected a call, found the end of the expression"},
		{".", `column 1: expected a call, found '.'`},
		{"foo", `column 1: "foo" is not a call of module:function`},
		{"init:stop()", "column 1: init:stop is not understood"},
		{"application:start", "column 18: expected ( after application:start, found the end of the expression"},
		{"application:start()", "column 1: application:start/0 is not understood"},
		{"application:start(a, b, c)", "column 1: application:start/3 is not understood"},
		{"application:stop(a, b)", "column 1: application:stop/2 is not understood"},
		{"application:permit(a)", "column 1: application:permit/1 is not understood"},
		{"application:start(a", "column 18: ( is never closed"},
		{"application:start('a)')", `column 19: invalid app name "a)": ` + "')' is not allowed"},
		{`application:start("a")`, `column 19: expected the name of an app, an atom, found the string "a"`},
		{"application:start(A)", "column 19: "},
		{"application:start(a, forever)", `column 22: invalid restart type "forever"`},
		{"application:start(a, 1)", "column 22: expected permanent, transient or temporary, found the integer 1"},
		{"application:permit(a, 1)", "column 23: expected true or false, found 1"},
		{"net_kernel:connect_node(node2)", `column 25: invalid node name "node2"`},
		{"net_kernel:connect_node([])", "column 25: expected the name of a node, an atom, found the list []"},
		{"application:start(a), halt()", `column 23: "halt()" is not a call of module:function`},
		{"application:start(a);", `column 21: expected a comma, a final dot or the end of the expression, found ';'`},
		{"application:start(a). application:start(b)", `column 23: expected a comma, a final dot or the end of the expression, found 'a'`},
		{"application:start(a),", "column 22: expected a call, found the end of the expression"},
		{"application:start(ä)", "column 19: "},
		{"  ä", `column 3: expected a call, found 'ä'`},
		{"application:start(a|b)", "column 18: expected arguments between parentheses"},
		{"application:start(a]. [b)", "column "},
		// a bad distribution, pointed at within the term.
		{"application:load(a, b)", "column 21: bad distribution spec: expected {App, Nodes} or {App, Timeout, Nodes}, found b"},
		{"application:load(a, {b, [n@h]})", "column 22: bad distribution spec: expected a, the app that is loaded, found b"},
		{"application:load(a, {a, infinity, [n@h]})", "column 25: bad distribution spec: expected a Timeout in milliseconds, found infinity"},
		{"application:load(a, {a, -5, [n@h]})", "column 25: bad distribution spec: Timeout -5 is out of range"},
		{"application:load(a, {a, 99999999999999999999, [n@h]})", "column 25: bad distribution spec: Timeout 99999999999999999999 is out of range"},
		{"application:load(a, {a, 0, []})", "column 28: bad distribution spec: expected a list of nodes, found []"},
		{"application:load(a, {a, 0, [n@h, {m@h, n@h}]})", "column 40: bad distribution spec: n@h is repeated"},
		{"application:load(a, {a, [n]})", `column 26: bad distribution spec: invalid node name "n"`},
		{"application:load(a, {a, [1]})", "column 26: bad distribution spec: expected a node or a tuple of nodes, found 1"},
		{"application:load({application, a, []})", "column 18: expected the name of an app, an atom, found the tuple"},
		{"application:load(a, b, c)", "column 1: application:load/3 is not understood"},
	} {
		calls, err := parseEval(tt.expr)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("parseEval(%q) = %v, %v; want error %q", tt.expr, calls, err, tt.want)
		}
	}
}

func FuzzParseEval(f *testing.F) {
	f.Add("application:start(myapp, permanent), net_kernel:connect_node('n@h').")
	f.Add("application:start($), \"")
	f.Fuzz(func(t *testing.T, expr string) {
		calls, err := parseEval(expr)
		if (err == nil) != (len(calls) > 0) {
			t.Errorf("%d calls, error %v", len(calls), err)
		}
		if e, ok := errors.AsType[*evalError](err); err != nil && (!ok || e.Column < 1) {
			t.Errorf("error without a place: %v", err)
		}
	})
}

// fakeNode answers commands from a table and keeps what it was told.
type fakeNode struct {
	told   []string
	refuse map[policy.App]*machine.Refusal
	status machine.Status
}

func (f *fakeNode) Call(_ context.Context, c machine.Command) error {
	f.told = append(f.told, fmt.Sprintf("%s %s %s %t", c.Verb, c.App, c.Type, c.Permitted))
	if r := f.refuse[c.App]; r != nil {
		return r
	}
	return nil
}

func (f *fakeNode) LoadDistributed(_ context.Context, a policy.App, d manager.Distribution) error {
	f.told = append(f.told, fmt.Sprintf("load %s %v %v", a, d.Timeout, d.Nodes))
	return nil
}

func (f *fakeNode) Status() *machine.Status { return &f.status }

func evaluate(t *testing.T, n *fakeNode, expr string) (failures []string) {
	t.Helper()
	calls, err := parseEval(expr)
	if err != nil {
		t.Fatal(err)
	}
	runEval(t.Context(), n, calls, func(c EvalCall, err error) {
		failures = append(failures, c.Text+": "+err.Error())
	})
	return failures
}

func TestEvalGoesOnAfterAFailure(t *testing.T) {
	n := &fakeNode{refuse: map[policy.App]*machine.Refusal{"a": {Kind: machine.RefuseAlreadyStarted, Reason: "a"}}}
	failures := evaluate(t, n, "application:start(a), application:ensure_all_started(a), application:takeover(b, permanent), application:permit(b, true), application:stop(c)")
	if want := []string{"application:start(a): already started: a"}; !reflect.DeepEqual(failures, want) {
		t.Errorf("failures %q, want %q", failures, want)
	}
	want := []string{"start a  false", "start a  false", "takeover b permanent false", "permit b  true", "stop c  false"}
	if !reflect.DeepEqual(n.told, want) {
		t.Errorf("told %q, want %q", n.told, want)
	}
}

// TestEvalLoad: load/1 asks whether the app is described (B-26), load/2
// distributes it.
func TestEvalLoad(t *testing.T) {
	n := &fakeNode{refuse: map[policy.App]*machine.Refusal{"b": {Kind: machine.RefuseNotLoaded, Reason: "unknown app b"}}}
	failures := evaluate(t, n, "application:load(a), application:load(b), application:load(c, {c, 5000, [n1@h, {n3@h, 'n2@h'}]}), application:load(d, {d, [n1@h]})")
	if want := []string{"application:load(b): not loaded: unknown app b"}; !reflect.DeepEqual(failures, want) {
		t.Errorf("failures %q, want %q", failures, want)
	}
	want := []string{"load a  false", "load b  false", "load c 5s [[n1@h] [n3@h n2@h]]", "load d 0s [[n1@h]]"}
	if !reflect.DeepEqual(n.told, want) {
		t.Errorf("told %q, want %q", n.told, want)
	}
}

// TestEvalConnectNode: A-69, as far as it goes.
func TestEvalConnectNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNode{status: machine.Status{Node: "a@h", Nodes: []machine.NodeStatus{
			{Name: "b@h", State: machine.NodeUp}, {Name: "c@h", State: machine.NodeDown},
		}}}
		failures := evaluate(t, n, "net_kernel:connect_node(a@h), net_kernel:connect_node(b@h), net_kernel:connect_node(c@h)")
		if want := []string{"net_kernel:connect_node(c@h): c@h was not heard within 5s"}; !reflect.DeepEqual(failures, want) {
			t.Errorf("failures %q, want %q", failures, want)
		}
	})
}
