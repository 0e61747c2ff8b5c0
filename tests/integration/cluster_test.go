package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// TestThreeNodesInOneProcess is the example's life with graceful stops: start
// on node1, failover after the Timeout, takeover on return.
func TestThreeNodesInOneProcess(t *testing.T) {
	c := newCluster(t)
	begin := time.Now()
	for _, name := range []string{"node1", "node2", "node3"} {
		c.boot(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, r := range c.nodes {
		wg.Go(func() {
			<-r.n.Connected()
			if err := r.n.StartApp(ctx, "myapp", ""); err != nil {
				t.Errorf("start on %s: %v", r.n.Name(), err)
			}
		})
	}
	wg.Wait()
	t.Logf("first owner after %v", time.Since(begin))
	if e := c.j.last(); e.node != "node1" || e.s.Kind != policy.StartNormal {
		t.Fatalf("runs on %s as %s, want node1, normal", e.node, e.s.Kind)
	}
	stopped := time.Now()
	if e := c.halt("node1"); e.Code != 0 {
		t.Fatalf("node1 ended with %+v", e)
	}
	c.eventually("failover", func() bool { return len(c.j.running()) == 1 })
	if e := c.j.last(); e.node == "node1" || e.s.Kind != policy.StartFailover || e.at.Sub(stopped) < 2*time.Second {
		t.Fatalf("failover to %s as %s after %v", e.node, e.s.Kind, e.at.Sub(stopped))
	}
	n := c.boot("node1")
	<-n.Connected()
	if err := n.StartApp(ctx, "myapp", ""); err != nil {
		t.Fatal(err)
	}
	if e := c.j.last(); e.node != "node1" || e.s.Kind != policy.StartTakeover {
		t.Fatalf("after the return it runs on %s as %s", e.node, e.s.Kind)
	}
	if c.j.most != 1 {
		t.Fatalf("%d instances at once", c.j.most)
	}
	st, err := n.Status(ctx)
	if err != nil || !st.Quorum.OK || len(st.Apps) != 1 {
		t.Fatalf("status: %+v, %v", st, err)
	}
}
