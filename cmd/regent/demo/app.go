package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// entry is one line of the app's log.
type entry struct {
	Time      time.Time `json:"time"`
	Event     event     `json:"event"`
	Node      string    `json:"node"`
	Epoch     uint64    `json:"epoch"`
	StartType string    `json:"start_type"`
	From      string    `json:"from"`
	PID       int       `json:"pid"`
}

type event string

const (
	started event = "start"
	ticked  event = "tick"
	stopped event = "stop"
)

// tickEvery is how often the app shows that it is alive: how exactly its death
// can be told from its log.
const tickEvery = 50 * time.Millisecond

// App is the app that the demo's nodes run: it appends its start, a line every
// 50 ms, and, when ctx ends, its stop to the log, which must exist. It ends
// with an error when the log has gone.
func App(ctx context.Context, log string) error {
	epoch, err := strconv.ParseUint(os.Getenv("REGENT_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("REGENT_EPOCH: %w", err)
	}
	e := entry{
		Node: os.Getenv("REGENT_NODE"), Epoch: epoch, PID: os.Getpid(),
		StartType: os.Getenv("REGENT_START_TYPE"), From: os.Getenv("REGENT_START_FROM"),
	}
	if err := e.append(log, started); err != nil {
		return err
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return e.append(log, stopped)
		case <-tick.C:
			if err := e.append(log, ticked); err != nil {
				return err
			}
		}
	}
}

// append writes one line at once, so that lines of two processes never mix.
func (e entry) append(log string, what event) error {
	e.Time, e.Event = time.Now().UTC(), what
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
