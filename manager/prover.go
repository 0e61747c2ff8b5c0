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

	mu   sync.Mutex
	dead map[policy.Nonce]time.Time // when an agent was first seen to be gone
}

func newProver(patience time.Duration, log *slog.Logger) *prover {
	return &prover{patience: patience, log: log, dead: map[policy.Nonce]time.Time{}}
}

func (p *prover) Prove(rec policy.SessionRecord) bool {
	if gone, err := samehost.AgentGone(rec); !gone {
		p.debug(rec, err)
		return false
	}
	if _, err := samehost.KillLeftovers(rec, p.mercy(rec.Agent)); err != nil && !errors.Is(err, samehost.ErrNoProof) {
		p.log.Warn("end leftovers", "node", string(rec.Node), "err", err)
	}
	gone, err := samehost.Prove(rec)
	p.debug(rec, err)
	return gone
}

func (p *prover) debug(rec policy.SessionRecord, err error) {
	if err != nil {
		p.log.Debug("no proof", "node", string(rec.Node), "err", err)
	}
}

// lives bounds how many are remembered: a node asks about few at a time.
const lives = 1000

// mercy is for the warden of this dead agent. It takes ten milliseconds; the
// next look comes after fifty. Then it may stand still, as its agent did, with
// a lease that is over in two hundred: the groups don't wait.
func (p *prover) mercy(agent policy.Nonce) samehost.Mercy {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, known := p.dead[agent]
	if !known {
		if len(p.dead) >= lives {
			clear(p.dead)
		}
		p.dead[agent] = time.Now()
		return samehost.LeaveToWarden
	}
	if time.Since(first) > p.patience {
		return samehost.SpareNobody
	}
	return samehost.SpareWarden
}
