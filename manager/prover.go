package manager

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/policy"
)

// prover ends and proves what a dead life of a node left on this host, where
// that node's own warden has not.
type prover struct {
	patience time.Duration // with a warden
	log      *slog.Logger

	mu    sync.Mutex
	asked map[policy.Nonce]time.Time // first
}

func newProver(patience time.Duration, log *slog.Logger) *prover {
	return &prover{patience: patience, log: log, asked: map[policy.Nonce]time.Time{}}
}

func (p *prover) Prove(rec policy.SessionRecord) bool {
	if _, err := samehost.KillLeftovers(rec, p.late(rec.Agent)); err != nil && !errors.Is(err, samehost.ErrNoProof) {
		p.log.Warn("end leftovers", "node", string(rec.Node), "err", err)
	}
	gone, err := samehost.Prove(rec)
	if err != nil {
		p.log.Debug("no proof", "node", string(rec.Node), "err", err)
	}
	return gone
}

// lives bounds how many are remembered: a node asks about few at a time.
const lives = 1000

// late reports whether the warden of this agent has had its time.
func (p *prover) late(agent policy.Nonce) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, known := p.asked[agent]
	if !known {
		if len(p.asked) >= lives {
			clear(p.asked)
		}
		p.asked[agent] = time.Now()
		return false
	}
	return time.Since(first) > p.patience
}
