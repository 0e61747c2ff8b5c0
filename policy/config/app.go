package config

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// apps reads the definitions of apps.
func (d *decoder) apps(l *layer, v value) {
	for _, p := range d.pairs(v, "apps") {
		name, ok := d.app(p.key)
		def := definition{name: name, at: p.key.at, syntax: p.key.syntax}
		d.object(p.val, "the app", d.appKeys(&def)...)
		if ok {
			l.apps = append(l.apps, def)
		}
	}
}

func (d *decoder) appKeys(def *definition) []field {
	return []field{
		{"command", func(v value) { d.command(def, v) }, doc{
			value: "list of strings", meaning: "program and arguments; no shell. A Go program may register the app instead"}},
		{"env", func(v value) { d.env(def, v) }, doc{
			value: "`NAME: string` each", meaning: "variables of its environment"}},
		{"dir", func(v value) { set(&def.dir)(d.text(v, "a directory")) }, doc{
			value: "string", otherwise: "the node's", meaning: "working directory"}},
		{"args", func(v value) { def.args = new(string(v.appendJSON(nil))) }, doc{
			value: "anything", meaning: "reaches it as JSON"}},
		{"type", func(v value) { d.restartType(def, v) }, doc{
			value: alternatives(restartTypes), otherwise: code(policy.Temporary),
			meaning: "restart type, when a start names none"}},
		{"takeover", func(v value) { d.takeover(def, v) }, doc{
			value: alternatives(takeoverModes), otherwise: code(policy.Exclusive),
			meaning: "`exclusive`: the old instance stops, then the new one starts; `overlap`: the other way round, as OTP; `never`: only by command"}},
		{"stop", func(v value) { d.object(v, "stop", d.stopKeys(def)...) }, doc{
			inner: func() []field { return d.stopKeys(def) }}},
		{"restart", func(v value) { d.object(v, "restart", d.restartKeys(def)...) }, doc{
			inner: func() []field { return d.restartKeys(def) }}},
		{"start_phases", func(v value) { d.startPhases(def, v) }, doc{
			value: "list of names, or of `{Name, Args}` (YAML: `{name: args}`)", meaning: "start phases, in order"}},
		{"included_applications", func(v value) { d.included(def, v) }, doc{
			value: "list of apps", meaning: "apps defined here that this one brings up as parts of itself; each of its start phases is theirs too, where they have it"}},
		{"start_type", func(v value) { d.startType(def, v) }, doc{
			value: alternatives(startTypes), otherwise: code(startFull) + " in YAML, " + code(startOTP) + " in `.config`",
			meaning: "`full`: a failover is announced as such; `otp`: only to apps with start phases"}},
		{name: "health"},
		{name: "ready"},
		{name: "start_timeout"},
		{name: "after"},
		{name: "on_crash_loop"},
		{name: "failback"},
	}
}

// Words that keys of an app may have as values.
var (
	restartTypes  = []policy.RestartType{policy.Permanent, policy.Transient, policy.Temporary}
	takeoverModes = []policy.TakeoverMode{policy.Exclusive, policy.Overlap, policy.Never}
	startTypes    = []string{startFull, startOTP}
)

// set stores a value that was read without error.
func set[T any](dst **T) func(T, bool) {
	return func(v T, ok bool) {
		if ok {
			*dst = &v
		}
	}
}

func (d *decoder) command(def *definition, v value) {
	items, ok := v.list()
	if !ok {
		hint := ""
		if v.kind == kindText {
			hint = "there is no shell: write each argument by itself, or [\"/bin/sh\", \"-c\", \"...\"]"
		}
		d.errorf(v.at, hint, "expected a list of strings for command, found %v", v)
		return
	}
	if len(items) == 0 {
		d.errorf(v.at, "", "command is empty")
		return
	}
	var args []string
	for i, item := range items {
		read := d.anyText
		if i == 0 {
			read = d.text
		}
		s, ok := read(item, "a string of the command")
		if !ok {
			return
		}
		args = append(args, s)
	}
	def.command = &args
}

func (d *decoder) env(def *definition, v value) {
	for _, p := range d.pairs(v, "env") {
		name, ok := d.text(p.key, "the name of a variable")
		val, ok2 := d.anyText(p.val, "a string for the variable")
		switch {
		case !ok || !ok2:
		case strings.Contains(name, "="):
			d.errorf(p.key.at, "", "invalid name of a variable: %s", quote(name))
		default:
			if strings.HasPrefix(name, "REGENT_") {
				d.warnf(p.key.at, "", "%s may be replaced: names with REGENT_ are set for every app", clip(name))
			}
			def.env = put(def.env, Variable{name, val}, variableOrder)
		}
	}
}

// oneOf reads one of a few words.
func oneOf[T ~string](d *decoder, v value, what string, words ...T) (T, bool) {
	s, ok := v.str()
	if ok && slices.Contains(words, T(s)) {
		return T(s), true
	}
	var names []string
	for _, w := range words {
		names = append(names, string(w))
	}
	last := len(names) - 1
	d.errorf(v.at, "", "expected %s or %s for %s, found %v", strings.Join(names[:last], ", "), names[last], what, v)
	return "", false
}

func (d *decoder) restartType(def *definition, v value) {
	set(&def.restartType)(oneOf(d, v, "type", restartTypes...))
}

func (d *decoder) takeover(def *definition, v value) {
	set(&def.takeover)(oneOf(d, v, "takeover", takeoverModes...))
}

// Values of start_type: full announces every failover as such, otp only that
// of an app with start phases.
const (
	startFull = "full"
	startOTP  = "otp"
)

func (d *decoder) startType(def *definition, v value) {
	if s, ok := oneOf(d, v, "start_type", startTypes...); ok {
		def.full = new(s == startFull)
	}
}

// signals are the names that stop.signal may have.
var signals = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "ABRT", "ALRM", "PIPE", "WINCH", "KILL"}

func (d *decoder) stopKeys(def *definition) []field {
	return []field{
		{"signal", func(v value) {
			if s, ok := v.str(); ok {
				v.text = strings.TrimPrefix(s, "SIG")
			}
			set(&def.stop.signal)(oneOf(d, v, "stop.signal", signals...))
		}, doc{value: alternatives(signals), otherwise: code(defaultStopSignal), meaning: "how it is asked to stop; `SIG` may stand before it"}},
		{"timeout", func(v value) {
			set(&def.stop.timeout)(d.duration(v, "stop.timeout", time.Millisecond, 0))
		}, doc{value: "duration", otherwise: code(DefaultStopTimeout), meaning: "for how long, before it is killed"}},
	}
}

// restartsMax is far more than anybody waits for.
const restartsMax = 1_000_000

func (d *decoder) restartKeys(def *definition) []field {
	return []field{
		{"max", func(v value) {
			set(&def.restart.max)(d.integer(v, "restart.max", 0, restartsMax))
		}, doc{value: "integer", otherwise: code(defaultRestartsYAML) + "; `0` where its `distributed` entry is in a `.config`, as in OTP",
			meaning: "restarts in place before its end counts"}},
		{"within", func(v value) {
			set(&def.restart.within)(d.duration(v, "restart.within", time.Millisecond, time.Millisecond))
		}, doc{value: "duration", otherwise: code(defaultRestartWithin), meaning: "in which time so many"}},
		{"backoff", func(v value) {
			set(&def.restart.backoff)(d.duration(v, "restart.backoff", time.Millisecond, 0))
		}, doc{value: "duration", otherwise: code(defaultRestartBackoff), meaning: "pause before each"}},
	}
}

func (d *decoder) startPhases(def *definition, v value) {
	items, ok := d.list(v, "a list of start phases")
	if !ok {
		return
	}
	phases := []policy.Phase{}
	for _, item := range items {
		p, at, ok := d.phase(item)
		switch {
		case !ok:
			continue
		case slices.ContainsFunc(phases, func(q policy.Phase) bool { return q.Name == p.Name }):
			d.errorf(at, "", "start phase %s is repeated", clip(p.Name))
			continue
		}
		phases = append(phases, p)
	}
	def.phases = &phases
}

// phase reads a name, or a name with arguments: {Name, Args} in Erlang, a
// mapping of one key in YAML.
func (d *decoder) phase(v value) (policy.Phase, Position, bool) {
	name, args := v, ""
	switch {
	case v.kind == kindTuple && len(v.items) == 2:
		name, args = v.items[0], string(v.items[1].appendJSON(nil))
	case v.kind == kindMap && len(v.pairs) == 1:
		name, args = v.pairs[0].key, string(v.pairs[0].val.appendJSON(nil))
	}
	s, ok := d.text(name, "the name of a start phase")
	return policy.Phase{Name: s, Args: args}, name.at, ok
}
