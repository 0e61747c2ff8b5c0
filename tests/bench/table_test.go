//go:build linux

package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is one line of the result.
type row struct {
	what               string
	n                  int
	least, median, max time.Duration
}

func summary(what string, times []time.Duration) row {
	slices.Sort(times)
	if len(times) == 0 {
		return row{what: what}
	}
	return row{what, len(times), times[0], times[len(times)/2], times[len(times)-1]}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func (r row) String() string {
	return fmt.Sprintf("%-60s n %3d   min %7s   median %7s   max %7s ms", r.what, r.n, ms(r.least), ms(r.median), ms(r.max))
}

// The tables stand between lines of docs/benchmarks.md.
const (
	tableBegin = "<!-- measured -->\n"
	tableEnd   = "<!-- end -->\n"
)

func writeTable(t *testing.T, rows []row) {
	t.Helper()
	var b strings.Builder
	b.WriteString("| what | n | min | median | max |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", r.what, r.n, ms(r.least), ms(r.median), ms(r.max))
	}
	replaceBetween(t, tableBegin, b.String())
}

// replaceBetween writes text in place of what stands between begin and the next
// end.
func replaceBetween(t *testing.T, begin, text string) {
	t.Helper()
	const path = "../../docs/benchmarks.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("docs/benchmarks.md has no place for the table behind %q", begin)
	}
	if err := os.WriteFile(path, []byte(before+begin+text+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
