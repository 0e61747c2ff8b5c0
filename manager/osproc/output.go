package osproc

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stream is where a line was printed.
type Stream string

// The output streams of a process.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Line is one line of a process' output, without its end.
type Line struct {
	At     time.Time // when it was read
	Stream Stream
	Text   string
}

// lineMax cuts longer lines into several: output that never ends a line must
// neither be held back for ever nor fill the memory.
const lineMax = 16 << 10

// copyLines hands every line of r to emit until r ends or fails. A last line
// without an end is one too.
func copyLines(r io.Reader, stream Stream, emit func(Line)) {
	b := bufio.NewReaderSize(r, lineMax)
	for cut := false; ; {
		part, err := b.ReadSlice('\n')
		text := strings.TrimSuffix(strings.TrimSuffix(string(part), "\n"), "\r")
		if text != "" || err == nil && !cut {
			emit(Line{At: time.Now(), Stream: stream, Text: text})
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			return
		}
	}
}

// Ring keeps the last lines of a command, over its restarts. Its methods may be
// called by any goroutine.
type Ring struct {
	limit int

	mu    sync.Mutex
	size  int    // under mu: what lines take
	lines []Line // under mu: oldest first
}

// lineOverhead is what a Line takes beside its text.
const lineOverhead = 64

// NewRing makes a Ring of about limit bytes.
func NewRing(limit int) *Ring { return &Ring{limit: limit} }

// Add appends a line; the oldest ones make room. It doesn't block.
func (r *Ring) Add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
	r.size += len(l.Text) + lineOverhead
	for r.size > r.limit && len(r.lines) > 0 {
		r.size -= len(r.lines[0].Text) + lineOverhead
		r.lines[0] = Line{}
		r.lines = r.lines[1:]
	}
}

// Lines are the kept lines, oldest first.
func (r *Ring) Lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}
