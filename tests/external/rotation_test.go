//go:build linux

package external

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	oldCookie = "external-tests-0123456789-abcdefg\n"
	newCookie = "another-cookie-abcdefg-9876543210\n"
)

// TestCookieRotation: one cookie is replaced by another, node by node: first all
// accept both, then they show the new one, then they forget the old one. There
// is a quorum all the time, and the app runs but for its moves.
func TestCookieRotation(t *testing.T) {
	t.Parallel()
	v := newVoters(t, three...)
	v.configure(three...)
	v.boot(three, "--start", app)
	v.healthy("node1", 3, three...)
	v.restarted(v.tls("node1"), 0)
	other := v.write("other", newCookie)
	roll := func(flags ...string) {
		for _, name := range []string{"node3", "node2", "node1"} {
			if code := v.nodes[name].terminate(); code != 0 {
				t.Errorf("%s ended with %d after SIGTERM", name, code)
			}
			v.boot([]string{name}, append([]string{"--start", app}, flags...)...)
			v.healthy(name, 3, three...)
			v.current(name, 3)
		}
		within(t, 30*time.Second, "the app runs at node1 again", func() bool {
			all := v.starts()
			last := all[len(all)-1]
			return last.node == "node1@lxw" && last.alive()
		})
	}
	roll("--also-cookie-file", other)
	v.write("cookie", newCookie)
	v.write("other", oldCookie)
	roll("--also-cookie-file", other)
	roll()

	epochs := []uint64{}
	for _, i := range v.starts() { // an overlap would be an error here
		epochs = append(epochs, i.epoch)
	}
	if !slices.IsSorted(epochs) || len(slices.Compact(slices.Clone(epochs))) != len(epochs) {
		t.Errorf("epochs of the starts: %v", epochs)
	}
	v.write("cookie", oldCookie)
	if _, errOut, code := v.run("status", "--server", v.tls("node1")); code != 4 {
		t.Errorf("the old cookie ended with %d:\n%s", code, errOut)
	}
	v.stopAll()
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
