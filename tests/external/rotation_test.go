//go:build linux

package external

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
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

// TestCookieRotationOutside: on an external NATS the bucket changes hands when
// the first node comes with the new cookie that still accepts the old one.
func TestCookieRotationOutside(t *testing.T) {
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
	w.write("cookie.next", newCookie)
	if _, errOut, code := w.run("cookie", "rotate", "--server", s.url("")); code != 1 || !strings.Contains(errOut, "an external NATS has the cookie's key: restart the nodes") {
		t.Errorf("rotate on an external NATS ended with %d:\n%s", code, errOut)
	}
	if err := os.Remove(w.path("cookie.next")); err != nil {
		t.Fatal(err)
	}
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
