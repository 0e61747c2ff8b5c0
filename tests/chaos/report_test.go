//go:build linux

package chaos

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// result is one line of the table.
type result struct {
	row      *row
	starts   int
	overlaps int
	orphan   time.Duration // the longest that a child was alive after its leader
	hits     []hit
	rests    []time.Duration
	ops      [3]int        // compare-and-sets by outcome
	lag      time.Duration // the longest that the machine stood still
	notes    []string
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func median[T cmp.Ordered](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// columns of the table, in its order.
func (r *result) columns() []string {
	start, nobody, rest := "-", "-", "-"
	if len(r.hits) > 0 {
		var starts, gaps []time.Duration
		for _, h := range r.hits {
			starts, gaps = append(starts, h.start), append(gaps, h.nobody)
		}
		start, nobody = seconds(median(starts)), seconds(slices.Min(gaps))
		if len(r.hits) > 1 {
			start = fmt.Sprintf("%s (%d: %s to %s)", start, len(starts), seconds(slices.Min(starts)), seconds(slices.Max(starts)))
		}
	}
	if len(r.rests) > 0 {
		rest = seconds(slices.Max(r.rests))
	}
	ops := "-"
	if n := r.ops[0] + r.ops[1] + r.ops[2]; n > 0 {
		ops = fmt.Sprintf("%d (%d, %d)", n, r.ops[1], r.ops[2])
	}
	return []string{r.row.what, fmt.Sprint(r.overlaps), start, nobody, rest, ops, fmt.Sprint(r.starts)}
}

var headings = []string{"fault", "overlaps", "new start after, s", "nobody before it, s", "at rest after, s", "compare-and-sets (refused, unknown)", "starts"}

func (r *result) String() string {
	c := r.columns()
	if r.orphan > 0 {
		r.notes = append(r.notes, fmt.Sprintf("a child outlived its leader by %v", r.orphan))
	}
	if r.lag > lease.Request/2 {
		r.notes = append(r.notes, fmt.Sprintf("the machine stood still for %v", r.lag.Round(time.Millisecond)))
	}
	return fmt.Sprintf("%-18s overlaps %s, new start after %s, nobody before it %s, at rest %s, ops %s, starts %d %s",
		r.row.name, c[1], c[2], c[3], c[4], c[5], r.starts, strings.Join(r.notes, "; "))
}

// table is all results in Markdown.
func table(results []result) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(headings)
	line(slices.Repeat([]string{"---"}, len(headings)))
	for _, r := range results {
		line(r.columns())
	}
	return b.String()
}

// replace puts text between two marks of docs/reliability.md.
func replace(t *testing.T, mark, text string) {
	t.Helper()
	const path = "../../docs/reliability.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- measured: " + mark + " -->\n"
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, "<!-- end -->\n")
	if !ok || !ok2 {
		t.Fatalf("%s has no place for %s", path, mark)
	}
	if err := os.WriteFile(path, []byte(before+begin+text+"<!-- end -->\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
