//go:build linux

package external

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// refusal is long enough for the three seconds that a node waits for a server
// that refuses it, and for a slow machine.
const refusal = 20 * time.Second

// A server that asks for nothing gets nothing, and a warning is written.
func TestOpenServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", s.url(""))
	nc := connect(t, s.url(""))
	w.waitUp(nc, "node1")
	if !strings.Contains(n.said(), "no credentials are sent") {
		t.Errorf("no warning about a server without credentials:\n%s", n.said())
	}
	w.lives(n, "--server", s.url(""))
}

// lives has an app started and stopped by the command line, and the node
// ended.
func (w *world) lives(n *life, login ...string) {
	w.t.Helper()
	w.must(append([]string{"start", app, "--on", n.name + "@lxw"}, login...)...)
	w.waitStart(time.Second, 1, []string{n.name}, "normal")
	// The cookie gives no rights on somebody else's NATS, and the node's own are
	// none of the app's business.
	if told, err := os.ReadFile(w.path("nats.log")); err != nil || len(told) > 0 {
		w.t.Errorf("the app is told of NATS: %q, %v", told, err)
	}
	if code := n.terminate(); code != 0 {
		w.t.Errorf("%s ended with %d after SIGTERM", n.name, code)
	}
}

// User and password, or a token, stand in the URL and nowhere else: not in the
// log, not in the file that other commands of this machine find the node by.
func TestPasswordInURL(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream+`authorization { users: [ {user: alice, password: "s3cr3t-word"} ] }`)
	loginInURL(t, s, "alice:s3cr3t-word", "alice:wr0ng-word", "s3cr3t-word")
}

func TestTokenInURL(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream+`authorization { token: "s3cr3t-t0ken" }`)
	loginInURL(t, s, "s3cr3t-t0ken", "wr0ng-t0ken", "s3cr3t-t0ken")
}

func loginInURL(t *testing.T, s *server, right, wrong, secret string) {
	w := newWorld(t, "", "node1")
	refused := newWorld(t, "", "node1")
	bad, none := refused.node("node1", "--server", s.url(wrong)), newWorld(t, "", "node1").node("node1", "--server", s.url(""))
	n := w.node("node1", "--server", s.url(right))
	w.waitUp(connect(t, s.url(right)), "node1")
	if strings.Contains(n.said(), "no credentials are sent") {
		t.Error("a warning about missing credentials in spite of those in the URL")
	}
	checkSecret(t, secret, w.dir)
	w.lives(n, "--server", s.url(right))
	bad.exits(refusal, 4)
	none.exits(refusal, 4)
	checkSecret(t, strings.TrimPrefix(wrong, "alice:"), refused.dir)
	if strings.Contains(none.said(), "cookie file") {
		t.Errorf("refused credentials are explained by the cookie:\n%s", none.said())
	}
	if _, errOut, code := w.run("status", "--server", s.url(wrong)); code != 4 {
		t.Errorf("a client with the wrong login ended with %d:\n%s", code, errOut)
	}
}

// checkSecret looks for a secret in all files below dir.
func checkSecret(t *testing.T, secret, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go
		}
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), secret) {
			t.Errorf("the secret is in %s:\n%s", path, tail(path))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A server in operator mode wants a credentials file: the right one is let in,
// one of another operator is refused.
func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	s := startServer(t, withJetStream+op.conf)
	w := newWorld(t, "", "node1")
	right := w.write("right.creds", string(op.creds))
	n := w.node("node1", "--server", s.url(""), "--creds", right)

	foreign := newWorld(t, "", "node1")
	wrong := foreign.write("wrong.creds", string(newOperator(t).creds))
	refused := foreign.node("node1", "--server", s.url(""), "--creds", wrong)

	poor := newWorld(t, "", "node1")
	without := poor.node("node1", "--server", s.url(""), "--creds", poor.write("poor.creds", string(op.poor)))

	w.waitUp(connect(t, s.url(""), nats.UserCredentials(right)), "node1")
	w.lives(n, "--server", s.url(""), "--creds", right)
	refused.exits(refusal, 4)
	if _, errOut, code := w.run("status", "--server", s.url(""), "--creds", wrong); code != 4 {
		t.Errorf("a client with wrong credentials ended with %d:\n%s", code, errOut)
	}
	without.exits(30*time.Second, 1) // an account without JetStream
	checkHint(t, without)
}

// Mistakes that can be seen without a server are errors of usage, at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	token, _, _ := strings.Cut(string(newOperator(t).creds), "-----BEGIN USER NKEY SEED-----")
	for name, flags := range map[string][]string{
		"missing credentials": {"--server", "nats://127.0.0.1:1", "--creds", w.path("missing.creds")},
		"empty credentials":   {"--server", "nats://127.0.0.1:1", "--creds", w.write("empty.creds", "")},
		"broken credentials":  {"--server", "nats://127.0.0.1:1", "--creds", w.write("broken.creds", "-----BEGIN NATS USER JWT-----\nnonsense\n")},
		"token without key":   {"--server", "nats://127.0.0.1:1", "--creds", w.write("half.creds", token)},
		"a directory":         {"--server", "nats://127.0.0.1:1", "--creds", w.dir},
		"no host":             {"--server", "nats://"},
		"two logins":          {"--server", "nats://a:b@127.0.0.1:1,nats://c:d@127.0.0.1:2"},
		"short lease":         {"--server", "nats://127.0.0.1:1", "--config", w.write("short.yaml", "lease: 5s\n")},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"node", "--sname", "node1@lxw", "--config", w.path("cluster.yaml")}, flags...)
			out, errOut, code := w.run(flags...)
			if code != 2 || !strings.HasPrefix(errOut, "regent: ") {
				t.Errorf("exit %d, want 2:\n%s%s", code, out, errOut)
			}
		})
	}
}

// A server without JetStream may be starting; after ten seconds it is
// believed.
func TestNoJetStream(t *testing.T) {
	t.Parallel()
	s := startServer(t, withoutJetStream)
	n := newWorld(t, "", "node1").node("node1", "--server", s.url(""))
	n.exits(30*time.Second, 1)
	checkHint(t, n)
}

func checkHint(t *testing.T, n *life) {
	t.Helper()
	if said := n.said(); !strings.Contains(said, "\nhint: ") || !strings.Contains(said, "JetStream") {
		t.Errorf("no hint about JetStream:\n%s", said)
	}
}

// A node waits for a server that is not there, and says so; a command gives
// up.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := newServer(t, "late", withJetStream)
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", s.url(""))
	begin := time.Now()
	_, errOut, code := w.run("status", "--server", s.url(""))
	if took := time.Since(begin); code != 5 || took < 9*time.Second || took > 15*time.Second {
		t.Errorf("a command without a server ended with %d after %v:\n%s", code, took, errOut)
	}
	if n.ended() {
		t.Fatalf("the node did not wait: exit %d\n%s", n.ProcessState.ExitCode(), n.said())
	}
	if !strings.Contains(n.said(), fmt.Sprint(s.port)) {
		t.Errorf("the node does not say what it waits for:\n%s", n.said())
	}
	s.boot()
	s.waitHealthy()
	w.waitUp(connect(t, s.url("")), "node1")
	w.lives(n, "--server", s.url(""))
}
