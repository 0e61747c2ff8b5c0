//go:build linux

package external

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// On an external NATS no voters follow from the files: any list of nodes can be
// applied (A-7, B-10). A permission is kept in its bucket (B-15).
func TestConfigApply(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	r := newRun(t, s.url(""))
	r.command("start", app, "--all")
	first := r.w.waitStart(time.Second, 1, []string{"node1"}, "normal")

	text, err := os.ReadFile(r.w.path("cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(text), "[node1@lxw, [node2@lxw, node3@lxw]]", "[node3@lxw, node1@lxw]", 1)
	out := r.command("config", "apply", r.w.write("other.yaml", other))
	if !strings.Contains(out, "myapp: list from [node1@lxw, {node2@lxw, node3@lxw}] to [node3@lxw, node1@lxw]") || !strings.Contains(out, "applied at node1@lxw, node2@lxw, node3@lxw") {
		t.Errorf("config apply said\n%s", out)
	}
	if now := r.w.starts(); len(now) != 1 || now[0] != first || !first.alive() {
		t.Errorf("it moved something: %v", now)
	}
	r.nodes["node2"].kill()
	r.w.node("node2", r.node...).exits(refusal, 6)

	r.command("permit", app, "false", "--on", "node1@lxw", "--persist")
	r.w.waitStart(30*time.Second, 2, []string{"node3"}, "takeover")
	r.w.write("cluster.yaml", other)
	r.nodes["node1"].terminate()
	r.nodes["node1"] = r.w.node("node1", append(r.node, "--start", app)...)
	within(t, 30*time.Second, "node1 has it started and is not permitted", func() bool {
		doc, err := r.w.ask(r.nc, "node3")
		return err == nil && slices.Contains(doc.Apps[0].StartedOn, "node1@lxw") && !doc.Apps[0].Permitted["node1@lxw"]
	})
}
