//go:build linux

package integration

import (
	"testing"

	"github.com/seed7529eb29/regent/manager"
)

// TestTypes: what the end of an app of each type does to its node:
// it stays, or ends with 8 and says why.
func TestTypes(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	client := m.configure("one.yaml", oneNode, "node1@lxw")["node1@lxw"]
	for _, tt := range []struct {
		kind, command string
		code          int // 0: the node stays
	}{
		{"temporary", "exit 3", 0},
		{"temporary", "exit 0", 0},
		{"transient", "exit 0", 0},
		{"transient", "exit 3", 8},
		{"permanent", "exit 0", 8},
		{"permanent", "exit 3", 8},
	} {
		t.Run(tt.kind+" "+tt.command, func(t *testing.T) {
			m.t = t
			m.write("app.config", `[{regent, [{apps, [{myapp, [{command, ["/bin/sh", "-c", "sleep 0.3; `+tt.command+`"]}, {restart, [{max, 0}]}]}]}]}].`)
			p := m.beginNode1("--config", "app.config", "--start", "myapp:"+tt.kind)
			if tt.code != 0 {
				if code := p.end(); code != tt.code {
					t.Errorf("the node ended with %d, want %d\n%s", code, tt.code, &p.errOut)
				}
				p.says("regent: node node1@lxw: ", tt.kind+" app myapp terminated")
				return
			}
			m.until("myapp is stopped, the node up", client, func(d manager.ClusterStatus) bool {
				return d.Apps[0].State == manager.AppStopped && d.Apps[0].Epoch > 0
			})
			if code := p.terminate(); code != 0 {
				t.Errorf("the node ended with %d when told to", code)
			}
		})
	}
}
