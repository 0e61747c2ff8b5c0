//go:build linux

package chaos

import (
	"slices"
	"testing"
	"time"
)

// TestChaos runs the rows; what it prints is the result.
func TestChaos(t *testing.T) {
	if *suite == "" && *only == "" {
		t.Skip("SKIPPED: breaks clusters for minutes, as root: make chaos, make chaos-short")
	}
	need(t)
	var results []result
	rows := slices.Concat(hostRows(), processRows(), networkRows(), storeRows(), talkRows())
	for i := range rows {
		rw := &rows[i]
		if *only != "" && *only != rw.name || *suite == "short" && !rw.short {
			continue
		}
		t.Run(rw.name, func(t *testing.T) {
			begun := time.Now()
			r := newRun(t, rw)
			rw.do(r)
			res := r.judge()
			t.Logf("%s (%v)", &res, time.Since(begun).Round(time.Second))
			results = append(results, res)
			r.close()
		})
	}
	if *write && !t.Failed() {
		replace(t, "rows", table(results))
	}
}
