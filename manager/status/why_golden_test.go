package status_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// situation is one of the numbered situations of the machine's golden
// scenarios: what the nodes said about one app.
type situation struct {
	number int
	title  string
	lines  []string
}

// situations reads what the machines of ../machine/testdata/why say.
func situations(t *testing.T) (all []situation) {
	t.Helper()
	files, err := filepath.Glob("../machine/testdata/why/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	title := regexp.MustCompile(`^# (\d+): (.*)$`)
	said := regexp.MustCompile(`^ *\d+\.\d{3}  ([n0-9,]+: .*)$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		open := false
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if m := title.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				all = append(all, situation{number: n, title: m[2]})
				open = true
			} else if m := said.FindStringSubmatch(line); m != nil && open {
				all[len(all)-1].lines = append(all[len(all)-1].lines, m[1])
			}
		}
	}
	slices.SortFunc(all, func(a, b situation) int { return a.number - b.number })
	return all
}

// document is what a node would show for a line: "n1,n2: APP CAUSE: NODE
// STANDING (ERROR) …".
func document(line string) status.Document {
	_, rest, _ := strings.Cut(line, ": ")
	head, candidates, _ := strings.Cut(rest, ":")
	name, cause, _ := strings.Cut(head, " ")
	a := status.App{Name: policy.App(name), State: machine.AppStopped, Cause: machine.Cause(cause)}
	for _, m := range regexp.MustCompile(`(n\d) (\w+)(?: \(([^)]*)\))?`).FindAllStringSubmatch(candidates, -1) {
		c := status.Candidate{Node: node.Name(m[1] + "@h"), Standing: machine.Standing(m[2]), Error: m[3]}
		if c.Standing == machine.StandingWeight {
			c.Weight, _ = strconv.Atoi(c.Error)
			c.Error = ""
		}
		if c.Standing == machine.StandingRuns {
			a.Node, a.State, a.Epoch, a.StartType = c.Node, machine.AppRunning, 1, policy.StartNormal
		}
		a.Candidates = append(a.Candidates, c)
	}
	return status.Document{Apps: []status.App{a}}
}

// What "regent why" says in each situation that the machine can tell apart:
// which rule put the app where it is, and why each other node does not have it.
func TestWhyInWords(t *testing.T) {
	all := situations(t)
	if len(all) < 20 {
		t.Errorf("only %d situations", len(all))
	}
	var b strings.Builder
	for i, s := range all {
		if s.number != i+1 {
			t.Errorf("situation %d comes after %d", s.number, i)
		}
		fmt.Fprintf(&b, "%d: %s\n", s.number, s.title)
		for _, line := range s.lines {
			d := document(line)
			w := d.Explain(&d.Apps[0])
			fmt.Fprintf(&b, "  %s\n    %s: %s\n", line, w.App, w.Rule)
			for _, c := range w.Candidates {
				fmt.Fprintf(&b, "    %s %s\n", c.Node.Base(), c.Text)
			}
		}
		if len(s.lines) == 0 {
			t.Errorf("situation %d is not explained", s.number)
		}
	}
	compareGolden(t, filepath.Join("testdata", "why.txt"), []byte(b.String()))
}
