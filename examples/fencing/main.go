package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// Times of run.
const (
	openMax = 30 * time.Second       // to raise the fence, in a cluster that may be busy with a failover
	addMax  = 30 * time.Second       // to learn whether an entry is stored; the server knows its id for two minutes
	every   = 100 * time.Millisecond // between two entries
)

// run writes an entry now and then, until it is asked to stop or is refused.
func run(ctx context.Context) error {
	e, err := readEnvironment()
	if err != nil {
		return err
	}
	nc, err := e.connect()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if !e.awaitConfirmed(ctx) {
		return nil
	}
	opening, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	l, err := openLedger(opening, js, e)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoch %d: %w", e.epoch, err)
	}
	fmt.Printf("epoch %d: the fence is raised\n", e.epoch)
	return l.keep(ctx, e)
}

// awaitConfirmed waits until the epoch may be shown. It is false when the
// instance is stopped before: then the old one goes on.
func (e environment) awaitConfirmed(ctx context.Context) bool {
	for e.confirmed != "" {
		if _, err := os.Stat(e.confirmed); err == nil {
			break
		}
		if !sleep(ctx, 10*time.Millisecond) {
			return false
		}
	}
	return true
}

// keep adds entries until ctx ends. One that was begun is finished.
func (l *ledger) keep(ctx context.Context, e environment) error {
	for {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), addMax)
		added, err := l.add(once)
		cancel()
		switch {
		case errors.Is(err, errFenced):
			return fmt.Errorf("epoch %d: entry %d %w", e.epoch, added.N, err)
		case err != nil:
			return fmt.Errorf("epoch %d: %w", e.epoch, err)
		}
		fmt.Printf("epoch %d: entry %d\n", e.epoch, added.N)
		if !sleep(ctx, every) {
			return nil
		}
	}
}
