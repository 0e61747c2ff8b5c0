package embedded

import (
	"log/slog"
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// nats-server has no option for its raft timers. With the stock values, no
// write to the bucket succeeds for 4 to 9 s after the process that leads its
// stream dies (6.9 s in the median, 8.6 s at worst, measured with 2.15.2), longer
// than the lease of a node. With the values below it is 0.35 to 0.5 s, 1.4 s on
// an overloaded host, without spurious elections under load.
//
// They are package variables, which the linker lets us reach. A variable that
// a later version renames would link to a fresh zero variable without a word;
// so nothing is touched unless every one has its stock value, and a test of this
// package fails when one has not.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname minCampaignTimeout github.com/nats-io/nats-server/v2/server.minCampaignTimeout
var minCampaignTimeout time.Duration

//go:linkname maxCampaignTimeout github.com/nats-io/nats-server/v2/server.maxCampaignTimeout
var maxCampaignTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

// raftTiming is one setting of all timers.
type raftTiming struct {
	ElectionMin, ElectionMax     time.Duration // a follower campaigns after this much silence
	CampaignMin, CampaignMax     time.Duration // delay of a campaign without a timeout before
	Heartbeat                    time.Duration // of an idle leader
	LostQuorum, LostQuorumChecks time.Duration // a leader resigns after this much silence of its followers, checked so often
}

var stockTiming = raftTiming{
	ElectionMin: 4 * time.Second, ElectionMax: 9 * time.Second,
	CampaignMin: 100 * time.Millisecond, CampaignMax: 800 * time.Millisecond,
	Heartbeat:  time.Second,
	LostQuorum: 10 * time.Second, LostQuorumChecks: 10 * time.Second,
}

// fastTiming: three heartbeats fit into the shortest election timeout, and a
// leader that lost its followers resigns before a client that talks to it gives
// up a lease of 3 s.
var fastTiming = raftTiming{
	ElectionMin: 300 * time.Millisecond, ElectionMax: 600 * time.Millisecond,
	CampaignMin: 30 * time.Millisecond, CampaignMax: 150 * time.Millisecond,
	Heartbeat:  100 * time.Millisecond,
	LostQuorum: 1200 * time.Millisecond, LostQuorumChecks: 1200 * time.Millisecond,
}

func linkedTiming() raftTiming {
	return raftTiming{
		ElectionMin: minElectionTimeout, ElectionMax: maxElectionTimeout,
		CampaignMin: minCampaignTimeout, CampaignMax: maxCampaignTimeout,
		Heartbeat:  hbInterval,
		LostQuorum: lostQuorumInterval, LostQuorumChecks: lostQuorumCheck,
	}
}

func (t raftTiming) link() {
	minElectionTimeout, maxElectionTimeout = t.ElectionMin, t.ElectionMax
	minCampaignTimeout, maxCampaignTimeout = t.CampaignMin, t.CampaignMax
	hbInterval = t.Heartbeat
	lostQuorumInterval, lostQuorumCheck = t.LostQuorum, t.LostQuorumChecks
}

// timing remembers the choice of the first server of this process. Running
// servers read the variables without a lock, so there is no second choice.
var timing struct {
	sync.Mutex
	chosen bool
	stock  bool
}

// chooseTiming sets the raft timers of this process, once, before its first
// server.
func chooseTiming(stock bool, log *slog.Logger) {
	timing.Lock()
	defer timing.Unlock()
	switch {
	case timing.chosen && timing.stock != stock:
		log.Warn("raft timing was chosen by an earlier server of this process", "stock", timing.stock)
	case timing.chosen || stock:
	case linkedTiming() != stockTiming:
		log.Warn("raft timing of this nats-server is not what was expected and is left alone: expect writes to stop for 4 to 9 s when a voter dies")
	default:
		fastTiming.link()
	}
	if !timing.chosen {
		timing.chosen, timing.stock = true, stock
	}
}
