package manager

import (
	"strings"
	"testing"
	"time"
)

// A look that does not come back is no look: the status says so and waits for
// nothing.
func TestOwnCopyBehindAStandingDisk(t *testing.T) {
	var c ownCopy
	now := clock{}.Now()
	if why := c.behind(now); why != "" {
		t.Errorf("a node without a server: %s", why)
	}
	c.last.Store(&look{at: now})
	if why := c.behind(now.Add(copyMax)); why != "" {
		t.Errorf("complete a moment ago: %s", why)
	}
	if why := c.behind(now.Add(copyMax + time.Second)); !strings.Contains(why, "for 3s") {
		t.Errorf("an old look says %q", why)
	}
	c.last.Store(&look{at: now, behind: "stream catching up"})
	if why := c.behind(now); why != "stream catching up" {
		t.Errorf("it says %q", why)
	}
}
