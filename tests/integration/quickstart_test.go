//go:build linux

package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
)

// page is a documentation page as blocks of code in their sections.
type page struct {
	t      *testing.T
	blocks map[string][]string // by heading
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := page{t: t, blocks: map[string][]string{}}
	heading, block, inside := "", "", false
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "```") && inside:
			p.blocks[heading] = append(p.blocks[heading], block)
			block, inside = "", false
		case strings.HasPrefix(line, "```"):
			inside = true
		case inside:
			block += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return p
}

// commands are the arguments of the lines of a section that run regent. What
// stands behind wide space is a remark.
func (p page) commands(heading string) (out [][]string) {
	p.t.Helper()
	for _, block := range p.blocks[heading] {
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "  ")
			if words := shellWords(line); len(words) > 1 && words[0] == "regent" {
				out = append(out, words[1:])
			}
		}
	}
	if len(out) == 0 {
		p.t.Fatalf("no command under %q", heading)
	}
	return out
}

// TestQuickstart does what docs/quickstart.md says on one machine, with its
// own configuration and commands, on free ports.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	doc := readPage(t, "../../docs/quickstart.md")
	h := newHost(t)
	setup := "Three nodes on one machine"
	ports := port.Free(t, 6)
	h.write("cluster.yaml", doc.blocks[setup][0]+fmt.Sprintf(
		"\naddresses:\n  node1@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n  node2@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n  node3@lxw: {client: \"127.0.0.1:%d\", cluster: \"127.0.0.1:%d\"}\n",
		ports[0], ports[1], ports[2], ports[3], ports[4], ports[5]))
	if err := os.Remove(h.file("cookie")); err != nil { // the page makes one
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", ports[2])
	runsOn := func(node, kind string) {
		t.Helper()
		h.until("runs on "+node+" as "+kind, at, func(d manager.ClusterStatus) bool {
			a := d.Apps[0]
			return a.State == machine.AppRunning && (node == "" && a.Node != "node1@lxw" || string(a.Node) == node) && string(a.StartType) == kind
		})
	}
	nodes := map[string]*process{}
	boot := func(args []string) { nodes[args[2]] = h.begin(args...) }
	var first []string
	for _, args := range doc.commands(setup) {
		if args[0] == "node" {
			boot(args)
			if first == nil {
				first = args
			}
			continue
		}
		if r := h.run(args...); r.code != 0 {
			t.Fatalf("regent %v: %d\n%s", args, r.code, r.errOut)
		}
	}
	runsOn("node1@lxw", "normal")
	nodes["node1@lxw"].kill() // the page's pkill -9
	runsOn("", "failover")
	boot(first)
	runsOn("node1@lxw", "takeover")
	for _, args := range doc.commands("Give orders") {
		if r := h.run(args...); r.code != 0 {
			t.Errorf("regent %v: %d\n%s", args, r.code, r.errOut)
		}
	}
	runsOn("node1@lxw", "normal")
	for name, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%s ended with %d", name, code)
		}
	}
}
