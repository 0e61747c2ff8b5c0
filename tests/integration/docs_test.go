//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/tests/natscli"
)

// TestTypedCommands does what README.md says under "By hand", and in that
// cluster what nats-cli.md and operations.md show: every line that runs a
// program, in the order of the pages, with what they print where they show it.
func TestTypedCommands(t *testing.T) {
	t.Parallel()
	d := &documented{cli: &cli{host: newHost(t), nats: natscli.Path(t)}}
	d.classic()
	readme := readPage(t, "../../README.md")
	for _, args := range readme.commands("By hand") {
		if args[0] == "erl" {
			d.boot(args)
			continue
		}
		d.until("myapp runs", d.at, runsWhere("node1@lxw", "normal"))
		d.looksLike(args, readme.shown("By hand", strings.Join(args, " ")))
	}
	for _, heading := range []string{"Getting in", "Records", "History", "Heartbeats and changes", "The nodes' service", "The servers"} {
		d.typed(readPage(t, "../../docs/nats-cli.md"), heading)
	}
	d.everyday(readPage(t, "../../docs/operations.md"))
	for name, p := range d.nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%s ended with %d", name, code)
		}
	}
}

// documented is the cluster that the pages are about.
type documented struct {
	*cli
	nodes map[string]*process
	at    string // where clients reach node2
}

// classic lays out examples/classic, with free ports in a file of their own.
func (d *documented) classic() {
	d.t.Helper()
	files, err := filepath.Glob("../../examples/classic/*.config")
	if err != nil || len(files) != 4 {
		d.t.Fatalf("examples/classic has %v (%v)", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			d.t.Fatal(err)
		}
		d.write(filepath.Base(f), string(text))
	}
	p := port.Free(d.t, 6)
	d.at = fmt.Sprintf("127.0.0.1:%d", p[2])
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, `{node%d@lxw, [{client, "127.0.0.1:%d"}, {cluster, "127.0.0.1:%d"}]},`, i+1, p[2*i], p[2*i+1])
	}
	d.write("ports.cfg", "[{regent, [{addresses, ["+strings.TrimSuffix(b.String(), ",")+"]}]}].\n")
	d.env = append(d.env, "REGENT_HOSTS=lxw=127.0.0.1")
	d.nodes = map[string]*process{}
}

// boot runs a line of erl, with the file of ports beside those that it names.
func (d *documented) boot(args []string) {
	d.t.Helper()
	d.nodes[args[2]] = d.begin(slices.Insert(slices.Clone(args), 3, "-config", "ports.cfg")...)
}

func runsWhere(node, kind string) func(manager.ClusterStatus) bool {
	return func(d manager.ClusterStatus) bool {
		return len(d.Apps) > 0 && d.Apps[0].State == machine.AppRunning && (node == "" || string(d.Apps[0].Node) == node) && (kind == "" || string(d.Apps[0].StartType) == kind)
	}
}

// volatile is what differs from run to run, and how wide columns are.
var volatile = regexp.MustCompile(`leader \S+|as seen by \S+|\b\d+(ms|s|m)\b| +`)

func masked(text string) string { return strings.TrimSpace(volatile.ReplaceAllString(text, " ")) }

// looksLike runs a line, which has to print what the page shows but for what is
// volatile.
func (d *documented) looksLike(args []string, want string) {
	d.t.Helper()
	r := d.host.run(args...)
	if r.code != 0 || masked(r.out) != masked(want) {
		d.t.Errorf("regent %v: exit code %d\n%s%s\nthe page shows\n%s", args, r.code, r.out, r.errOut, want)
	}
}

// shown is what a page prints behind a line: up to the next one, or the end of
// the block.
func (p page) shown(heading, command string) string {
	p.t.Helper()
	for _, block := range p.blocks[heading] {
		_, after, found := strings.Cut(block, "$ regent "+command+"\n")
		if found {
			text, _, _ := strings.Cut(after, "\n$ ")
			return text
		}
	}
	p.t.Fatalf("%q is not under %q", command, heading)
	return ""
}

var shellWord = regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)

// shellWords splits a line as a shell does, as far as the pages go.
func shellWords(line string) []string {
	words := shellWord.FindAllString(line, -1)
	for i := range words {
		words[i] = strings.Trim(words[i], `'"`)
	}
	return words
}

// typed runs every line of a section that has a prompt.
func (d *documented) typed(p page, heading string) {
	d.t.Helper()
	ran := 0
	for _, block := range p.blocks[heading] {
		for line := range strings.Lines(block) {
			command, ours := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if !ours {
				continue
			}
			ran++
			words := shellWords(command)
			path := map[string]string{"regent": d.path, "nats": d.nats}[words[0]]
			if path == "" {
				d.t.Fatalf("%s: the test knows no program %q", heading, words[0])
			}
			if len(words) > 4 && words[3] == "stream" && words[4] == "view" {
				continue // needs a terminal: TestNATSCLI gives it one
			}
			d.output(path, words[1:]...)
		}
	}
	if ran == 0 {
		d.t.Errorf("no command under %q", heading)
	}
}

// everyday runs the commands of a section of that name. What follows goes on
// until it is interrupted.
func (d *documented) everyday(p page) {
	d.t.Helper()
	for _, args := range p.commands("Everyday") {
		if i := slices.Index(args, "*.config"); i >= 0 {
			files, _ := filepath.Glob(d.file("*.config"))
			args = slices.Replace(args, i, i+1, files...)
		}
		if slices.Contains(args, "--follow") {
			d.interrupted(args)
			continue
		}
		if strings.Join(args, " ") == "cookie rotate" {
			d.rotates(args)
			continue
		}
		if r := d.host.run(args...); r.code != 0 {
			d.t.Errorf("regent %v: exit code %d\n%s", args, r.code, r.errOut)
		}
	}
}

// rotates replaces the cookie as the page it points to says.
func (d *documented) rotates(args []string) {
	d.t.Helper()
	for _, args := range [][]string{{"cookie", "init", "--cookie-file", d.file("cookie.next")}, args} {
		if r := d.host.run(args...); r.code != 0 {
			d.t.Errorf("regent %v: exit code %d\n%s", args, r.code, r.errOut)
		}
	}
	if err := os.Rename(d.file("cookie.next"), d.file("cookie")); err != nil {
		d.t.Error(err)
	}
}

func (d *documented) interrupted(args []string) {
	d.t.Helper()
	p := d.begin(args...)
	for deadline := time.Now().Add(runMax); p.out.String() == "" && time.Now().Before(deadline) && !p.ended(); {
		time.Sleep(20 * time.Millisecond)
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	if code := p.end(); code != 0 || p.out.String() == "" {
		d.t.Errorf("regent %v: exit code %d after it was interrupted, and printed %q\n%s", args, code, p.out.String(), p.errOut.String())
	}
}

// TestThreeMachines boots the nodes of docs/quickstart.md's three machines:
// here their addresses are of this one, and the cookie need not be copied.
func TestThreeMachines(t *testing.T) {
	t.Parallel()
	doc := readPage(t, "../../docs/quickstart.md")
	h := newHost(t)
	const section = "Three machines"
	ports := port.Free(t, 6)
	var text strings.Builder
	text.WriteString(strings.ReplaceAll(doc.blocks[section][0], "10.0.0.", "127.0.0.") + "\naddresses:\n")
	for i, n := range []string{"node1@a", "node2@b", "node3@c"} {
		fmt.Fprintf(&text, "  %s: {client: \"127.0.0.%d:%d\", cluster: \"127.0.0.%d:%d\"}\n", n, i+1, ports[2*i], i+1, ports[2*i+1])
	}
	h.write("cluster.yaml", text.String())
	var nodes []*process
	for _, args := range doc.commands(section) {
		if args[0] == "node" {
			nodes = append(nodes, h.begin(args...))
			continue
		}
		if i := slices.Index(args, "#"); i >= 0 {
			args = args[:i]
		}
		if r := h.run(args...); r.code != 0 {
			t.Errorf("regent %v: %d\n%s", args, r.code, r.errOut)
		}
	}
	if len(nodes) != 3 {
		t.Fatalf("the page boots %d nodes", len(nodes))
	}
	h.until("myapp runs", fmt.Sprintf("127.0.0.2:%d", ports[2]), runsWhere("node1@a", "normal"))
	for _, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%v ended with %d", p.cmd.Args, code)
		}
	}
}
