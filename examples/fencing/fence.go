package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errFenced means that a newer instance has raised the fence. What was to be
// written is not, and nothing ever will be by this instance.
var errFenced = errors.New("refused: a newer instance has raised the fence")

// fence is a subject of the stream that it protects. Its last message is the
// mark of the instance that may write. Every write names that message by its
// sequence, and the server stores it only if the mark is still the last one: it
// compares and stores in one step, so that nothing can come between.
type fence struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
	seq     uint64 // of this instance's mark
}

// mark is the content of a message on the fence.
type mark struct {
	Epoch uint64 `json:"epoch"`
	Node  string `json:"node"`
	ID    string `json:"id"` // of one attempt to raise it
}

// raise makes m the mark, once and for all of this instance's life: who has been
// refused must not raise it again. It fails with errFenced if a higher epoch is
// there. One that is equal is replaced, too: it is from before a restart in
// place, and whatever is left of that must not write any more.
func raise(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, subject string, m mark) (*fence, error) {
	f := &fence{js: js, stream: s, subject: subject}
	m.ID = rand.Text()
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	for {
		last, seq, err := f.last(ctx)
		if err != nil {
			return nil, err
		}
		if last.ID == m.ID {
			f.seq = seq // an answer was lost, and the repeat was refused because of what it repeats
			return f, nil
		}
		if last.Epoch > m.Epoch {
			return nil, fmt.Errorf("%w (epoch %d at %s, this is %d)", errFenced, last.Epoch, last.Node, m.Epoch)
		}
		f.seq, err = f.store(ctx, subject, text, jetstream.WithExpectLastSequencePerSubject(seq))
		if !errors.Is(err, errFenced) {
			return f, err
		}
		// Another mark came between: look again whose it is.
	}
}

// last is the mark that is there, from the leader of the stream. It may be an
// old one all the same; then the compare-and-set on its sequence is refused.
func (f *fence) last(ctx context.Context) (m mark, seq uint64, err error) {
	var msg *jetstream.RawStreamMsg
	err = insist(ctx, func(once context.Context) error {
		msg, err = f.stream.GetLastMsgForSubject(once, f.subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			msg, err = &jetstream.RawStreamMsg{Data: []byte("{}")}, nil
		}
		return err
	})
	if err != nil {
		return m, 0, fmt.Errorf("read the fence: %w", err)
	}
	return m, msg.Sequence, json.Unmarshal(msg.Data, &m)
}

// insist tries something that changes nothing again until it succeeds or ctx
// ends: a failover of the app is often one of the stream's leader, too.
func insist(ctx context.Context, try func(once context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, answerMax)
		err := try(once)
		cancel()
		if err == nil || !sleep(ctx, silentPause) {
			return err
		}
	}
}

// write stores a message, if this instance's mark still is the last one; else
// the error is errFenced.
func (f *fence) write(ctx context.Context, subject string, data []byte) error {
	_, err := f.store(ctx, subject, data, jetstream.WithExpectLastSequenceForSubject(f.seq, f.subject))
	return err
}

// Pauses of store: after the server was busy with another write of the kind, and
// after it did not answer.
const (
	busyPause   = 5 * time.Millisecond
	silentPause = 100 * time.Millisecond
	answerMax   = 2 * time.Second
)

// store sends one message until its outcome is known, or ctx ends. A message
// without an answer may have been stored: it is sent again as it was, and its id
// lets the server answer for the first instead of storing it twice.
func (f *fence) store(ctx context.Context, subject string, data []byte, expect jetstream.PublishOpt) (seq uint64, err error) {
	id := jetstream.WithMsgID(rand.Text())
	for {
		once, cancel := context.WithTimeout(ctx, answerMax)
		ack, err := f.js.PublishMsg(once, &nats.Msg{Subject: subject, Data: data}, id, expect)
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		pause := silentPause
		if api, answered := errors.AsType[*jetstream.APIError](err); answered {
			switch api.ErrorCode {
			case jetstream.JSErrCodeStreamWrongLastSequence:
				return 0, errFenced
			case jetstream.JSErrCodeStreamWrongLastSequenceConstant, errCodeInProcess:
				pause = busyPause
			default:
				return 0, fmt.Errorf("write to %s: %w", subject, err)
			}
		}
		if !sleep(ctx, pause) {
			return 0, fmt.Errorf("write to %s: unknown whether it was stored: %w", subject, err)
		}
	}
}

// errCodeInProcess is the server's answer to a repeat of a message that it has
// begun to store.
const errCodeInProcess jetstream.ErrorCode = 10158

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
