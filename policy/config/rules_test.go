package config

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Timeout in milliseconds or infinity, 0 if left out; a list is an order of
// priority, a tuple in it a set of equals.
func TestA1Distributed(t *testing.T) {
	c := mustLoad(t, files{"a.config": `[{kernel, [{distributed, [
		{a, [n1@h, {n3@h, n2@h}]}, {b, 5000, ['n2@h']}, {c, infinity, [n1@h]}, {d, 0, [{n1@h}]}]}]}].`}, "a.config")
	for app, want := range map[policy.App]struct {
		timeout policy.Timeout
		groups  [][]node.Name
	}{
		"a": {0, [][]node.Name{{"n1@h"}, {"n3@h", "n2@h"}}},
		"b": {policy.Timeout(5 * time.Second), [][]node.Name{{"n2@h"}}},
		"c": {policy.Infinite, [][]node.Name{{"n1@h"}}},
		"d": {0, [][]node.Name{{"n1@h"}}},
	} {
		s, ok := c.Spec(app)
		if !ok || s.Timeout != want.timeout || groupText(s.Groups) != groupText(want.groups) {
			t.Errorf("%s: %+v, want %v", app, s, want)
		}
	}
}

// Every bad value gets the error that its rule gives, at its place: what OTP
// dies of, and what it drops without a word.
func TestBadValuesOfRules(t *testing.T) {
	for _, tt := range []struct{ rule, kernel, want string }{
		// distributed is a list of {App, Nodes} or {App, Timeout, Nodes}.
		{"A-2", `{distributed, myapp}`, "16: expected a list of apps for distributed, found myapp"},
		{"A-2", `{distributed, {myapp, [n@h]}}`, "16: expected a list of apps for distributed, found a tuple"},
		{"A-2", `{distributed, [myapp]}`, "17: expected {App, Nodes} or {App, Timeout, Nodes}, found myapp"},
		{"A-2", `{distributed, [{myapp}]}`, "17: expected {App, Nodes} or {App, Timeout, Nodes}, found a tuple"},
		{"A-2", `{distributed, [{myapp, 1, [n@h], x}]}`, "17: expected {App, Nodes} or {App, Timeout, Nodes}, found a tuple"},
		{"A-2", `{distributed, [{myapp, n@h}]}`, "25: expected a list of nodes, found n@h"},
		{"A-2", `{distributed, [{myapp, soon, [n@h]}]}`, "25: expected milliseconds or infinity for Timeout, found soon"},
		{"A-2", `{distributed, [{myapp, 1.5, [n@h]}]}`, "25: expected milliseconds or infinity for Timeout, found the number 1.5"},
		{"A-2", `{distributed, [{myapp, "5s", [n@h]}]}`, `25: expected milliseconds or infinity for Timeout, found the string "5s"`},
		{"A-2", `{distributed, [{myapp, 0, []}]}`, "28: the list of nodes is empty: the app could run nowhere"},
		{"A-2", `{distributed, [{myapp, 0, [n@h, {}]}]}`, "34: expected a node name, found an empty group"},
		{"A-2", `{distributed, [{myapp, 0, [n@h, {m@h, {o@h}}]}]}`, "40: expected a node name, found a tuple"},
		{"A-2", `{distributed, [{myapp, 0, [n]}]}`, `29: invalid node name "n": no host part, expected name@host`},
		{"A-2", `{distributed, [{myapp, 0, [n@h, 17]}]}`, `34: invalid node name "17": no host part, expected name@host`},
		{"A-2", `{distributed, [{myapp, 0, [n@h | m@h]}]}`, "28: expected a list of nodes, found an improper list"},
		{"A-2", `{distributed, [{myapp, 0, [n@h, n@h]}]}`, "34: node n@h is repeated in the list, first at a.config:2:29"},
		{"A-2", `{distributed, [{17, 0, [n@h]}]}`, `18: invalid app name "17": must begin with a letter`},
		{"A-2", `{distributed, [{'my app', 0, [n@h]}]}`, `18: invalid app name "my app": ' ' is not allowed (letters, digits, _, @ and - are)`},
		{"A-2", `{distributed, [{myapp, [n@h]}, {myapp, [m@h]}]}`, "34: duplicate app myapp in distributed, first at a.config:2:18"},
		{"B-11", `{distributed, [{myapp, -1, [n@h]}]}`, "25: Timeout must not be negative, found -1"},
		// a timeout is greater than 0, or infinity; lists are lists.
		{"A-10", `{sync_nodes_timeout, 0}`, "23: sync_nodes_timeout must be greater than 0"},
		{"A-10", `{sync_nodes_timeout, -5}`, "23: sync_nodes_timeout must not be negative, found -5"},
		{"A-10", `{sync_nodes_timeout, never}`, "23: expected milliseconds or infinity for sync_nodes_timeout, found never"},
		{"A-10", `{sync_nodes_timeout, 1.0}`, "23: expected milliseconds or infinity for sync_nodes_timeout, found the number 1.0"},
		{"A-10", `{sync_nodes_mandatory, n@h}`, "25: expected a list of nodes for sync_nodes_mandatory, found n@h"},
		{"A-10", `{sync_nodes_optional, {n@h, m@h}}`, "24: expected a list of nodes for sync_nodes_optional, found a tuple"},
		{"A-10", `{sync_nodes_mandatory, [n@h, m]}`, `31: invalid node name "m": no host part, expected name@host`},
		// a permission is true or false.
		{"A-49", `{permissions, [{myapp, yes}]}`, "25: expected true or false for the permission, found yes"},
		{"A-49", `{permissions, [{myapp, 1}]}`, "25: expected true or false for the permission, found the number 1"},
		{"A-49", `{permissions, myapp}`, "16: expected {Key, Value} pairs for permissions, found myapp"},
		//
		{"A-74", `{net_ticktime, 0}`, "17: net_ticktime must be greater than 0"},
		{"A-74", `{net_ticktime, slow}`, "17: expected an integer number of seconds for net_ticktime, found slow"},
	} {
		_, err := Load(files{"a.config": "[{kernel, [\n " + tt.kernel + "]}]."}.read, "a.config")
		if err == nil || err.Error() != "a.config:2:"+tt.want {
			t.Errorf("%s: %s: %v, want %q", tt.rule, tt.kernel, err, tt.want)
		}
	}
}

// A-8, B-13: lists without a timeout have no effect, and a warning says so.
func TestB13ListsWithoutTimeout(t *testing.T) {
	c := mustLoad(t, files{"a.config": "[{kernel, [{sync_nodes_mandatory, [n@h]}]}]."}, "a.config")
	if c.Sync.Defined || len(c.Warnings) != 1 || c.Warnings[0].Line != 1 || c.Warnings[0].Hint == "" {
		t.Errorf("%+v, warnings %v", c.Sync, c.Warnings)
	}
}

// a node without the entry is told apart from one with it, so that it does
// not take the app for a local one; B-10 says what differs.
func TestA3EntryMissing(t *testing.T) {
	with := mustLoad(t, files{"a.config": "[{kernel, [{distributed, [{myapp, [n@h]}]}]}]."}, "a.config")
	without := mustLoad(t, files{"a.config": "[{kernel, [{distributed, []}]}]."}, "a.config")
	if with.Digest("c", nil) == without.Digest("c", nil) {
		t.Error("their digests are the same")
	}
	if d := CompareSpecs(with.Specs, without.Specs); len(d) != 1 || d[0].String() != "myapp: list differs: [n@h] and not distributed" {
		t.Errorf("they differ in %v", d)
	}
}

// the order of the list counts and the sets do, the order within a tuple does
// not. Unlike in OTP the Timeout does (B-10).
func TestA6WhatDiffers(t *testing.T) {
	load := func(entry string) *Config {
		return mustLoad(t, files{"a.config": "[{kernel, [{distributed, [" + entry + "]}]}]."}, "a.config")
	}
	base := load("{myapp, 5000, [a@h, {b@h, c@h}]}")
	for entry, want := range map[string]string{
		"{myapp, 5000, [a@h, {c@h, b@h}]}": "",
		"{myapp, 5000, [{b@h, c@h}, a@h]}": "equals",
		"{myapp, 5000, [b@h, {a@h, c@h}]}": "order",
		"{myapp, 5000, [a@h, b@h, c@h]}":   "equals",
		"{myapp, 5000, [a@h, b@h]}":        "list",
		"{myapp, 6000, [a@h, {b@h, c@h}]}": "timeout",
	} {
		other := load(entry)
		var what string
		if d := CompareSpecs(base.Specs, other.Specs); len(d) > 0 {
			what = d[0].What
		}
		if same := base.Digest("c", nil) == other.Digest("c", nil); what != want || same != (want == "") {
			t.Errorf("%s: differs in %q (the same digest: %t), want %q", entry, what, same, want)
		}
	}
}

// a permission counts for local apps too. One for an app that nothing here
// describes is told.
func TestA50PermissionsOfLocalApps(t *testing.T) {
	c := mustLoad(t, files{"a.yaml": "permissions: {tool: false, nobodys: false}\napps: {tool: {command: [x]}}"}, "a.yaml")
	if len(c.Permissions) != 2 || len(c.Warnings) != 1 || c.Warnings[0].Error() != "a.yaml:1:28: the permission has no effect unless a program registers or loads nobodys" {
		t.Errorf("%v, warnings %v", c.Permissions, c.Warnings)
	}
}

// A-5, B-20: an app that becomes distributed at run time has of the rest what its
// definition says; one without a definition is a Go program's.
func TestA5Distribute(t *testing.T) {
	c := mustLoad(t, files{
		"a.config": `[{regent, [{apps, [{erl, []}, {phased, [{start_phases, [init]}, {takeover, overlap}]}]}]}].`,
		"b.yaml":   "apps: {yaml: {takeover: never}}",
	}, "a.config", "b.yaml")
	groups := [][]node.Name{{"n@h"}}
	for app, want := range map[policy.App]string{
		"erl":     "{erl,5s,[n@h],exclusive,full=false,phases=[]}",
		"phased":  "{phased,5s,[n@h],overlap,full=true,phases=[{init,}]}",
		"yaml":    "{yaml,5s,[n@h],never,full=true,phases=[]}",
		"nobodys": "{nobodys,5s,[n@h],exclusive,full=true,phases=[]}",
	} {
		s := c.Distribute(app, policy.Timeout(5*time.Second), groups)
		if got := s.Canonical(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
