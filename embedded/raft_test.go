package embedded

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// linkedAtStart was read before any server of this process could be started.
var linkedAtStart = linkedTiming()

// If this fails, a new nats-server has renamed or changed its timers: look at
// server/raft.go, measure again, and adapt stockTiming and the names.
func TestRaftTimingIsWhatWeKnow(t *testing.T) {
	if linkedAtStart != stockTiming {
		t.Errorf("nats-server %s has %+v, expected %+v", server.VERSION, linkedAtStart, stockTiming)
	}
}

func TestTimingRelations(t *testing.T) {
	for name, v := range map[string]raftTiming{"stock": stockTiming, "fast": fastTiming} {
		switch {
		case v.ElectionMin < 3*v.Heartbeat:
			t.Errorf("%s: two lost heartbeats cause an election", name)
		case v.ElectionMax <= v.ElectionMin || v.CampaignMax <= v.CampaignMin:
			t.Errorf("%s: no room for chance, elections would collide", name)
		case v.LostQuorum < v.ElectionMax:
			t.Errorf("%s: a leader resigns before others could want it to", name)
		}
	}
}

func TestTimingIsChosenOnce(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	linked, chosen, stock := linkedTiming(), timing.chosen, timing.stock
	t.Cleanup(func() {
		linked.link()
		timing.chosen, timing.stock = chosen, stock
	})
	before := stockTiming
	before.link()
	timing.chosen = false

	chooseTiming(true, log)
	if linkedTiming() != before {
		t.Error("stock timing was touched")
	}
	chooseTiming(false, log)
	if linkedTiming() != before {
		t.Error("a second server changed the timers")
	}

	timing.chosen = false
	lostQuorumCheck++ // as if nats-server had other values
	moved := linkedTiming()
	chooseTiming(false, log)
	if linkedTiming() != moved {
		t.Error("unknown timers were touched")
	}

	timing.chosen = false
	before.link()
	chooseTiming(false, log)
	if linkedTiming() != fastTiming {
		t.Errorf("got %+v", linkedTiming())
	}
}
