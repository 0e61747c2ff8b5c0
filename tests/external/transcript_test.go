//go:build linux

package external

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts of docs/deploy.md anew")

const deployPage = "../../docs/deploy.md"

// pageLock lets tests that run at the same time write one page.
var pageLock sync.Mutex

// transcript is what a person types and sees, for a page: commands run as they
// stand there, in the directory of a world. What differs from run to run is
// shown as the page has it.
type transcript struct {
	t    *testing.T
	w    *world
	text strings.Builder
	as   *strings.Replacer // what is real, and what the page calls it
	real *strings.Replacer // the other way round
	at   *computer         // where it is typed; nil: here
}

// newTranscript takes pairs: what the page says, what it really is.
func newTranscript(t *testing.T, w *world, pairs ...string) *transcript {
	var as []string
	for i := 0; i < len(pairs); i += 2 {
		as = append(as, pairs[i+1], pairs[i])
	}
	return &transcript{t: t, w: w, as: strings.NewReplacer(as...), real: strings.NewReplacer(pairs...)}
}

// prompt says where a line is typed.
func (tr *transcript) prompt() string {
	if tr.at == nil {
		return "$ "
	}
	return tr.at.name + "$ "
}

// command is a line as it is really run.
func (tr *transcript) command(line string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", tr.real.Replace(line))
	cmd.Dir, cmd.Env = tr.w.dir, tr.w.environ()
	if tr.at != nil {
		cmd.Args = append([]string{"ip", "netns", "exec", tr.at.ns}, cmd.Args...)
		cmd.Path, _ = exec.LookPath("ip")
		cmd.Dir, cmd.Env = tr.at.w.dir, tr.at.environ()
	}
	return cmd
}

// typed is a line that the test does in another way.
func (tr *transcript) typed(line string) { fmt.Fprintf(&tr.text, "%s%s\n", tr.prompt(), line) }

// begin types a line that goes on until the end of the test.
func (tr *transcript) begin(line string) {
	tr.t.Helper()
	tr.typed(line)
	cmd := tr.command("exec " + line)
	log, err := os.CreateTemp(tr.w.dir, "begun-*.log")
	if err != nil {
		tr.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	p := start(tr.t, cmd)
	tr.t.Cleanup(func() {
		p.terminate()
		if tr.t.Failed() {
			tr.t.Logf("%s\n%s", line, tail(log.Name()))
		}
		_ = log.Close()
	})
}

// run types a line, and returns what it printed.
func (tr *transcript) run(line string) string {
	tr.t.Helper()
	cmd := tr.command(line)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tr.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	tr.typed(strings.TrimSuffix(line, " || true"))
	tr.text.WriteString(tr.as.Replace(string(out)))
	return string(out)
}

// varies is what is different in each run.
var varies = []struct {
	pattern *regexp.Regexp
	mask    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`[UAO][A-Z2-7]{55}`), "KEY"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s|m)\b`), "DURATION"},
	{regexp.MustCompile(`\d+ MiB`), "SIZE"},
	{regexp.MustCompile(`steered by [+-]\d+`), "steered by N"},
	{regexp.MustCompile(`fingerprint [0-9a-f]{16}`), "fingerprint F"},
	{regexp.MustCompile(`(?m)^(ok|warning) +(warden|wall clock|clock rate|data directory):.*$`), "$2 as on this machine"},
	{regexp.MustCompile(`(?m)^ +hint: (give the node a cgroup|make room|start a time service).*$\n`), ""},
	{regexp.MustCompile(`(led by|leader|NATS server:) (s[123]|node[123]@\S+)`), "$1 ONE"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

func masked(text string) string {
	for _, v := range varies {
		text = v.pattern.ReplaceAllString(text, v.mask)
	}
	return strings.TrimSpace(text)
}

// check compares with the page, or writes it.
func (tr *transcript) check(section string) {
	tr.t.Helper()
	pageLock.Lock()
	defer pageLock.Unlock()
	page, err := os.ReadFile(deployPage)
	if err != nil {
		tr.t.Fatal(err)
	}
	begin, end := "<!-- transcript: "+section+" -->\n```\n", "```\n<!-- end: "+section+" -->"
	before, rest, ok := strings.Cut(string(page), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		tr.t.Fatalf("%s has no transcript %q", deployPage, section)
	}
	switch got := tr.text.String(); {
	case *rewrite:
		if err := os.WriteFile(deployPage, []byte(before+begin+got+end+after), 0o644); err != nil {
			tr.t.Fatal(err)
		}
	case masked(got) != masked(have):
		tr.t.Errorf("%s shows\n%s\nand it is\n%s\n(go test ./tests/external -run %s -rewrite)", deployPage, masked(have), masked(got), tr.t.Name())
	}
}
