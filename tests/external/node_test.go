//go:build linux

package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// world is the directory of a group of nodes: configuration, cookie, their
// data, and what their app wrote down.
type world struct {
	t       *testing.T
	dir     string
	cluster string
	names   []string
	config  string // without what servers there are
}

const app = "myapp"

// script is the app: it takes the lock, writes down what it is told of NATS and
// its start, and runs until
// it is told to end.
const script = `exec 9>>"$WORLD/lock"
flock -n 9 || echo "overlap $REGENT_NODE $REGENT_EPOCH" >>"$WORLD/app.log"
env | grep '^REGENT_NATS_' >>"$WORLD/nats.log"
echo "start $REGENT_NODE $REGENT_EPOCH $REGENT_START_TYPE $$" >>"$WORLD/app.log"
while :; do sleep 0.2; done
`

// newWorld makes one for nodes of these names at host lxw; extra is added to
// the configuration.
func newWorld(t *testing.T, extra string, names ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), cluster: "default", names: names}
	list := names[0] + "@lxw"
	if others := names[1:]; len(others) > 0 {
		list += ", [" + strings.Join(others, "@lxw, ") + "@lxw]"
	}
	w.config = fmt.Sprintf(`distributed:
  - {app: %s, timeout: 1s, nodes: [%s]}
hosts: {lxw: 127.0.0.1}
apps:
  %s: {command: [/bin/sh, %s], env: {WORLD: %s}}
%s`, app, list, app, filepath.Join(w.dir, "app.sh"), w.dir, extra)
	w.write("cluster.yaml", w.config)
	w.write("app.sh", script)
	w.write("app.log", "")
	w.write("cookie", "external-tests-0123456789-abcdefg\n")
	for _, sub := range []string{"run", "tmp", "state"} {
		if err := os.Mkdir(filepath.Join(w.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) string {
	w.t.Helper()
	_ = os.Remove(w.path(name)) // it may be read-only
	if err := os.WriteFile(w.path(name), []byte(text), 0o400); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(w.path(name), map[bool]os.FileMode{true: 0o400, false: 0o600}[name == "cookie" || name == "other"]); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// environ is the caller's environment without anything that leads elsewhere.
func (w *world) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return slices.ContainsFunc([]string{"REGENT_", "NATS_", "XDG_", "HOME=", "TMPDIR="}, func(p string) bool { return strings.HasPrefix(kv, p) })
	})
	return append(env, "REGENT_COOKIE_FILE="+w.path("cookie"), "HOME="+w.dir, "TMPDIR="+w.path("tmp"),
		"XDG_STATE_HOME="+w.path("state"), "XDG_RUNTIME_DIR="+w.path("run"), "XDG_CONFIG_HOME="+w.path(".config"))
}

// life is one life of a node, or one command.
type life struct {
	*process
	t        *testing.T
	name     string
	out, err string // files
}

func (w *world) launch(name string, args ...string) *life {
	w.t.Helper()
	l := &life{t: w.t, name: name, out: w.path(name + ".out"), err: w.path(name + ".err")}
	cmd := exec.Command(regentPath, args...)
	cmd.Dir, cmd.Env = w.dir, w.environ()
	stdout, err1 := os.OpenFile(l.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	stderr, err2 := os.OpenFile(l.err, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err := errors.Join(err1, err2); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _, _ = stdout.Close(), stderr.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = stdout, stderr
	l.process = start(w.t, cmd)
	w.t.Cleanup(func() {
		l.kill()
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", name, tail(l.err))
		}
	})
	return l
}

// node starts a node at host lxw.
func (w *world) node(name string, flags ...string) *life {
	w.t.Helper()
	args := []string{"node", "--sname", name + "@lxw", "--config", w.path("cluster.yaml"), "--cluster", w.cluster, "--log-level", "debug"}
	return w.launch(name, append(args, flags...)...)
}

// said is what it has written to standard error.
func (l *life) said() string {
	text, err := os.ReadFile(l.err)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// exits waits for its end and checks the exit code.
func (l *life) exits(limit time.Duration, code int) {
	l.t.Helper()
	select {
	case <-l.done:
		if got := l.ProcessState.ExitCode(); got != code {
			l.t.Errorf("%s ended with %d, want %d:\n%s", l.name, got, code, tail(l.err))
		}
	case <-time.After(limit):
		l.t.Errorf("%s has not ended after %v, want exit %d:\n%s", l.name, limit, code, tail(l.err))
	}
}

// run runs a command to its end and returns what it printed, and how it ended.
func (w *world) run(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	return w.runWith("", args...)
}

// runWith is run with an input.
func (w *world) runWith(in string, args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, regentPath, append(args, "--cluster", w.cluster)...)
	cmd.Dir, cmd.Env = w.dir, w.environ()
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errOut
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// must runs a command that must succeed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	out, errOut, code := w.run(args...)
	if code != 0 {
		w.t.Fatalf("regent %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// ask is the status of one node, as the program's own client gets it.
func (w *world) ask(nc *nats.Conn, name string) (status.Document, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	var doc status.Document
	c := service.Client{Conn: nc, Cluster: bus.Cluster(w.cluster)}
	err := c.Call(ctx, node.Name(name+"@lxw"), service.VerbStatus, service.StatusRequest{}, &doc)
	return doc, err
}

// waitUp waits until a node sees all nodes of this world up, each with a
// session.
func (w *world) waitUp(nc *nats.Conn, name string) status.Document {
	w.t.Helper()
	var doc status.Document
	within(w.t, 40*time.Second, name+" sees all nodes up", func() bool {
		var err error
		doc, err = w.ask(nc, name)
		up := 0
		for _, n := range doc.Nodes {
			if n.State == machine.NodeUp && n.Session != "" {
				up++
			}
		}
		return err == nil && doc.Quorum.OK && up == len(w.names)
	})
	return doc
}

// starts are the starts of the app, as it wrote them down.
func (w *world) starts() []instance {
	w.t.Helper()
	text, err := os.ReadFile(w.path("app.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []instance
	for line := range strings.Lines(string(text)) {
		var i instance
		if n, _ := fmt.Sscanf(line, "start %s %d %s %d\n", &i.node, &i.epoch, &i.kind, &i.pid); n != 4 {
			w.t.Fatalf("the app wrote %q", line)
		}
		all = append(all, i)
	}
	return all
}

type instance struct {
	node  string
	epoch uint64
	kind  string
	pid   int
}

// alive reports whether its process is there.
func (i instance) alive() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", i.pid))
	_, after, ok := bytes.Cut(stat, []byte(") "))
	return err == nil && ok && after[0] != 'Z' && after[0] != 'X'
}

// waitStart waits for the n-th start and checks where and as what it was.
func (w *world) waitStart(limit time.Duration, n int, nodes []string, kind string) instance {
	w.t.Helper()
	within(w.t, limit, fmt.Sprintf("start %d of the app, as %s on one of %v", n, kind, nodes), func() bool { return len(w.starts()) >= n })
	all := w.starts()
	last := all[len(all)-1]
	if len(all) != n || !slices.Contains(nodes, strings.TrimSuffix(last.node, "@lxw")) || last.kind != kind {
		w.t.Fatalf("starts: %v, want the last of %d to be %s on one of %v", all, n, kind, nodes)
	}
	if n > 1 && last.epoch <= all[n-2].epoch {
		w.t.Fatalf("starts: %v: the epoch did not grow", all)
	}
	return last
}
