package manager

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/agent"
)

// A node that is killed, or stopped while there is no quorum, has events that
// are in no ledger yet. They stand in its data directory from the moment at which
// they happened, and its next life writes them: in journalNow what this life has
// said and the ledger has not taken, in journalOld what former lives left.
const (
	journalNow = "history.jsonl"
	journalOld = "history-left.jsonl"
	journalMax = 8 << 20         // bytes of a file; what is beyond is not kept
	leftAgain  = 2 * time.Second // between two attempts to write what was left
)

// journal implements agent.Journal. What it holds survives the end of the
// process, not that of the machine: nothing waits for the disk.
type journal struct {
	store *store
	file  *os.File
	size  int
}

// openJournal sets aside what former lives left, and returns it.
func openJournal(dir string, s *store) (*journal, []kv.Event, error) {
	now, old := filepath.Join(dir, journalNow), filepath.Join(dir, journalOld)
	left := append(readJournal(old), readJournal(now)...)
	if err := writeJournal(old, left); err != nil {
		return nil, nil, fmt.Errorf("history of former lives: %w", err)
	}
	f, err := os.OpenFile(now, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("history: %w", err)
	}
	return &journal{store: s, file: f}, left, nil
}

// readJournal reads the events of a file, as far as they can be read: the last
// one may be cut.
func readJournal(path string) (events []kv.Event) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for size := 0; lines.Scan() && size < 2*journalMax; size += len(lines.Bytes()) {
		var e kv.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Life != "" && e.N != 0 {
			events = append(events, e)
		}
	}
	return events
}

func writeJournal(path string, events []kv.Event) error {
	if len(events) == 0 {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// Add implements agent.Journal.
func (j *journal) Add(l agent.Line) error {
	if j.size > journalMax {
		return nil // the queue of the ledger is full long before
	}
	text, err := json.Marshal(j.store.event(l))
	if err != nil {
		return err
	}
	n, err := j.file.Write(append(text, '\n'))
	j.size += n
	return err
}

// Clear implements agent.Journal.
func (j *journal) Clear() error {
	j.size = 0
	return j.file.Truncate(0)
}

func (j *journal) Close() { _ = j.file.Close() }

// writeLeft writes what former lives left, as often as it takes.
func (s *store) writeLeft(ctx context.Context, dir string, left []kv.Event, log *slog.Logger) {
	for i := 0; i < len(left); {
		var err error
		if o := s.opened.Load(); o == nil {
			err = errNotOpen
		} else {
			e := left[i]
			_, err = o.ledger.Append(ctx, e, (&agent.Line{Life: e.Life, N: e.N}).ID())
		}
		if err == nil {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(leftAgain):
		}
	}
	if err := os.Remove(filepath.Join(dir, journalOld)); err != nil && !os.IsNotExist(err) {
		log.Warn("history of former lives", "err", err)
	}
}
