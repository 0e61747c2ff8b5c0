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

// row is what some measurements gave.
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

// figures are the same in the one cell of a table.
func (r row) figures() string {
	return fmt.Sprintf("%s ms (median of %d; %s to %s)", ms(r.median), r.n, ms(r.least), ms(r.max))
}

func (r row) cells() []string {
	return []string{r.what, fmt.Sprint(r.n), ms(r.least), ms(r.median), ms(r.max)}
}

// table is one of docs/benchmarks.md, where it stands between two comments.
type table struct {
	name string
	head []string
	rows [][]string
}

func (tab *table) String() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(tab.head)
	b.WriteString(strings.Repeat("|---", len(tab.head)) + "|\n")
	for _, cells := range tab.rows {
		line(cells)
	}
	return b.String()
}

// write puts it in the place of the one before.
func (tab *table) write(t *testing.T) {
	t.Helper()
	const path = "../../docs/benchmarks.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- measured: "+tab.name+" -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/benchmarks.md has no place for the table %q", tab.name)
	}
	if err := os.WriteFile(path, []byte(before+begin+tab.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
