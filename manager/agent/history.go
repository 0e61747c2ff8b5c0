package agent

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

const (
	historyMax   = 1024                   // lines that wait for the log, and again for the ledger
	historyTry   = time.Second            // one attempt
	historyAgain = 200 * time.Millisecond // between two attempts
)

// history is what happened, on its way to the log and from there to the ledger.
// The loop waits for neither: a log is a pipe that somebody may have stopped
// reading.
type history struct {
	prefix string // of the ids of lines

	mu     sync.RWMutex
	closed bool // under mu
	seq    atomic.Uint64
	lost   atomic.Uint64

	toLog    chan entry
	toLedger chan entry
	written  chan struct{} // closed when nothing waits for the ledger any more
}

// entry is a line of history.
type entry struct {
	record machine.History
	at     int64
	id     string
}

func newHistory(agent policy.Nonce) history {
	return history{
		prefix:   string(agent) + "-",
		toLog:    make(chan entry, historyMax),
		toLedger: make(chan entry, historyMax),
		written:  make(chan struct{}),
	}
}

func (h *history) add(record machine.History, at int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return
	}
	select {
	case h.toLog <- entry{record, at, h.prefix + strconv.FormatUint(h.seq.Add(1), 10)}:
	default:
		h.lost.Add(1)
	}
}

// close lets what waits be written; nothing more is added.
func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.toLog)
}

// Note writes a line of history to the log, and to the ledger as soon as the
// store lets it. It never blocks: what there is no room for is counted.
func (n *Agent) Note(h machine.History) {
	h.Detail = limited(h.Detail)
	n.history.add(h, n.opts.Clock.Wall())
}

// keepLog logs lines in order and passes them on.
func (n *Agent) keepLog() {
	h := &n.history
	defer close(h.toLedger)
	for e := range h.toLog {
		r := e.record
		n.log.Info(r.Type, "app", string(r.App), "node", string(r.Node), "from", string(r.From), "epoch", uint64(r.Epoch), "detail", r.Detail)
		select {
		case h.toLedger <- e:
		default:
			h.lost.Add(1)
			n.log.Warn("the store does not take the history: this line is only in the log", "type", r.Type)
		}
	}
}

// keepLedger writes the ledger in order, trying each line until it is there
// or ctx ends.
func (n *Agent) keepLedger(ctx context.Context) {
	defer close(n.history.written)
	lost := 0
	for e := range n.history.toLedger {
		if !n.append(ctx, e) {
			lost++
		}
	}
	if lost > 0 {
		n.history.lost.Add(uint64(lost))
		n.log.Warn("the end of the history is only in the log", "lines", lost)
	}
}

func (n *Agent) append(ctx context.Context, e entry) bool {
	for ctx.Err() == nil {
		if n.tryAppend(ctx, e) == nil {
			return true
		}
		pause(ctx, historyAgain)
	}
	return false
}

func (n *Agent) tryAppend(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, historyTry)
	defer cancel()
	return n.opts.Ledger.Append(ctx, e.record, e.at, e.id)
}
