package warden

import (
	"testing"
	"time"
)

// TestLateWardenIsLeftToItsWork: the alarm rings before the agent's own end, and
// the kernel ends the warden long after: one that comes late still has to end
// what the kernel does not reach.
func TestLateWardenIsLeftToItsWork(t *testing.T) {
	const ttl, late, doom = 3 * time.Second, 100 * time.Millisecond, time.Minute
	c := &Client{opts: Options{Life: Life{TTL: ttl}, Late: late}, doom: doom}
	a := c.armFrame().Arm
	if a.At >= doom || a.At < doom-late || a.Last < doom+ttl {
		t.Errorf("alarm %v before and last resort %v after the agent's end", doom-a.At, a.Last-doom)
	}
	c.doom = 0
	if a := c.armFrame().Arm; a.At != 0 || a.Last != 0 {
		t.Errorf("without a deadline: %+v", a)
	}
}
