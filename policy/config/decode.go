package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// decoder turns values into typed settings and collects what is wrong with
// them. Its methods return ok false after they reported why.
type decoder struct {
	errors   []Diagnostic
	warnings []Diagnostic
}

func (d *decoder) add(diag Diagnostic) {
	diag.Message = oneLine(diag.Message)
	d.errors = append(d.errors, diag)
}

func (d *decoder) errorf(at Position, hint, format string, args ...any) {
	d.add(Diagnostic{Position: at, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (d *decoder) warnf(at Position, hint, format string, args ...any) {
	d.warnings = append(d.warnings, Diagnostic{Position: at, Message: oneLine(fmt.Sprintf(format, args...)), Hint: hint})
}

// fail adds an error that may be a Diagnostic.
func (d *decoder) fail(err error) {
	if diag, ok := err.(Diagnostic); ok {
		d.add(diag)
		return
	}
	d.add(Diagnostic{Message: err.Error(), cause: err})
}

// sorted is diagnostics in the order of each file; the files stay in theirs.
func sorted(list []Diagnostic) []Diagnostic {
	order := map[string]int{}
	for _, e := range list {
		if _, seen := order[e.File]; !seen {
			order[e.File] = len(order)
		}
	}
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		if a.File != b.File {
			return order[a.File] - order[b.File]
		}
		return a.compare(b.Position)
	})
	return list
}

// field is one key of a section or mapping, what reads its value, and what the
// reference says about it; read is nil for a key that only a later version has.
type field struct {
	name string
	read func(value)
	doc  doc
}

// object reads a mapping with known keys.
func (d *decoder) object(v value, what string, fields ...field) {
	for _, p := range d.pairs(v, what) {
		name, ok := p.key.str()
		if !ok {
			d.errorf(p.key.at, "", "expected a key of %s, found %v", what, p.key)
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			d.errorf(p.key.at, d.suggest(name, fields), "unknown key %s in %s", clip(name), what)
		case fields[i].read == nil:
			d.errorf(p.key.at, "", "%s is not supported by this version", name)
		default:
			fields[i].read(p.val)
		}
	}
}

// pairs reads a mapping and refuses repeated keys.
func (d *decoder) pairs(v value, what string) []pair {
	if v.kind == kindNull && v.syntax == yaml {
		return nil // a key with nothing after the colon
	}
	pairs, bad, ok := v.entries()
	if !ok {
		d.errorf(bad.at, "", "expected %s, found %v", pairsOf(v, what), bad)
		return nil
	}
	seen := map[string]Position{}
	var out []pair
	for _, p := range pairs {
		key := p.key.jsonKey()
		if first, again := seen[key]; again {
			d.errorf(p.key.at, "", "duplicate key %s in %s, first at %v", clip(key), what, first)
			continue
		}
		seen[key] = p.key.at
		out = append(out, p)
	}
	return out
}

func pairsOf(v value, what string) string {
	if v.syntax == erlang {
		return "{Key, Value} pairs for " + what
	}
	return "a mapping for " + what
}

// suggest names the known key that is closest, or where the key belongs.
func (d *decoder) suggest(name string, fields []field) string {
	if hint, ok := elsewhere(name); ok {
		return hint
	}
	best, distance := "", max(2, len(name)/4)+1
	for _, f := range fields {
		if f.read == nil {
			continue
		}
		if n := edits(name, f.name); n < distance {
			best, distance = f.name, n
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	var known []string
	for _, f := range fields {
		if f.read != nil {
			known = append(known, f.name)
		}
	}
	return "known keys: " + strings.Join(known, ", ")
}

// elsewhere knows keys that people put into the wrong place.
func elsewhere(name string) (hint string, ok bool) {
	switch name {
	case "sync_nodes_mandatory", "sync_nodes_optional", "sync_nodes_timeout":
		return fmt.Sprintf("in Erlang it belongs to the kernel section, in YAML it is sync: {%s: ...}", strings.TrimPrefix(name, "sync_nodes_")), true
	case "distributed", "permissions", "net_ticktime":
		return "in Erlang it belongs to the kernel section, in YAML to the top", true
	case "kernel", "regent":
		return "in YAML the keys of this section stand at the top", true
	}
	return "", false
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// text reads a string that may not be empty.
func (d *decoder) text(v value, what string) (string, bool) {
	s, ok := d.anyText(v, what)
	if ok && s == "" {
		d.errorf(v.at, "", "expected %s, found an empty string", what)
		return "", false
	}
	return s, ok
}

// anyText reads a string. A number is taken as it is written; true and null
// are too easily meant as something else.
func (d *decoder) anyText(v value, what string) (string, bool) {
	s, ok := v.str()
	if !ok && v.raw != "" {
		s, ok = v.raw, true
	}
	switch {
	case !ok && v.kind == kindBool:
		d.errorf(v.at, "put it in quotes", "expected %s, found %v", what, v)
	case !ok:
		d.errorf(v.at, "", "expected %s, found %v", what, v)
	case strings.ContainsRune(s, 0):
		d.errorf(v.at, "", "%s contains a zero byte", what)
		return "", false
	}
	return s, ok
}

// list reads a list.
func (d *decoder) list(v value, what string) ([]value, bool) {
	items, ok := v.list()
	if !ok {
		d.errorf(v.at, "", "expected %s, found %v", what, v)
	}
	return items, ok
}

func (d *decoder) node(v value) (located[node.Name], bool) {
	s, ok := d.text(v, "a node name")
	if !ok {
		return located[node.Name]{}, false
	}
	n, err := node.Parse(s)
	if err != nil {
		d.errorf(v.at, "", "%v", err)
		return located[node.Name]{}, false
	}
	return located[node.Name]{n, v.at}, true
}

// nodes reads a list of nodes without repetition.
func (d *decoder) nodes(v value, what string) []located[node.Name] {
	items, ok := d.list(v, "a list of nodes for "+what)
	if !ok {
		return nil
	}
	var names []located[node.Name]
	for _, item := range items {
		if n, ok := d.node(item); ok && d.unrepeated(names, n, what) {
			names = append(names, n)
		}
	}
	return names
}

func (d *decoder) unrepeated(names []located[node.Name], n located[node.Name], what string) bool {
	i := slices.IndexFunc(names, func(m located[node.Name]) bool { return m.value == n.value })
	if i >= 0 {
		d.errorf(n.at, "", "node %s is repeated in %s, first at %v", n.value, what, names[i].at)
	}
	return i < 0
}

func (d *decoder) app(v value) (policy.App, bool) {
	s, ok := d.text(v, "an app name")
	if !ok {
		return "", false
	}
	app, err := policy.ParseApp(s)
	if err != nil {
		d.errorf(v.at, "", "%v", err)
		return "", false
	}
	return app, true
}

func (d *decoder) bool(v value, what string) (b, ok bool) {
	if b, ok = v.boolean(); !ok {
		d.errorf(v.at, "", "expected true or false for %s, found %v", what, v)
	}
	return b, ok
}

// integer reads an integer between low and high.
func (d *decoder) integer(v value, what string, low, high int) (int, bool) {
	n, err := strconv.Atoi(v.text)
	if v.kind != kindInt {
		d.errorf(v.at, "", "expected an integer for %s, found %v", what, v)
		return 0, false
	}
	if err != nil || n < low || n > high {
		d.errorf(v.at, "", "%s must be between %d and %d, found %s", what, low, high, clip(v.text))
		return 0, false
	}
	return n, true
}

// durationMax is what Erlang's timers take: 2^32-1 ms, 49 days.
const durationMax = (1<<32 - 1) * time.Millisecond

// duration reads a duration of at least least, in whole milliseconds: an
// integer number of unit in Erlang, a Go duration in YAML.
func (d *decoder) duration(v value, what string, unit, least time.Duration) (time.Duration, bool) {
	n, ok := d.anyDuration(v, what, unit)
	switch {
	case !ok:
		return 0, false
	case n < 0:
		d.errorf(v.at, "", "%s must not be negative, found %s", what, clip(v.text))
	case n < least && n == 0:
		d.errorf(v.at, "", "%s must be greater than 0", what)
	case n < least:
		d.errorf(v.at, "", "%s must be at least %v, found %v", what, least, n)
	case n > durationMax:
		d.errorf(v.at, "", "%s is too long, at most %v", what, durationMax)
	case n%time.Millisecond != 0:
		d.errorf(v.at, "", "%s must be whole milliseconds, found %v", what, n)
	default:
		return n, true
	}
	return 0, false
}

func (d *decoder) anyDuration(v value, what string, unit time.Duration) (time.Duration, bool) {
	if v.syntax == erlang {
		return d.erlangDuration(v, what, unit)
	}
	if v.kind == kindInt && v.text == "0" {
		return 0, true
	}
	if v.kind == kindInt || v.kind == kindFloat {
		hint := fmt.Sprintf("write %sms or %ss", v.text, v.text)
		if unit == time.Second {
			hint = fmt.Sprintf("write %ss", v.text)
		}
		d.errorf(v.at, hint, "%s has no unit", what)
		return 0, false
	}
	n, err := time.ParseDuration(v.text)
	if v.kind != kindText || err != nil {
		d.errorf(v.at, "", "expected a duration like 5s or 200ms for %s, found %v", what, v)
		return 0, false
	}
	return n, true
}

func (d *decoder) erlangDuration(v value, what string, unit time.Duration) (time.Duration, bool) {
	if v.kind != kindInt {
		units := "milliseconds"
		if unit == time.Second {
			units = "seconds"
		}
		d.errorf(v.at, "", "expected an integer number of %s for %s, found %v", units, what, v)
		return 0, false
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	switch {
	case err != nil && strings.HasPrefix(v.text, "-"):
		return -1, true
	case err != nil || n > int64(durationMax/unit):
		return durationMax + 1, true
	}
	return time.Duration(n) * unit, true
}

// timeout reads a duration or infinity.
func (d *decoder) timeout(v value, what string, least time.Duration) (policy.Timeout, bool) {
	if s, ok := v.str(); ok && s == "infinity" {
		return policy.Infinite, true
	}
	if v.syntax == erlang && v.kind != kindInt {
		d.errorf(v.at, "", "expected milliseconds or infinity for %s, found %v", what, v)
		return 0, false
	}
	n, ok := d.duration(v, what, time.Millisecond, least)
	return policy.Timeout(n), ok
}
