package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// entry is a line of the ledger. Their numbers have no gap, and their epochs
// never go back.
type entry struct {
	N     uint64 `json:"n"`
	Epoch uint64 `json:"epoch"`
	Node  string `json:"node"`
}

// ledger is the resource, as one instance writes it.
type ledger struct {
	fence   *fence
	subject string
	next    entry
}

// openLedger raises the fence, and then reads how far the ledger is.
func openLedger(ctx context.Context, js jetstream.JetStream, e environment) (*ledger, error) {
	s, err := openStream(ctx, js, e)
	if err != nil {
		return nil, err
	}
	f, err := raise(ctx, js, s, e.subject("fence"), mark{Epoch: e.epoch, Node: e.node})
	if err != nil {
		return nil, err
	}
	l := &ledger{fence: f, subject: e.subject("entry")}
	var last entry
	if err := insist(ctx, func(once context.Context) error { last, err = l.last(once); return err }); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	l.next = entry{N: last.N + 1, Epoch: e.epoch, Node: e.node}
	return l, nil
}

// openStream makes the stream if it isn't there. Nothing may drop old messages
// of it: the fence is one of them.
func openStream(ctx context.Context, js jetstream.JetStream, e environment) (s jetstream.Stream, err error) {
	err = insist(ctx, func(once context.Context) error {
		s, err = js.CreateStream(once, jetstream.StreamConfig{
			Name: e.stream(), Subjects: []string{e.subject("fence"), e.subject("entry")},
			Replicas: e.args.Replicas, DenyDelete: true, DenyPurge: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // made with other settings, which an operator may choose
			s, err = js.Stream(once, e.stream())
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	return s, nil
}

// last is the last entry before this instance's own mark. After the mark nothing
// of another author can come. To ask the leader would not be enough, since one
// that is cut off answers from the past: but whoever shows us our own mark has
// shown all that was stored before.
func (l *ledger) last(ctx context.Context) (last entry, err error) {
	c, err := l.fence.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{l.subject, l.fence.subject}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return last, err
	}
	messages, err := c.Messages()
	if err != nil {
		return last, err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return last, err
		}
		at, err := msg.Metadata()
		if err != nil {
			return last, err
		}
		if at.Sequence.Stream >= l.fence.seq {
			return last, nil
		}
		if msg.Subject() == l.subject {
			if err := json.Unmarshal(msg.Data(), &last); err != nil {
				return last, err
			}
		}
	}
}

// add writes the next entry.
func (l *ledger) add(ctx context.Context) (entry, error) {
	e := l.next
	text, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	if err := l.fence.write(ctx, l.subject, text); err != nil {
		return e, err
	}
	l.next.N++
	return e, nil
}
