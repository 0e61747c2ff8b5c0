//go:build linux

package external

import (
	"bufio"
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/tests/natscli"
)

// cli is the nats CLI beside a world, with the contexts that "cookie creds"
// makes.
type cli struct {
	*world
	nats, url, context string
}

func newCLI(w *world, url string) *cli {
	w.t.Helper()
	c := &cli{world: w, nats: natscli.Path(w.t), url: url, context: "regent"}
	w.must("cookie", "creds", "--server", url, "--context", "regent")
	return c
}

// output is what a command of the nats CLI prints.
func (c *cli) output(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.nats, append([]string{"--context", c.context}, args...)...)
	cmd.Dir, cmd.Env = c.dir, c.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Errorf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// shows runs a command whose output has to match each of patterns.
func (c *cli) shows(args []string, patterns ...string) {
	c.t.Helper()
	out := c.output(args...)
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			c.t.Errorf("nats %s: no %q in\n%s", strings.Join(args, " "), p, out)
		}
	}
}

// system looks at the servers with the system account of the stanza.
func (c *cli) system() {
	c.t.Helper()
	c.must("cookie", "creds", "--server", c.url, "--context", "regent-sys", "--system")
	sys := &cli{world: c.world, nats: c.nats, url: c.url, context: "regent-sys"}
	sys.shows([]string{"server", "ls"}, `alone `)
	sys.shows([]string{"server", "report", "jetstream"}, `alone `)
}

// TestNATSCLI: what docs/nats-cli.md shows of an embedded cluster is the same
// on an external one, with the user that a server there has for people.
func TestNATSCLI(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", s.url(""))
	w.waitUp(connect(t, s.url("")), "node1")
	w.must("start", app, "--on", "node1@lxw", "--server", s.url(""))
	w.context("regent", `{"description":"","url":"`+s.url("")+`"}`)
	c := &cli{world: w, nats: natscli.Path(t), url: s.url(""), context: "regent"}
	c.everything()
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
	}
}

// everything is what docs/nats-cli.md shows, of one node that runs the app.
func (c *cli) everything() {
	c.t.Helper()
	c.shows([]string{"kv", "ls"}, `regent_default .* regent cluster default: sessions \(node\.\*\) and ownership \(app\.\*\)`)
	c.shows([]string{"kv", "ls", "regent_default"}, `(?m)^app\.myapp$`, `(?m)^node\.node1=40lxw$`)
	c.shows([]string{"kv", "get", "regent_default", "app.myapp", "--raw"}, `^\{"owner":"node1@lxw","epoch":1,`)
	c.shows([]string{"kv", "history", "regent_default", "app.myapp"}, `app\.myapp .* PUT .* \{"owner":"node1`)
	c.shows([]string{"stream", "ls"}, `regent_default_events .* regent cluster default: history of transitions`)
	c.shows([]string{"stream", "info", "KV_regent_default"}, `regent\.default\.kv\.>`)
	c.shows([]string{"sub", "--stream", "regent_default_events", "--last-per-subject", "--wait", "2s", "regent.default.event.*.myapp"}, `"type":"app_started","app":"myapp"`)
	c.views()
	c.shows([]string{"sub", "regent.default.hb.>", "--count", "1"}, `\{"v":1,"node":"node1@lxw",`)
	c.messages()
	c.shows([]string{"micro", "ls"}, `regent .* distributed applications: node node1@lxw`)
	c.shows([]string{"micro", "info", "regent"}, `node: node1@lxw`, `regent\.(default|beside)\.api\.node1=40lxw\.status`)
	c.shows([]string{"micro", "stats", "regent"}, `(?i)status`)
	c.shows([]string{"micro", "ping", "regent"}, `regent`)
	c.shows([]string{"req", "regent.default.api.node1=40lxw.status", "", "--raw"}, `"schema":1,"cluster":"default","node":"node1@lxw"`, `"mode":"external"`)
	c.shows([]string{"req", "regent.default.api.node1=40lxw.start", `{"app":"myapp"}`}, `"code":409,"error":"already started: myapp"`)
	c.shows([]string{"req", "regent.default.api.node1=40lxw.start", `not json`}, `"code":400,`)
}

// messages: what a command sends to a process, as it passes.
func (c *cli) messages() {
	c.t.Helper()
	want := []*regexp.Regexp{
		regexp.MustCompile(`Received on "regent\.\w+\.node\.node1=40lxw\.msg"`),
		regexp.MustCompile(`Received on "regent\.\w+\.node\.cli-[0-9a-f]{8}=40lxw\.msg"`),
		regexp.MustCompile(`"hello there"`),
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.nats, "--context", c.context, "sub", "regent."+c.cluster+".node.>")
	cmd.Dir, cmd.Env = c.dir, c.environ()
	out, err := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	lines, seen := bufio.NewScanner(out), ""
	for sent := false; lines.Scan(); {
		seen += lines.Text() + "\n"
		if !sent && strings.Contains(seen, "Subscribing on") {
			sent = true
			sending.Go(func() { // again, since the line comes a moment before it listens
				for ctx.Err() == nil {
					c.run("send", "node1@lxw/inbox", "hello there", "--server", c.url)
				}
			})
		}
		if !slices.ContainsFunc(want, func(p *regexp.Regexp) bool { return !p.MatchString(seen) }) {
			return
		}
	}
	c.t.Errorf("nats sub showed\n%s", seen)
}

// watches: "kv watch" prints what there is and then waits for more.
func (c *cli) watches() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.nats, "--context", c.context, "kv", "watch", "regent_default", "app.>")
	cmd.Dir, cmd.Env = c.dir, c.environ()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `{"owner":"node1@lxw"`) {
			return
		}
	}
	c.t.Errorf("nats kv watch ended without a record of the app: %v", lines.Err())
}

// views: "stream view" needs a terminal.
func (c *cli) views() {
	c.t.Helper()
	script, err := exec.LookPath("script")
	if err != nil {
		c.t.Log("SKIPPED: stream view needs a terminal, and there is no script(1) to make one")
		return
	}
	cmd := exec.CommandContext(c.t.Context(), script, "-qec", c.nats+" --context "+c.context+" stream view regent_default_events 25", "/dev/null")
	cmd.Dir, cmd.Env = c.dir, c.environ()
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"type":"app_started","app":"myapp"`) {
		c.t.Errorf("nats stream view: %v\n%s", err, out)
	}
}
