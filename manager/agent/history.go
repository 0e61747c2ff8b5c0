package agent

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

const (
	historyMax   = 4096                   // lines that wait for the ledger: hours of an outage, a few hundred kilobytes
	logMax       = 1024                   // lines that wait for the log
	historyTry   = time.Second            // one attempt
	historyAgain = 200 * time.Millisecond // between two attempts
)

// Line is a line of history on its way to the ledger.
type Line struct {
	machine.History
	Wall int64        // Unix milliseconds
	Life policy.Nonce // of the agent that wrote it
	N    uint64       // counts the lines of that life from 1: what is missing is seen
	Lost uint64       // so many lines before this one had no room and are in no ledger
}

// ID is the same whenever this line is written.
func (l *Line) ID() string { return string(l.Life) + "-" + strconv.FormatUint(l.N, 10) }

// history is what happened, on its way to the log and to the ledger. The loop
// waits for neither: a store may be away for hours, and a log is a pipe that
// somebody may have stopped reading. Neither waits for the other.
//
// What the store does not take waits here, in order. What there is no room for
// is counted, and the first line that finds room again says how many there were.
type history struct {
	life policy.Nonce

	mu     sync.Mutex // guards the following
	closed bool
	n      uint64
	queue  []Line // at most historyMax
	missed uint64 // lines without room since the last that had it

	more     chan struct{} // there may be more in the queue, or it is closed
	toLog    chan machine.History
	toDisk   chan onDisk
	written  chan struct{} // closed when nothing waits for the ledger any more
	lost     atomic.Uint64 // lines that are not in the ledger
	unlogged atomic.Uint64 // lines that are not in the log
}

func newHistory(agent policy.Nonce) history {
	return history{
		life:    agent,
		more:    make(chan struct{}, 1),
		toLog:   make(chan machine.History, logMax),
		toDisk:  make(chan onDisk, historyMax),
		written: make(chan struct{}),
	}
}

func (h *history) add(record machine.History, wall int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.n++
	if len(h.queue) < historyMax {
		l := Line{History: record, Wall: wall, Life: h.life, N: h.n, Lost: h.missed}
		h.queue = append(h.queue, l)
		h.missed = 0
		h.journal(onDisk{line: &l})
		h.hint()
	} else {
		h.missed++
		h.lost.Add(1)
	}
	select {
	case h.toLog <- record:
	default:
		h.unlogged.Add(1)
	}
}

// onDisk is a line for the journal, or the news that the ledger has all up to a
// number.
type onDisk struct {
	line  *Line
	taken uint64
}

// journal hands something to the disk. A disk that stands still gets no more of
// it: the lines are in the queue of the ledger nevertheless.
func (h *history) journal(d onDisk) {
	select {
	case h.toDisk <- d:
	default:
	}
}

func (h *history) hint() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// close lets what waits be written; nothing more is added.
func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.toLog)
	h.hint()
}

// first is the line that is due. over says that none will come any more.
func (h *history) first() (l Line, some, over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return Line{}, false, h.closed
	}
	return h.queue[0], true, false
}

// wrote drops the line that was due.
func (h *history) wrote() {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.queue[0].N
	h.queue = h.queue[1:]
	if len(h.queue) == 0 {
		h.queue = nil // and what it stood in
		h.journal(onDisk{taken: taken})
	}
}

// waiting is how many lines the ledger has not taken yet.
func (h *history) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.queue)
}

// Note writes a line of history to the log, and to the ledger as soon as the
// store lets it. It never blocks: what there is no room for is counted.
func (n *Agent) Note(h machine.History) {
	h.Detail = limited(h.Detail)
	if h.At == 0 {
		h.At = n.opts.Clock.Now()
	}
	n.history.add(h, n.opts.Clock.Wall())
	if n.opts.Observer.History != nil {
		n.opts.Observer.History(h)
	}
}

// keepJournal keeps lines on disk until the ledger has them all.
func (n *Agent) keepJournal() {
	h, broken := &n.history, false
	var last uint64
	for {
		var d onDisk
		select {
		case d = <-h.toDisk:
		case <-h.written:
			select {
			case d = <-h.toDisk: // what came before
			default:
				return
			}
		}
		var err error
		switch {
		case n.opts.Journal == nil:
		case d.line != nil:
			last = d.line.N
			err = n.opts.Journal.Add(*d.line)
		case d.taken == last:
			err = n.opts.Journal.Clear()
		}
		if err != nil && !broken {
			n.log.Warn("history on disk", "err", err)
		}
		broken = err != nil
	}
}

// doubleOwner is the type of line that nobody should ever read.
const doubleOwner = "double_owner"

// keepLog logs lines in order.
func (n *Agent) keepLog() {
	for r := range n.history.toLog {
		level := slog.LevelInfo
		if r.Type == doubleOwner {
			level = slog.LevelError
		}
		n.log.Log(context.Background(), level, r.Type, "app", string(r.App), "node", string(r.Node), "from", string(r.From), "epoch", uint64(r.Epoch), "detail", r.Detail)
	}
}

// keepLedger writes the ledger in order, trying each line until it is there
// or ctx ends.
func (n *Agent) keepLedger(ctx context.Context) {
	h := &n.history
	defer close(h.written)
	for ctx.Err() == nil {
		l, some, over := h.first()
		switch {
		case over:
			return
		case !some:
			select {
			case <-h.more:
			case <-ctx.Done():
			}
		case n.tryAppend(ctx, l) == nil:
			h.wrote()
		default:
			pause(ctx, historyAgain)
		}
	}
	if left := h.waiting(); left > 0 {
		h.lost.Add(uint64(left))
		n.log.Warn("the end of the history is not in the ledger yet", "lines", left)
	}
}

func (n *Agent) tryAppend(ctx context.Context, l Line) error {
	ctx, cancel := context.WithTimeout(ctx, historyTry)
	defer cancel()
	return n.opts.Ledger.Append(ctx, l)
}
