package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// history is what the app's log says, in the order it was written.
type history []entry

// readLog reads the log; a last line that is not complete yet is left out.
func readLog(path string) (history, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the app's log: %w", err)
	}
	var h history
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the app's log: %q: %w", line, err)
		}
		h = append(h, e)
	}
	return h, nil
}

// run is one instance of the app: it was alive from its first to its last line.
type run struct {
	first, last entry
	stopped     bool // it was asked to stop, and said so
}

// runs lists the instances in the order of their starts.
func (h history) runs() []run {
	var runs []run
	for _, e := range h {
		i := slices.IndexFunc(runs, func(r run) bool { return r.first.PID == e.PID && r.first.Epoch == e.Epoch })
		if i < 0 {
			runs = append(runs, run{first: e})
			i = len(runs) - 1
		}
		runs[i].last = e
		runs[i].stopped = e.Event == stopped
	}
	return runs
}

// startsAfter lists the instances that began after t.
func (h history) startsAfter(t time.Time) []run {
	return slices.DeleteFunc(h.runs(), func(r run) bool { return !r.first.Time.After(t) })
}

// overlap finds two instances of which one began before the other had ended.
func (h history) overlap() (a, b run, found bool) {
	runs := h.runs()
	for i, a := range runs {
		for _, b := range runs[i+1:] {
			if b.first.Time.Before(a.last.Time) {
				return a, b, true
			}
		}
	}
	return run{}, run{}, false
}

// epochsGrow reports whether each instance has a higher epoch than all before.
func (h history) epochsGrow() bool {
	var last uint64
	for _, r := range h.runs() {
		if r.first.Epoch <= last {
			return false
		}
		last = r.first.Epoch
	}
	return true
}

func (r run) String() string {
	text := fmt.Sprintf("%s (%s, epoch %d, pid %d)", r.first.Node, r.first.StartType, r.first.Epoch, r.first.PID)
	if r.first.From != "" {
		text = fmt.Sprintf("%s (%s from %s, epoch %d, pid %d)", r.first.Node, r.first.StartType, r.first.From, r.first.Epoch, r.first.PID)
	}
	return text
}
