//go:build linux

package external

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
)

const (
	oldCookie = "external-tests-0123456789-abcdefg\n"
	newCookie = "another-cookie-abcdefg-9876543210\n"
)

// TestCookieRotation: one cookie is replaced by another while everything runs:
// nodes keep their sessions and the app its process and its epoch. Who was let in
// by the old cookie is let in no more, and is disconnected; the app's own login
// goes on. A node that has no new cookie stops the rotation where it is, and one
// that was left out is refused when it comes back.
func TestCookieRotation(t *testing.T) {
	t.Parallel()
	four := append(slices.Clone(three), "node4")
	v := newVoters(t, four...)
	v.configure(three...)
	apart := v.write("apart", oldCookie) // of node3, as if on a machine of its own
	v.boot([]string{"node1", "node2", "node4"})
	v.boot([]string{"node3"}, "--cookie-file", apart)
	v.healthy("node1", 3, four...)
	v.must("start", app, "--all", "--server", v.tls("node1"))
	v.restarted(v.tls("node1"), 0)
	before := v.starts()
	theApp := v.asApp("node1")
	stranger := v.holder(oldCookie, "node2")

	rotate := func(flags ...string) (string, string, int) {
		return v.run(append([]string{"cookie", "rotate", "--server", v.tls("node1")}, flags...)...)
	}
	if _, errOut, code := rotate(); code != 2 || !strings.Contains(errOut, "cookie init") {
		t.Errorf("without a new cookie it ended with %d:\n%s", code, errOut)
	}
	v.write("cookie.next", newCookie)
	if _, errOut, code := rotate(); code != 1 || !strings.Contains(errOut, "cookie on node3@lxw: no such cookie here") || !strings.Contains(errOut, "hint: ") {
		t.Errorf("with a node that has no new cookie it ended with %d:\n%s", code, errOut)
	}
	v.must("status", "--server", v.tls("node3")) // which shows the old one, and knows no other
	if code := v.nodes["node4"].terminate(); code != 0 {
		t.Errorf("node4 ended with %d after SIGTERM", code)
	}
	v.boot([]string{"node4"}) // amid the rotation
	v.healthy("node1", 3, four...)
	sessions := v.sessions("node1")
	v.nodes["node4"].kill()
	within(t, 30*time.Second, "node4 is down", func() bool {
		return strings.Contains(v.must("status", "--json", "--server", v.tls("node1")), `{"name":"node4@lxw","state":"down"`)
	})
	v.write("apart.next", newCookie)
	if _, errOut, code := rotate(); code != 1 || !strings.Contains(errOut, "not there: node4@lxw") || !strings.Contains(errOut, "--without node4@lxw") {
		t.Errorf("without a node that is down it ended with %d:\n%s", code, errOut)
	}
	out, errOut, code := rotate("--without", "node4@lxw")
	if code != 0 || !strings.Contains(out, "3/3 drop    node1@lxw, node2@lxw, node3@lxw\n") || !strings.Contains(out, "mv ") {
		t.Fatalf("it ended with %d:\n%s%s", code, out, errOut)
	}

	if now := v.starts(); !slices.Equal(now, before) || !now[0].alive() {
		t.Errorf("starts of the app: %v, before the rotation %v", now, before)
	}
	v.healthy("node1", 3, three...)
	delete(sessions, "node4@lxw")
	now := v.sessions("node1")
	delete(now, "node4@lxw")
	if !maps.Equal(now, sessions) {
		t.Errorf("sessions %v, before the rotation %v", now, sessions)
	}
	within(t, 10*time.Second, "the app gets in with what it was given", func() bool {
		return theApp.Publish("regent.default.app.myapp.said", nil) == nil && theApp.FlushTimeout(time.Second) == nil
	})
	if at := theApp.Stats().Reconnects; at == 0 {
		t.Error("the app's connection of before the rotation was kept")
	}
	within(t, 10*time.Second, "the holder of the old cookie is out", func() bool { return !stranger.IsConnected() })

	v.must("status", "--server", v.tls("node2")) // by cookie.next
	v.write("old", oldCookie)
	if _, errOut, code := v.run("status", "--server", v.tls("node1"), "--cookie-file", v.path("old")); code != 4 || !strings.Contains(errOut, "hint: ") {
		t.Errorf("the old cookie ended with %d:\n%s", code, errOut)
	}
	// A node that was away, and has not got the new one.
	late := v.node("node4", "--cookie-file", v.path("old"))
	late.exits(refusal, 4)
	if said := late.said(); !strings.Contains(said, "put the new one into its file") {
		t.Errorf("a node that was away for it said:\n%s", said)
	}
	// One that took part remembers it, whatever its operator has done by now.
	if code := v.nodes["node2"].terminate(); code != 0 {
		t.Errorf("node2 ended with %d after SIGTERM", code)
	}
	v.boot([]string{"node2"}, "--cookie-file", v.path("old"))
	v.nodes["node2"].exits(refusal, 4)
	if said := v.nodes["node2"].said(); !strings.Contains(said, "the cookie was replaced by another one") {
		t.Errorf("a node that was given what it has dropped said:\n%s", said)
	}
	v.boot([]string{"node2"})
	v.healthy("node1", 3, three...)
	v.write("cookie", newCookie)
	v.remove(v.path("cookie.next"))
	v.boot([]string{"node4"})
	v.healthy("node1", 3, four...)
	v.stopAll()
}

// sessions are those of the nodes that are up, as one of them tells.
func (v *voters) sessions(asked string) map[string]string {
	v.t.Helper()
	var doc status.Document
	if err := json.Unmarshal([]byte(v.must("status", "--json", "--server", v.tls(asked))), &doc); err != nil {
		v.t.Fatal(err)
	}
	all := map[string]string{}
	for _, n := range doc.Nodes {
		all[string(n.Name)] = string(n.Session)
	}
	return all
}

// asApp connects with what the app's process was given.
func (v *voters) asApp(at string) *nats.Conn {
	v.t.Helper()
	text, err := os.ReadFile(v.path("nats.log"))
	if err != nil {
		v.t.Fatal(err)
	}
	given := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		given[strings.TrimPrefix(name, "REGENT_NATS_")] = value
	}
	return connect(v.t, v.tls(at), nats.UserCredentials(given["CREDS"]), nats.RootCAs(given["CA"]),
		nats.ClientCert(given["CERT"], given["KEY"]), nats.CustomInboxPrefix(given["INBOX"]))
}

// holder connects as one who has a cookie.
func (v *voters) holder(cookie, at string) *nats.Conn {
	v.t.Helper()
	c, err := cred.NewCookie(cookie, false)
	if err != nil {
		v.t.Fatal(err)
	}
	a, err := cred.Derive(c, v.cluster)
	if err != nil {
		v.t.Fatal(err)
	}
	opts, err := a.ConnOptions(cred.App, "holder")
	if err != nil {
		v.t.Fatal(err)
	}
	return connect(v.t, v.tls(at), opts...)
}

// conns are the connections of nodes and wardens to these servers: who they are
// at the server, by number, name and user.
func conns(t *testing.T, servers ...*server) []string {
	t.Helper()
	var all []string
	for _, s := range servers {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/connz?auth=true", s.monitor))
		if err != nil {
			t.Fatal(err)
		}
		var z struct {
			Connections []struct {
				CID            uint64 `json:"cid"`
				Name           string `json:"name"`
				AuthorizedUser string `json:"authorized_user"`
			} `json:"connections"`
		}
		err = json.NewDecoder(resp.Body).Decode(&z)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		for _, c := range z.Connections {
			if strings.Contains(c.Name, "@lxw") && !strings.HasSuffix(c.Name, "(alternate)") {
				all = append(all, fmt.Sprintf("%s %d %s as %s", s.name, c.CID, c.Name, c.AuthorizedUser))
			}
		}
	}
	slices.Sort(all)
	return all
}

// reload lets a server read its configuration again, and waits until it has.
func (s *server) reload(old, conf string) {
	s.t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		s.t.Fatalf("the configuration of %s has no\n%s", s.name, old)
	}
	reloads := func() int {
		log, err := os.ReadFile(s.log)
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.Count(string(log), "Reloaded server configuration")
	}
	before := reloads()
	s.write(strings.Replace(string(text), old, conf, 1))
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	within(s.t, 20*time.Second, s.name+" has read its configuration", func() bool { return reloads() > before })
}

// cast is the sessions of a world, as a node at an external NATS tells.
func (w *world) cast(login ...string) map[string]string {
	w.t.Helper()
	var doc status.Document
	if err := json.Unmarshal([]byte(w.must(append([]string{"status", "--json"}, login...)...)), &doc); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, n := range doc.Nodes {
		if n.State == machine.NodeUp {
			all[string(n.Name)] = string(n.Session)
		}
	}
	return all
}

// stays fails if a node has another session than before, or the app another
// process or epoch.
func (w *world) stays(sessions map[string]string, starts []instance, login ...string) {
	w.t.Helper()
	if now := w.cast(login...); !maps.Equal(now, sessions) {
		w.t.Errorf("sessions %v, before the rotation %v", now, sessions)
	}
	if now := w.starts(); !slices.Equal(now, starts) || !now[0].alive() {
		w.t.Errorf("starts of the app: %v, before the rotation %v", now, starts)
	}
}

// TestCookieRotationOutside: on an external NATS whose servers know the cookie's
// key, one cookie is replaced by another while everything runs. As long as one of
// the servers lacks the new key no node uses it. Afterwards nobody shows the old
// one, so it can be taken out, and whoever comes with the old cookie is refused
// before that by the bucket, and then by the servers.
func TestCookieRotationOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", three...)
	first := w.must("cookie", "creds", "--stanza")
	w.write("cookie.next", newCookie)
	second := w.must("cookie", "creds", "--stanza", "--cookie-file", w.path("cookie.next"))
	w.discard("cookie.next")
	entry := func(stanza string) string {
		return stanza[strings.Index(stanza, "{ nkey:"):strings.LastIndex(stanza, "  ]")]
	}
	key := func(stanza string) string { return strings.Trim(strings.Fields(entry(stanza))[2], ",") }
	servers := startCluster(t, first)
	login := []string{"--server", urls(servers)}
	nodes := map[string]*life{}
	for _, name := range three {
		nodes[name] = w.node(name, login...)
	}
	within(t, 60*time.Second, "three nodes are up", func() bool {
		out, _, code := w.run(append([]string{"nodes"}, login...)...)
		return code == 0 && strings.Count(out, " up ") == 3
	})
	w.must(append([]string{"start", app, "--all"}, login...)...)
	w.waitStart(30*time.Second, 1, []string{"node1"}, "normal")
	nodes["node3"].kill()
	within(t, 60*time.Second, "node3 is gone", func() bool { return len(w.cast(login...)) == 2 })
	starts, sessions := w.starts(), w.cast(login...)

	w.write("cookie.next", newCookie)
	rotate := func() (string, string, int) {
		return w.run(append([]string{"cookie", "rotate", "--without", "node3@lxw"}, login...)...)
	}
	shown := func(key string) func() bool {
		return func() bool {
			all := conns(t, servers...) // of each node two, and one of its warden
			return len(all) == 6 && !slices.ContainsFunc(all, func(c string) bool { return !strings.HasSuffix(c, " as "+key) })
		}
	}
	refused := func(by ...*server) {
		t.Helper()
		before := conns(t, servers...)
		out, errOut, code := rotate()
		if code != 1 || strings.Contains(out, "2/3") || !strings.Contains(errOut, "cookie on node1@lxw: an external NATS server does not serve the new cookie's key: ") ||
			!slices.ContainsFunc(by, func(s *server) bool { return strings.Contains(errOut, s.url("")) }) || !strings.Contains(errOut, "hint: ") || !strings.Contains(errOut, "cookie creds --stanza --cookie-file "+w.path("cookie.next")) {
			t.Errorf("while %d servers lack the new key it ended with %d:\n%s%s", len(by), code, out, errOut)
		}
		if now := conns(t, servers...); !slices.Equal(now, before) {
			t.Errorf("connections\n%s\nbefore\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
		}
	}
	within(t, 20*time.Second, "all show the old key", shown(key(first)))
	for i, s := range servers {
		refused(servers[i:]...)
		s.reload("users: [\n", "users: [\n"+entry(second))
	}
	w.stays(sessions, starts, login...)

	out, errOut, code := rotate()
	if code != 0 || !strings.Contains(out, "3/3 drop    node1@lxw, node2@lxw\n") || !strings.Contains(out, "take its key out of the NATS servers' configuration: "+key(first)+"\n") {
		t.Fatalf("it ended with %d:\n%s%s", code, out, errOut)
	}
	within(t, 20*time.Second, "all show the new key", shown(key(second)))
	w.stays(sessions, starts, login...)
	w.write("old", oldCookie)
	late := w.node("node3", append(login, "--cookie-file", w.path("old"))...)
	late.exits(refusal, 4)
	if said := late.said(); !strings.Contains(said, "another cookie") {
		t.Errorf("a node with the old cookie said:\n%s", said)
	}

	for _, s := range servers {
		s.reload(entry(first), "")
	}
	w.stays(sessions, starts, login...) // by cookie.next
	if _, errOut, code := w.run(append([]string{"status", "--cookie-file", w.path("old")}, login...)...); code != 4 || !strings.Contains(errOut, "hint: ") {
		t.Errorf("the old cookie ended with %d:\n%s", code, errOut)
	}
	late = w.node("node3", append(login, "--cookie-file", w.path("old"))...)
	late.exits(refusal, 4)

	// One that took part remembers it, whatever its operator has done by now.
	if code := nodes["node2"].terminate(); code != 0 {
		t.Errorf("node2 ended with %d after SIGTERM", code)
	}
	w.node("node2", append(login, "--start", app)...)
	within(t, 60*time.Second, "node2 is back", func() bool { return len(w.cast(login...)) == 2 })
	w.write("cookie", newCookie)
	w.discard("cookie.next")
	w.node("node3", append(login, "--start", app)...)
	within(t, 60*time.Second, "node3 is back", func() bool { return len(w.cast(login...)) == 3 })

	// The warden gets in by the new key, too: its proof is what moves the app.
	nodes["node1"].kill()
	w.waitStart(60*time.Second, 2, []string{"node2", "node3"}, "failover")
	within(t, 30*time.Second, "the warden of node1 has written its proof", func() bool {
		out, _, code := w.run(append([]string{"events", "--node", "node1@lxw"}, login...)...)
		return code == 0 && strings.Contains(out, "certified")
	})
}

func (w *world) discard(name string) {
	w.t.Helper()
	if err := os.Remove(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

// TestKeyOfAnotherAccount: a new key that servers let in is not used if it leads to
// another account than the bucket's, or may not do what a node does.
func TestKeyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	key := func(file string) string {
		text := w.must("cookie", "creds", "--stanza", "--cookie-file", w.path(file))
		return strings.Trim(strings.Fields(text[strings.Index(text, "{ nkey:"):])[2], ",")
	}
	w.write("cookie.next", newCookie)
	conf := func(here, there string) string {
		return fmt.Sprintf("accounts {\n  HERE { jetstream: enabled, users: [ {nkey: %s}\n%s ] }\n  THERE { jetstream: enabled, users: [ %s ] }\n}\n", key("cookie"), here, there)
	}
	elsewhere, poor, good := conf("", "{nkey: "+key("cookie.next")+"}"),
		conf("{nkey: "+key("cookie.next")+`, permissions: { publish: { deny: "$KV.>" } } }`, ""), conf("{nkey: "+key("cookie.next")+"}", "")
	s := startServer(t, withJetStream+elsewhere)
	login := []string{"--server", s.url("")}
	w.discard("cookie.next")
	w.node("node1", login...)
	within(t, 60*time.Second, "node1 is up", func() bool {
		out, _, code := w.run(append([]string{"nodes"}, login...)...)
		return code == 0 && strings.Count(out, " up ") == 1
	})
	w.must(append([]string{"start", app}, login...)...)
	w.waitStart(30*time.Second, 1, []string{"node1"}, "normal")
	starts, sessions := w.starts(), w.cast(login...)
	w.write("cookie.next", newCookie)
	refused := func(why string) {
		t.Helper()
		out, errOut, code := w.run(append([]string{"cookie", "rotate"}, login...)...)
		if code != 1 || strings.Contains(out, "2/3") || !strings.Contains(errOut, "does not serve the new cookie's key: "+s.url("")+": "+why) {
			t.Errorf("it ended with %d:\n%s%s", code, out, errOut)
		}
	}
	refused(`open bucket "regent_default": `)
	s.reload(elsewhere, poor)
	refused("by it nothing can be written: ")
	s.reload(poor, good)
	w.must(append([]string{"cookie", "rotate"}, login...)...)
	w.stays(sessions, starts, login...)
}

// TestCookieRestartsOutside: on an external NATS the bucket changes hands, too, when
// a node is restarted with the new cookie that still accepts the old one.
func TestCookieRestartsOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	first := w.must("cookie", "creds", "--stanza")
	w.write("cookie", newCookie)
	second := w.must("cookie", "creds", "--stanza")
	second = second[strings.Index(second, "{ nkey:"):strings.LastIndex(second, "  ]")]
	s := startServer(t, withJetStream+strings.Replace(first, "users: [\n", "users: [\n"+second, 1))
	up := func() {
		t.Helper()
		within(t, 40*time.Second, "node1 is up", func() bool {
			out, _, code := w.run("status", "--server", s.url(""))
			return code == 0 && strings.Contains(out, "node1@lxw  up") && strings.Contains(out, "quorum ok")
		})
	}
	w.write("cookie", oldCookie)
	n := w.node("node1", "--server", s.url(""))
	up()
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
	}
	w.write("cookie", newCookie)
	w.node("node1", "--server", s.url("")).exits(refusal, 4)
	n = w.node("node1", "--server", s.url(""), "--also-cookie-file", w.write("other", oldCookie))
	up()
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
	}
	n = w.node("node1", "--server", s.url(""))
	up()
	w.lives(n, "--server", s.url(""))
	w.write("cookie", oldCookie)
	w.node("node1", "--server", s.url("")).exits(refusal, 4)
}

// TestCookieRotationBesideCredentials: where something else than the cookie lets
// nodes in, or nothing does, the same steps change only whose the bucket is: no
// connection is made anew.
func TestCookieRotationBesideCredentials(t *testing.T) {
	t.Parallel()
	t.Run("credentials file", func(t *testing.T) {
		t.Parallel()
		op := newOperator(t)
		w := newWorld(t, "", "node1", "node2")
		s := startServer(t, withJetStream+op.conf)
		besideCredentials(w, s, "--server", s.url(""), "--creds", w.write("node.creds", string(op.creds)))
	})
	t.Run("user and password", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, withJetStream+`authorization { users: [ {user: alice, password: "s3cr3t-word"} ] }`)
		besideCredentials(newWorld(t, "", "node1", "node2"), s, "--server", s.url("alice:s3cr3t-word"))
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, withJetStream)
		besideCredentials(newWorld(t, "", "node1", "node2"), s, "--server", s.url(""))
	})
}

func besideCredentials(w *world, s *server, login ...string) {
	t := w.t
	for _, name := range w.names {
		w.node(name, login...)
	}
	within(t, 60*time.Second, "two nodes are up", func() bool {
		out, _, code := w.run(append([]string{"nodes"}, login...)...)
		return code == 0 && strings.Count(out, " up ") == 2
	})
	w.must(append([]string{"start", app, "--all"}, login...)...)
	w.waitStart(30*time.Second, 1, []string{"node1"}, "normal")
	within(t, 20*time.Second, "all connections are there", func() bool { return len(conns(t, s)) == 6 })
	starts, sessions, before := w.starts(), w.cast(login...), conns(t, s)

	w.write("cookie.next", newCookie)
	out := w.must(append([]string{"cookie", "rotate"}, login...)...)
	if !strings.Contains(out, "3/3 drop    node1@lxw, node2@lxw\na node whose cookie has fingerprint ") || strings.Contains(out, "take its key out") {
		t.Errorf("rotate said\n%s", out)
	}
	w.stays(sessions, starts, login...)
	if now := conns(t, s); !slices.Equal(now, before) {
		t.Errorf("connections\n%s\nbefore\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
	}
	w.write("old", oldCookie)
	late := w.node("node9", append(login, "--cookie-file", w.path("old"))...)
	late.exits(refusal, 4)
	if said := late.said(); !strings.Contains(said, "another cookie") {
		t.Errorf("a node with the old cookie said:\n%s", said)
	}
	// One that has both in the old order does not lead the bucket back.
	late = w.node("node9", login...)
	within(t, 60*time.Second, "node9 is up", func() bool { return len(w.cast(login...)) == 3 })
	if code := late.terminate(); code != 0 {
		t.Errorf("node9 ended with %d after SIGTERM", code)
	}
	w.write("cookie", newCookie)
	w.discard("cookie.next")
	w.node("node9", login...)
	within(t, 60*time.Second, "node9 is back", func() bool { return len(w.cast(login...)) == 3 })
}
