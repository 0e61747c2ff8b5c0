//go:build linux

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy/node"
)

// beginThree begins some of the nodes of three.yaml.
func (m *host) beginThree(names ...string) (nodes []*process) {
	m.t.Helper()
	for _, n := range names {
		nodes = append(nodes, m.begin("node", "--sname", n, "--config", "three.yaml"))
	}
	return nodes
}

// TestFirstBootWithoutAVoter (B-23): the store has no leader before all voters have
// met once. A node that waits for that is up, says for whom it waits, and goes
// on as soon as they come.
func TestFirstBootWithoutAVoter(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", threeOnes+sleeper, three...)
	nodes := m.beginThree(three[:2]...)
	for _, n := range three[:2] {
		doc := m.until(n+" waits for node3", clients[n], func(d manager.ClusterStatus) bool {
			return slices.Equal(d.WaitingFor, []node.Name{"node3@lxw"})
		})
		if doc.Quorum.OK || len(doc.Waiting) == 0 {
			t.Errorf("%s: quorum %+v, waiting %q: want none, and what it waits for in words", n, doc.Quorum, doc.Waiting)
		}
	}
	m.fails(5, []string{"no quorum"}, "start", "myapp", "--on", "node1@lxw", "--server", "tls://"+clients["node1@lxw"], "--timeout", "3s")
	for _, p := range nodes {
		p.says("waits for ")
		if p.ended() {
			t.Fatalf("%v has ended", p.cmd.Args)
		}
	}
	nodes = append(nodes, m.beginThree("node3@lxw")...)
	doc := m.until("quorum", clients["node1@lxw"], func(d manager.ClusterStatus) bool { return d.Quorum.OK })
	if len(doc.WaitingFor) != 0 {
		t.Errorf("with quorum it waits for %v", doc.WaitingFor)
	}
	for _, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("%v ended with %d", p.cmd.Args, code)
		}
	}
}

// stranger begins node3 with another cookie.
func (m *host) stranger() *process {
	m.t.Helper()
	m.write("other-cookie", "another cookie of enough characters")
	return m.begin("node", "--sname", "node3@lxw", "--config", "three.yaml", "--cookie-file", "other-cookie")
}

// TestOtherCookieAtTheBarrier: who waits for a node with another cookie is told
// that this is why it does not come.
func TestOtherCookieAtTheBarrier(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	m.configure("three.yaml", "sync: {mandatory: [node1@lxw, node2@lxw, node3@lxw], timeout: 5s}\n"+threeOnes, three...)
	other := m.stranger()
	nodes := m.beginThree(three[:2]...)
	for _, p := range nodes {
		if code := p.end(); code != 3 {
			t.Errorf("%v ended with %d, want 3", p.cmd.Args, code)
		}
		if log := p.errOut.String(); !strings.Contains(log, "node3@lxw") || !strings.Contains(log, "refused: other cookie") {
			t.Errorf("it does not say that node3@lxw was refused for its cookie:\n%s", log)
		}
	}
	switch code := other.end(); {
	case code != 3 && code != 4:
		t.Errorf("the node with another cookie ended with %d, want 3 or 4", code)
	case !strings.Contains(other.errOut.String(), "cookie"):
		t.Errorf("it does not say that the cookie is why:\n%s", &other.errOut)
	}
}

// TestOtherCookie: without a barrier the node that everybody refuses ends with
// 4, and the others go on. With the right cookie it is welcome, whatever the
// wrong one has left in its data directory.
func TestOtherCookie(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	clients := m.configure("three.yaml", threeOnes, three...)
	nodes := m.beginThree(three[:2]...)
	m.until("node1 waits for node3", clients["node1@lxw"], func(d manager.ClusterStatus) bool {
		return slices.Contains(d.WaitingFor, "node3@lxw")
	})
	begun := time.Now()
	other := m.stranger()
	if code := other.end(); code != 4 || !strings.Contains(other.errOut.String(), "\nhint: all nodes of a cluster need the same cookie") {
		t.Errorf("ended with %d:\n%s", code, &other.errOut)
	}
	t.Logf("refused after %v", time.Since(begun))
	m.beginThree("node3@lxw")
	m.until("quorum", clients["node1@lxw"], func(d manager.ClusterStatus) bool { return d.Quorum.OK })
	for _, p := range nodes {
		if p.ended() {
			t.Errorf("%v has ended", p.cmd.Args)
		}
	}
	client := []string{"--server", "tls://" + clients["node1@lxw"], "--cookie-file", "other-cookie"}
	m.fails(4, []string{"regent: connect: refused"}, append([]string{"status"}, client...)...)
	m.fails(4, []string{"regent: connect: refused"}, append([]string{"cookie", "creds", "--dir", "creds"}, client...)...)
}
