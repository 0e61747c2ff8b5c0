//go:build linux

package chaos

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// lag measures the machine, not regent: how late a thread gets a processor, and
// how long the disk takes to sync a small file. Nodes on a machine that stands
// still lose their leases, and are right to.
type lag struct {
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	all  []late
}

type late struct {
	at trace.Instant // when it was over
	by time.Duration
}

// Looks at the processor are frequent, since they are cheap.
const (
	lookEvery = 5 * time.Millisecond
	syncEvery = 100 * time.Millisecond
	lateLeast = 20 * time.Millisecond // what is worth to be kept
)

func newLag(dir string) *lag {
	l := &lag{stop: make(chan struct{})}
	l.done.Add(2)
	go l.loop(lookEvery, func() time.Duration { return 0 })
	go l.loop(syncEvery, func() time.Duration { return syncOnce(filepath.Join(dir, "lag")) })
	return l
}

// loop notes how much longer than its pause each round takes.
func (l *lag) loop(pause time.Duration, work func() time.Duration) {
	defer l.done.Done()
	for {
		begun := time.Now()
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
		by := max(time.Since(begun)-pause, work())
		if by < lateLeast {
			continue
		}
		l.mu.Lock()
		l.all = append(l.all, late{trace.Now(), by})
		l.mu.Unlock()
	}
}

func syncOnce(path string) time.Duration {
	begun := time.Now()
	f, err := os.Create(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("late?\n"); err != nil || f.Sync() != nil {
		return 0
	}
	return time.Since(begun)
}

// since is the worst that was measured from an instant on.
func (l *lag) since(at trace.Instant) time.Duration { return l.between(at, trace.Now()) }

// between is the worst that was measured between two instants, and in the
// moment after, when it could be measured.
func (l *lag) between(from, to trace.Instant) (worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		if from <= one.at && one.at <= to.Add(time.Second) {
			worst = max(worst, one.by)
		}
	}
	return worst
}

func (l *lag) close() {
	close(l.stop)
	l.done.Wait()
}
