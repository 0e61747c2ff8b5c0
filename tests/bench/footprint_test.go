//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	nodename "github.com/seed7529eb29/regent/policy/node"
)

// idle is how long nodes are left alone to see what that costs.
const idle = 10 * time.Second

// TestFootprint measures what a cluster costs that does nothing, and how long
// an app takes to its first start and from node to node.
func TestFootprint(t *testing.T) {
	if *failovers <= 0 {
		t.Skip("SKIPPED: measures for a minute: make bench")
	}
	b := newLab(t)
	tab := &table{name: "footprint", head: []string{"what", "figure"}}
	add := func(what, figure string) {
		t.Log(what + ": " + figure)
		tab.rows = append(tab.rows, []string{what, figure})
	}
	info, err := os.Stat(b.path("regent"))
	if err != nil {
		t.Fatal(err)
	}
	add("the program `regent`", megabytes(int(info.Size())))
	begin := time.Now()
	c := b.regent(processApp)
	add("launch of three nodes without a store to the first start of the app", ms(c.stamps.after(0).at.Sub(begin))+" ms")
	add("takeover by command, call to the start of the new process (exclusive)", c.takeovers(*failovers).figures())

	nodes, wardens := c.processes()
	kinds := []struct {
		name string
		pids []int
		used time.Duration
	}{{"a node with a voter", nodes, cpuTime(t, nodes)}, {"its warden", wardens, cpuTime(t, wardens)}}
	time.Sleep(idle)
	for _, k := range kinds {
		used := (cpuTime(t, k.pids) - k.used) / time.Duration(len(k.pids))
		add(k.name+", resident memory", megabytes(resident(t, k.pids)))
		add(k.name+", idle", fmt.Sprintf("%.1f %% of a core", 100*used.Seconds()/idle.Seconds()))
	}
	c.end()
	if *write {
		tab.write(t)
	}
}

// takeovers moves the app on, from node to node, by command.
func (c *cluster) takeovers(n int) row {
	c.t.Helper()
	var times []time.Duration
	for i := range n {
		c.calm(false)
		owner, before := c.calm(false), len(c.stamps.all())
		to := c.nodes[(slices.Index(c.nodes, owner)+1+i%2)%len(c.nodes)]
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		begin := time.Now()
		err := c.service().Call(ctx, nodename.Name(to.name), "takeover", map[string]string{"app": "bench"}, nil)
		cancel()
		if err != nil {
			c.t.Fatal(err)
		}
		times = append(times, c.stamps.after(before).at.Sub(begin))
		until(c.t, "everybody knows where the app is", func() bool { return c.ownerIs(to) })
	}
	return summary("takeover", times)
}

// processes are the nodes' and their wardens'.
func (c *cluster) processes() (nodes, wardens []int) {
	c.t.Helper()
	for _, n := range c.nodes {
		nodes = append(nodes, n.cmd.Process.Pid)
	}
	until(c.t, "wardens", func() bool {
		wardens = nil
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			line, _ := os.ReadFile(f)
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err == nil && strings.HasPrefix(string(line), "regent-warden\x00") && slices.Contains(nodes, parent(pid)) {
				wardens = append(wardens, pid)
			}
		}
		return len(wardens) == len(nodes)
	})
	return nodes, wardens
}

// stat is a line of numbers about a process, from its state on: the third field
// of /proc/PID/stat.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.Fields(after)
}

func parent(pid int) int {
	f := stat(pid)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// clockTick is the unit of CPU times in /proc: 1/100 s for all of Linux.
const clockTick = 10 * time.Millisecond

// cpuTime is what the processes have used together.
func cpuTime(t *testing.T, pids []int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		f := stat(pid)
		if len(f) < 13 {
			t.Fatalf("process %d has ended", pid)
		}
		for _, ticks := range f[11:13] {
			n, err := strconv.Atoi(ticks)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}

// resident is the most that one of the processes has in memory, in bytes.
func resident(t *testing.T, pids []int) (most int) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "VmRSS:")
		kb, err := strconv.Atoi(strings.Fields(after)[0])
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, kb<<10)
	}
	return most
}

func megabytes(n int) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
