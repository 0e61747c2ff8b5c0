//go:build linux

package integration

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/tests/natscli"
)

// cli is the nats CLI at a context of a cluster.
type cli struct {
	*host
	nats, context string
	url           string // of a node
}

// run returns what a command prints.
func (c *cli) run(args ...string) string {
	c.t.Helper()
	return c.output(c.nats, append([]string{"--context", c.context}, args...)...)
}

func (c *cli) output(path string, args ...string) string {
	c.t.Helper()
	p := start(c.t, c.dir, c.env, path, args...)
	giveUp := time.AfterFunc(runMax, p.kill)
	defer giveUp.Stop()
	<-p.done
	r := p.result()
	if r.code != 0 {
		c.t.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(path), strings.Join(args, " "), r.code, r.out, r.errOut)
	}
	c.t.Logf("$ %s %s\n%s", filepath.Base(path), strings.Join(args, " "), r.out) // docs/nats-cli.md is made of these
	return r.out
}

// shows runs a command whose output has to match each of patterns.
func (c *cli) shows(args []string, patterns ...string) {
	c.t.Helper()
	c.matches(strings.Join(args, " "), c.run(args...), patterns)
}

func (c *cli) matches(what, out string, patterns []string) {
	c.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			c.t.Errorf("nats %s: no %q in\n%s", what, p, out)
		}
	}
}

// TestNATSCLI: the stock nats CLI, with the context that "cookie creds" makes,
// shows a person what the cluster is and does.
func TestNATSCLI(t *testing.T) {
	c := &cli{host: newHost(t), nats: natscli.Path(t), context: "regent"}
	cluster := newCluster(t)
	cluster.cookie = cookie(t, strings.TrimSpace(c.read("cookie")))
	for _, name := range []string{"node1", "node2", "node3"} {
		cluster.boot(name)
	}
	cluster.startOn("myapp", "node1", "node2", "node3")
	n := cluster.nodes["node1"].n
	c.url = n.URL()
	c.creds(n.URL(), "--context", "regent")
	c.creds(n.URL(), "--context", "regent-sys", "--system")

	c.shows([]string{"kv", "ls"}, `regent_default .* regent cluster default: sessions \(node\.\*\) and ownership \(app\.\*\)`)
	c.shows([]string{"kv", "ls", "regent_default"}, `(?m)^app\.myapp$`, `(?m)^node\.node1=40lxw$`, `(?m)^config$`, `(?m)^identity$`)
	c.ownership()
	c.shows([]string{"kv", "get", "regent_default", "node.node1=40lxw", "--raw"}, `^\{"name":"node1@lxw","session":"[0-9a-f-]{36}","state":"live","since":"20`)
	c.shows([]string{"kv", "history", "regent_default", "app.myapp"}, `app\.myapp .* PUT .* \{"owner":"node1`)
	c.shows([]string{"stream", "ls"}, `regent_default_events .* regent cluster default: history of transitions`)
	c.shows([]string{"stream", "ls", "--all"}, `KV_regent_default `)
	c.events()
	c.shows([]string{"sub", "regent.default.hb.>", "--count", "1"}, `\{"v":1,"node":"node[123]@lxw",`)
	c.shows([]string{"sub", "regent.default.kv.>", "--count", "1"}, `\{"name":"node[123]@lxw","session":`)
	c.messages()
	c.shows([]string{"micro", "ls"}, `regent .* distributed applications: node node[123]@lxw`)
	c.shows([]string{"micro", "info", "regent"}, `node: node[123]@lxw`, `cluster: default`, `regent\.default\.api\.node[123]=40lxw\.status`)
	c.shows([]string{"micro", "stats", "regent"}, `(?i)status`)
	c.shows([]string{"micro", "ping", "regent"}, `regent`)
	c.shows([]string{"stream", "info", "KV_regent_default"}, `regent\.default\.kv\.>`, `Replicas: 3`)
	c.requests()

	c.context = "regent-sys"
	c.shows([]string{"server", "ls"}, `node1@lxw .* default `, `node2@lxw .* default `, `node3@lxw .* default `)
	c.shows([]string{"server", "report", "jetstream"}, `RAFT Meta Group Information`, `node1@lxw`, `node2@lxw`, `node3@lxw`)
	c.shows([]string{"server", "report", "connections"}, `node1@lxw`)
}

// messages: what a command sends to a process, as it passes. It is sent until
// enough was seen.
func (c *cli) messages() {
	c.t.Helper()
	p := start(c.t, c.dir, c.env, c.nats, "--context", c.context, "sub", "regent.default.node.>", "--count", "20")
	giveUp := time.AfterFunc(runMax, p.kill)
	defer giveUp.Stop()
	for seen := false; !seen; {
		select {
		case <-p.done:
			seen = true
		default:
			c.output(c.path, "send", "node1@lxw/inbox", "hello there", "--server", c.url)
		}
	}
	c.matches("sub", p.result().out+p.result().errOut, []string{
		`Received on "regent\.default\.node\.node1=40lxw\.msg"`, `Received on "regent\.default\.node\.cli-[0-9a-f]{8}=40lxw\.msg"`, `"hello there"`,
	})
}

// creds makes credentials as a user does.
func (c *cli) creds(url string, args ...string) {
	c.t.Helper()
	c.output(c.path, append([]string{"cookie", "creds", "--server", url}, args...)...)
}

// ownership: the record of an app begins with what people look for.
func (c *cli) ownership() {
	c.t.Helper()
	out := c.run("kv", "get", "regent_default", "app.myapp", "--raw")
	var rec struct {
		Owner, Session, Phase, Want string
		Epoch                       int
	}
	if err := json.Unmarshal([]byte(out), &rec); err != nil {
		c.t.Fatalf("%s: %v", out, err)
	}
	if rec.Owner != "node1@lxw" || rec.Epoch < 1 || rec.Session == "" || rec.Phase != "running" || rec.Want != "run" {
		c.t.Errorf("ownership record %+v", rec)
	}
	if !strings.HasPrefix(out, `{"owner":"node1@lxw","epoch":`) {
		c.t.Errorf("it does not begin with the owner: %s", out)
	}
}

// events: the history, as "stream view" shows it at a terminal, and without
// one.
func (c *cli) events() {
	c.t.Helper()
	started := []string{`regent\.default\.event\.app_started\.myapp`, `"type":"app_started","app":"myapp","node":"node1@lxw"`}
	out := c.run("sub", "--stream", "regent_default_events", "--last-per-subject", "--count", "5", "regent.default.event.*.myapp", "--wait", "2s")
	c.matches("sub --stream", out, started)
	script, err := exec.LookPath("script")
	if err != nil {
		c.t.Log("SKIPPED: stream view needs a terminal, and there is no script(1) to make one")
		return
	}
	out = c.output(script, "-qec", c.nats+" --context "+c.context+" stream view regent_default_events 25", "/dev/null")
	c.matches("stream view", out, started)
}

// requests: the micro service of a node, without knowing anything of it.
func (c *cli) requests() {
	c.t.Helper()
	var doc manager.ClusterStatus
	out := c.run("req", "regent.default.api.node2=40lxw.status", "", "--raw")
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		c.t.Fatalf("%s: %v", out, err)
	}
	if doc.Node != "node2@lxw" || !doc.Quorum.OK || len(doc.Nodes) != 3 || doc.Apps[0].Node != "node1@lxw" {
		c.t.Errorf("status of node2@lxw: %+v", doc)
	}
	c.shows([]string{"req", "regent.default.api.node1=40lxw.start", `{"app":"myapp"}`}, `"code":409,"error":"already started: myapp"`)
	c.shows([]string{"req", "regent.default.api.node1=40lxw.stop", `{"app":"nosuchapp"}`}, `"code":404,"error":"not loaded: unknown app nosuchapp"`)
}
