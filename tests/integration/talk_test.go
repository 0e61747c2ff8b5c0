//go:build linux

package integration

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/seed7529eb29/regent/manager/proc"
)

// talkers starts a voter and a node that is its client.
func talkers(t *testing.T) *host {
	t.Helper()
	m := newHost(t)
	m.configure("two.yaml", `servers: [node1@lxw]
distributed:
  - {app: myapp, timeout: 2s, nodes: [node1@lxw, node2@lxw]}
apps: {myapp: {command: [sleep, "1000"]}}
`, "node1@lxw", "node2@lxw")
	m.write("exec.yaml", "allow_exec: true\n") // on node2 alone
	m.begin("node", "--sname", "node1@lxw", "--config", "two.yaml")
	m.begin("node", "--sname", "node2@lxw", "--config", "two.yaml", "--config", "exec.yaml")
	for _, n := range []string{"node1@lxw", "node2@lxw"} {
		for deadline := time.Now().Add(runMax); m.run("ping", n).code != 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not answer", n)
			}
		}
	}
	return m
}

// prints runs regent, which must end well, and returns what it prints.
func (m *host) prints(args ...string) string {
	m.t.Helper()
	r := m.run(args...)
	if r.code != 0 {
		m.t.Errorf("regent %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.errOut)
	}
	return strings.TrimSpace(r.out)
}

// TestTalk drives the messages of the command line against real nodes.
func TestTalk(t *testing.T) {
	t.Parallel()
	m := talkers(t)
	if out := m.prints("ping", "node2@lxw"); !strings.HasPrefix(out, "pong node2@lxw ") {
		t.Errorf("ping: %s", out)
	}
	for args, want := range map[string]string{
		"rpc node1@lxw node":                 `"node1@lxw"`,
		"rpc node2@lxw node":                 `"node2@lxw"`,
		"rpc node2@lxw echo hello":           `"hello"`,
		`rpc node2@lxw echo {"a":[1,2.5]}`:   `{"a":[1,2.5]}`,
		"rpc node2@lxw echo":                 "null",
		"rpc node2@lxw echo 1 two null":      `[1,"two",null]`,
		"rpc node1@lxw inbox":                "[]",
		"send node1@lxw/inbox hello":         "",
		`send node1@lxw/inbox [1]`:           "",
		"rpc node2@lxw functions":            `["apps","echo","exec","functions","inbox","node"]`,
		"rpc node1@lxw echo --timeout 20s x": `"x"`,
	} {
		if out := m.prints(strings.Fields(args)...); out != want && args != "rpc node1@lxw inbox" {
			t.Errorf("regent %s: %s, expected %s", args, out, want)
		}
	}
	var inbox []proc.InboxEntry
	if err := json.Unmarshal([]byte(m.prints("rpc", "node1@lxw", "inbox")), &inbox); err != nil || len(inbox) != 2 || inbox[0].From == nil {
		t.Errorf("inbox: %+v %v", inbox, err)
	}
	if out := m.prints("rpc", "node2@lxw", "apps"); !strings.Contains(out, `"name":"myapp"`) {
		t.Errorf("apps: %s", out)
	}
	m.exec()
	pid, err := proc.ParsePID(m.prints("spawn", "node2@lxw", "echo", "x"))
	if err != nil || pid.Node != "node2@lxw" || pid.Serial == 0 {
		t.Errorf("spawn: %v %v", pid, err)
	}
	begun := time.Now()
	m.fails(1, []string{"no connection to the node", "hint: see regent nodes"}, "rpc", "node9@lxw", "echo")
	m.fails(1, []string{"no connection"}, "ping", "node9@lxw")
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("two unknown nodes took %v", took)
	}
	m.fails(1, []string{"no such function: nothing", "functions"}, "rpc", "node2@lxw", "nothing")
	m.fails(1, []string{"no such process: nobody"}, "send", "node2@lxw/nobody", "x")
	for _, args := range []string{
		"ping no-name", "rpc no-name echo", "spawn no-name echo", "send no-name/inbox x", "send node1@lxw x", "send node1@lxw/a,b x",
		"rpc node1@lxw a,b", "remsh no-name", "send node1@lxw/ x", "rpc node1@lxw", "ping",
	} {
		m.fails(2, nil, strings.Fields(args)...)
	}
	// This program is in no list of nodes.
	if out := m.prints("nodes", "--all"); strings.Contains(out, "cli-") {
		t.Errorf("clients are listed:\n%s", out)
	}
}

// exec runs commands of the operating system, which node2 allows and node1 does
// not.
func (m *host) exec() {
	m.t.Helper()
	for _, tc := range []struct {
		words []string
		want  string
	}{
		{[]string{"echo", "a b", "5", "true"}, `{"status":0,"output":"a b 5 true\n","truncated":false}`},
		{[]string{"--", "sh", "-c", "exit 3"}, `{"status":3,"output":"","truncated":false}`},
		{[]string{`{"command":["echo"],"timeout_ms":60000}`}, `{"status":0,"output":"\n","truncated":false}`},
	} {
		if out := m.prints(append([]string{"rpc", "node2@lxw", "exec"}, tc.words...)...); out != tc.want {
			m.t.Errorf("exec %q: %s, expected %s", tc.words, out, tc.want)
		}
	}
	// The most that JSON makes of bytes still fits into one answer.
	if out := m.prints("rpc", "node2@lxw", "exec", "--", "head", "-c", "300000", "/dev/zero"); !strings.Contains(out, `"status":0`) || !strings.Contains(out, `"truncated":true`) {
		m.t.Errorf("300,000 zeros: %d bytes, beginning with %.40s", len(out), out)
	}
	m.fails(1, []string{"not allowed on this node", "allow_exec: true"}, "rpc", "node1@lxw", "exec", "echo", "x")
	m.fails(1, []string{"had not ended in time, and was killed"}, "rpc", "node2@lxw", "exec", `{"command":["sleep","1000"],"timeout_ms":100}`)
	m.fails(1, []string{"not in PATH", "no shell reads it"}, "rpc", "node2@lxw", "exec", "echo a b")
	m.fails(1, []string{"no command"}, "rpc", "node2@lxw", "exec", "[]")
	m.fails(1, []string{"timeout_ms is -1"}, "rpc", "node2@lxw", "exec", `{"command":["echo"],"timeout_ms":-1}`)
}

// TestNet: connect, disconnect and allow, one node's list being nobody else's.
func TestNet(t *testing.T) {
	t.Parallel()
	m := talkers(t)
	if out := m.prints("net", "connect", "node2@lxw", "--on", "node1@lxw"); out != "node2@lxw connected with node1@lxw" {
		t.Errorf("connect: %s", out)
	}
	if out := m.prints("net", "disconnect", "node2@lxw", "--on", "node1@lxw"); out != "node2@lxw disconnected from node1@lxw" {
		t.Errorf("disconnect: %s", out)
	}
	m.fails(1, []string{"not connected to node2@lxw"}, "net", "disconnect", "node2@lxw", "--on", "node1@lxw")
	m.fails(1, []string{"node9@lxw is not there"}, "net", "connect", "node9@lxw", "--on", "node1@lxw")
	m.prints("net", "connect", "node1@lxw", "--on", "node2@lxw") // and back
	m.prints("net", "disconnect", "node1@lxw", "--on", "node2@lxw")
	m.prints("net", "allow", "node1@lxw", "--on", "node2@lxw")
	m.prints("net", "connect", "node1@lxw", "--on", "node2@lxw")
	m.prints("ping", "node1@lxw")
	m.fails(1, []string{"disallowed node"}, "ping", "node2@lxw")
	m.fails(2, nil, "net", "connect", "no-name")
	m.fails(2, nil, "net", "forget", "node1@lxw")
	// Apps are not concerned.
	m.prints("start", "myapp", "--all")
	if out := m.prints("nodes", "--known"); !strings.Contains(out, "node1@lxw") || !strings.Contains(out, "node2@lxw") {
		t.Errorf("known: %s", out)
	}
	m.fails(2, nil, "nodes", "--known", "--all")
}

// TestRemsh types into a terminal.
func TestRemsh(t *testing.T) {
	t.Parallel()
	m := talkers(t)
	cmd := exec.Command(m.path, "remsh", "node2@lxw")
	cmd.Env, cmd.Dir = append(m.env, "TERM=xterm"), m.dir
	var tty io.ReadWriteCloser
	started := make(chan error)
	spawn <- func() {
		f, err := pty.Start(cmd)
		tty = f
		started <- err
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	var screen buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&screen, tty) // until the terminal is gone
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = tty.Close()
		<-read
	})
	count := func(text string, n int) {
		t.Helper()
		for deadline := time.Now().Add(runMax); strings.Count(screen.String(), text) < n; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q is not %d times on the screen:\n%q", text, n, screen.String())
			}
		}
	}
	typed := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(tty, keys); err != nil {
			t.Fatal(err)
		}
	}
	count("(node2@lxw)> ", 1)
	typed("ec\t'a b'\r") // Tab completes
	count(`"a b"`, 1)
	typed("\x1b[A\r") // the line before
	count(`"a b"`, 2)
	typed("spawn no\t\r")
	count("<node2@lxw/", 1)
	typed("nothing\r")
	count("no such function: nothing", 1)
	typed("send inbox 'good day'\r")
	typed("inbox\r")
	count(`"value":"good day"`, 1)
	typed("\x04") // the end
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%q", err, screen.String())
	}
}

// TestRemshReadsLines: what is no terminal is a script, without a prompt.
func TestRemshReadsLines(t *testing.T) {
	t.Parallel()
	m := talkers(t)
	cmd := exec.Command(m.path, "remsh", "node1@lxw")
	cmd.Env, cmd.Dir = m.env, m.dir
	cmd.Stdin = strings.NewReader("node\n\necho 1 2\nexit\necho 3\n")
	out, err := cmd.Output()
	if err != nil || string(out) != "\"node1@lxw\"\n[1,2]\n" {
		t.Errorf("%q %v", out, err)
	}
}
