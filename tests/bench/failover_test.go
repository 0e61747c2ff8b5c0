//go:build linux

package bench

import (
	"flag"
	"testing"
	"time"
)

var (
	failovers = flag.Int("failovers", 0, "measure so many failovers of each kind")
	write     = flag.Bool("write", false, "write the tables into docs/benchmarks.md")
)

// TestFailover measures; what it prints is the result.
func TestFailover(t *testing.T) {
	if *failovers <= 0 {
		t.Skip("SKIPPED: measures for minutes: make bench")
	}
	b := newLab(t)
	tab := &table{name: "failover", head: []string{"what", "n", "min", "median", "max"}}
	add := func(what string, times []time.Duration) {
		r := summary(what, times)
		t.Log(r)
		tab.rows = append(tab.rows, r.cells())
	}
	spawns := b.spawns(3 * *failovers)
	add("floor: start of a process", spawns)
	for _, k := range []struct {
		name string
		kind kind
	}{{"Go app", goApp}, {"process", processApp}} {
		c := b.regent(k.kind)
		if k.kind == goApp {
			add("floor: one compare-and-set, three servers", c.writes(50))
		}
		add("regent, "+k.name, c.measure(*failovers, false))
		add("regent, "+k.name+", the owner's server led the store", c.measure((*failovers+1)/2, true))
		c.end()
		if e := b.erlang(k.kind); e != nil {
			add("Erlang/OTP, "+k.name, e.measure(*failovers))
			e.end()
		}
	}
	if *write {
		tab.write(t)
	}
}

// kind of app.
type kind int

const (
	goApp kind = iota
	processApp
)
