package config

import (
	"encoding/json"
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

// The printers share one picture of a Config: a tree of sections in the shape
// of the Erlang file. Everything with a default is printed, so that a reader
// sees it, and so that both syntaxes, whose defaults differ, read the same.

// Erlang prints c as one .config file without includes. Load of it gives an
// equal Config, except for warnings.
func (c *Config) Erlang() string {
	sections := c.envSections()
	kernel := append(c.kernelTerms(), sections["kernel"]...)
	top := []erlterm.Term{section("kernel", kernel), section("regent", c.regentTerms())}
	for _, s := range c.Env {
		if s.App != "kernel" {
			top = append(top, section(s.App, sections[s.App]))
		}
	}
	return erlterm.NewList(top...).Pretty() + ".\n"
}

// Canonical is equal for two configurations exactly when they say the same,
// in whatever syntax and files.
func (c *Config) Canonical() string { return c.Erlang() }

func section(name string, values []erlterm.Term) erlterm.Term {
	return erlterm.NewTuple(erlterm.NewAtom(name), erlterm.NewList(values...))
}

func keyed(key string, v erlterm.Term) erlterm.Term {
	return erlterm.NewTuple(erlterm.NewAtom(key), v)
}

func (c *Config) kernelTerms() []erlterm.Term {
	var specs, permissions []erlterm.Term
	for i := range c.Specs {
		specs = append(specs, specTerm(&c.Specs[i]))
	}
	for _, p := range c.Permissions {
		permissions = append(permissions, keyed(string(p.App), erlterm.NewAtom(strconv.FormatBool(p.Permitted))))
	}
	terms := []erlterm.Term{
		keyed("distributed", erlterm.NewList(specs...)),
		keyed("sync_nodes_mandatory", nodeTerms(c.Sync.Mandatory)),
		keyed("sync_nodes_optional", nodeTerms(c.Sync.Optional)),
	}
	if c.Sync.Defined {
		terms = append(terms, keyed("sync_nodes_timeout", timeoutTerm(c.Sync.Timeout)))
	}
	terms = append(terms, keyed("permissions", erlterm.NewList(permissions...)))
	if c.NetTicktime > 0 {
		terms = append(terms, keyed("net_ticktime", intTerm(c.NetTicktime/time.Second)))
	}
	return terms
}

func specTerm(s *policy.Spec) erlterm.Term {
	var groups []erlterm.Term
	for _, g := range s.Groups {
		names := nodeTerms(g)
		if len(g) == 1 {
			groups = append(groups, names.Elems[0])
			continue
		}
		groups = append(groups, erlterm.NewTuple(names.Elems...))
	}
	return erlterm.NewTuple(erlterm.NewAtom(string(s.App)), timeoutTerm(s.Timeout), erlterm.NewList(groups...))
}

func nodeTerms(names []node.Name) erlterm.Term {
	var terms []erlterm.Term
	for _, n := range names {
		terms = append(terms, erlterm.NewAtom(string(n)))
	}
	return erlterm.NewList(terms...)
}

func timeoutTerm(t policy.Timeout) erlterm.Term {
	if t == policy.Infinite {
		return erlterm.NewAtom("infinity")
	}
	return msTerm(time.Duration(t))
}

func msTerm(d time.Duration) erlterm.Term { return intTerm(d.Milliseconds()) }

func intTerm[T ~int | ~int64](n T) erlterm.Term {
	return erlterm.NewInteger(strconv.FormatInt(int64(n), 10))
}

func (c *Config) regentTerms() []erlterm.Term {
	terms := []erlterm.Term{
		keyed("hosts", pairTerms(c.Hosts, func(h Host) (string, string) { return h.Name, h.Addr })),
		keyed("ports", erlterm.NewList(keyed("client", intTerm(c.Ports.Client)), keyed("cluster", intTerm(c.Ports.Cluster)))),
	}
	var addresses []erlterm.Term
	for _, a := range c.Addresses {
		addresses = append(addresses, keyed(string(a.Node), addressTerm(a)))
	}
	terms = append(terms, keyed("addresses", erlterm.NewList(addresses...)))
	if c.Lease > 0 {
		terms = append(terms, keyed("lease", msTerm(c.Lease)))
	}
	if c.KVOutage > 0 {
		terms = append(terms, keyed("kv_outage", msTerm(c.KVOutage)))
	}
	terms = append(terms, keyed("servers", nodeTerms(c.Servers)))
	if c.Arbiter != "" {
		terms = append(terms, keyed("arbiter", erlterm.NewAtom(string(c.Arbiter))))
	}
	var apps []erlterm.Term
	for _, a := range c.Apps {
		apps = append(apps, keyed(string(a.Name), c.appTerm(a)))
	}
	return append(terms, keyed("apps", erlterm.NewList(apps...)))
}

func pairTerms[T any](list []T, pair func(T) (string, string)) erlterm.Term {
	var terms []erlterm.Term
	for _, e := range list {
		key, val := pair(e)
		terms = append(terms, erlterm.NewTuple(erlterm.NewString(key), erlterm.NewString(val)))
	}
	return erlterm.NewList(terms...)
}

func addressTerm(a Address) erlterm.Term {
	var terms []erlterm.Term
	if a.Client != "" {
		terms = append(terms, keyed("client", erlterm.NewString(a.Client)))
	}
	if a.Cluster != "" {
		terms = append(terms, keyed("cluster", erlterm.NewString(a.Cluster)))
	}
	return erlterm.NewList(terms...)
}

func (c *Config) appTerm(a App) erlterm.Term {
	var terms []erlterm.Term
	if len(a.Command) > 0 {
		var args []erlterm.Term
		for _, arg := range a.Command {
			args = append(args, erlterm.NewString(arg))
		}
		terms = append(terms, keyed("command", erlterm.NewList(args...)))
	}
	if len(a.Env) > 0 {
		terms = append(terms, keyed("env", pairTerms(a.Env, func(v Variable) (string, string) { return v.Name, v.Value })))
	}
	if a.Dir != "" {
		terms = append(terms, keyed("dir", erlterm.NewString(a.Dir)))
	}
	if a.Args != "" {
		terms = append(terms, keyed("args", jsonTerm(a.Args)))
	}
	terms = append(terms,
		keyed("type", erlterm.NewAtom(string(a.Type))),
		keyed("stop", erlterm.NewList(
			keyed("signal", erlterm.NewAtom(a.Stop.Signal)), keyed("timeout", msTerm(a.Stop.Timeout)))),
		keyed("restart", erlterm.NewList(
			keyed("max", intTerm(a.Restart.Max)), keyed("within", msTerm(a.Restart.Within)), keyed("backoff", msTerm(a.Restart.Backoff)))),
	)
	if a.StartPhases != nil {
		terms = append(terms, keyed("start_phases", phaseTerms(a.StartPhases)))
	}
	if len(a.Included) > 0 {
		var parts []erlterm.Term
		for _, part := range a.Included {
			parts = append(parts, erlterm.NewAtom(string(part)))
		}
		terms = append(terms, keyed("included_applications", erlterm.NewList(parts...)))
	}
	terms = append(terms,
		keyed("takeover", erlterm.NewAtom(string(a.Takeover))),
		keyed("start_type", erlterm.NewAtom(startTypeText(a.FullStart))))
	return erlterm.NewList(terms...)
}

func phaseTerms(phases []policy.Phase) erlterm.Term {
	var terms []erlterm.Term
	for _, p := range phases {
		t := erlterm.NewString(p.Name)
		if p.Args != "" {
			t = erlterm.NewTuple(t, jsonTerm(p.Args))
		}
		terms = append(terms, t)
	}
	return erlterm.NewList(terms...)
}

// envSections is the terms of each section.
func (c *Config) envSections() map[string][]erlterm.Term {
	sections := map[string][]erlterm.Term{}
	for _, s := range c.Env {
		for _, v := range s.Values {
			key := erlterm.NewAtom(v.Key)
			if utf8.RuneCountInString(v.Key) > atomMax {
				key = erlterm.NewString(v.Key)
			}
			sections[s.App] = append(sections[s.App], erlterm.NewTuple(key, jsonTerm(v.JSON)))
		}
	}
	return sections
}

// jsonTerm is a term that is the given JSON again when it is read.
func jsonTerm(text string) erlterm.Term {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		panic(fmt.Sprintf("decode own JSON %q: %v", text, err))
	}
	return anyTerm(v)
}

func anyTerm(v any) erlterm.Term {
	switch v := v.(type) {
	case bool:
		return erlterm.NewAtom(strconv.FormatBool(v))
	case json.Number:
		if strings.ContainsRune(string(v), '.') {
			return erlterm.Term{Kind: erlterm.Float, Text: string(v)}
		}
		return erlterm.NewInteger(string(v))
	case string:
		return erlterm.NewString(v)
	case []any:
		return arrayTerm(v)
	case map[string]any:
		return objectTerm(v)
	}
	return erlterm.NewAtom("null")
}

// arrayTerm is a list, or a tuple where a list would be read as a string.
func arrayTerm(array []any) erlterm.Term {
	t := erlterm.NewList()
	for _, e := range array {
		t.Elems = append(t.Elems, anyTerm(e))
	}
	if len(t.Elems) > 0 && !slices.ContainsFunc(t.Elems, func(e erlterm.Term) bool { return e.Kind != erlterm.Integer }) {
		t.Kind = erlterm.Tuple
	}
	return t
}

func objectTerm(object map[string]any) erlterm.Term {
	t := erlterm.Term{Kind: erlterm.Map}
	for _, key := range sortedKeys(object) {
		t.Elems = append(t.Elems, erlterm.NewString(key), anyTerm(object[key]))
	}
	return t
}
