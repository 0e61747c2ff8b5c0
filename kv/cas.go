package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
)

// busyPause is how long a write that was refused only because another one of
// its key had not quite finished waits before it is sent again. The server
// forgets the other one within a few milliseconds.
const busyPause = 5 * time.Millisecond

// stalePause is likewise for a write that was refused by somebody who knows
// less than whoever sent it.
const stalePause = 20 * time.Millisecond

// requestMax limits requests whose context has no nearer end.
const requestMax = 5 * time.Second

// CAS makes w.Cell the value of its key if the key's last revision is exactly
// w.Expect. With OutcomeOK the revision is that of the write, also when an
// identical request had been applied before. OutcomeUnknown comes with the
// reason: ErrNoAnswer, ErrDisconnected, ErrNoQuorum (nothing listened),
// ErrNoSpace, ErrTooLarge, ErrNoRecord and so on; of these only ErrTooLarge
// and ErrNoRecord say that nothing was sent. The other outcomes have no error.
func (s *Store) CAS(ctx context.Context, w policy.Write) (policy.Revision, policy.Outcome, error) {
	value, err := encode(w.Cell)
	if err != nil {
		return 0, policy.OutcomeUnknown, err
	}
	return s.write(ctx, s.connFor(w), w.Cell.Key.String(), value, &w.Expect, w.ID)
}

// CASKey is CAS for a key that is not a cell, with any value.
func (s *Store) CASKey(ctx context.Context, key string, value []byte, expect policy.Revision, id string) (policy.Revision, policy.Outcome, error) {
	return s.write(ctx, s.api.nc, key, value, &expect, id)
}

// Probe writes to a key of its own. Its acknowledgement is the only proof that
// the store works: a stream can be wedged while its state looks healthy, and a
// leader that was cut off still answers reads. The revision is later than that
// of every write acknowledged before Probe was called.
func (s *Store) Probe(ctx context.Context) (policy.Revision, error) {
	value, err := encodeJSON(struct {
		By string `json:"by"`
		V  int    `json:"v"`
	}{s.opts.Node, recordVersion})
	if err != nil {
		return 0, err
	}
	rev, _, err := s.write(ctx, s.api.nc, probeKey, value, nil, uuid.NewString())
	return rev, err
}

func (s *Store) connFor(w policy.Write) *nats.Conn {
	if w.Alt && s.opts.Alternate != nil {
		if nc := s.opts.Alternate(); nc != nil {
			return nc
		}
	}
	return s.api.nc
}

// write publishes value to key. expect is the last revision asked for; nil
// asks for none.
func (s *Store) write(ctx context.Context, nc *nats.Conn, key string, value []byte, expect *policy.Revision, id string) (policy.Revision, policy.Outcome, error) {
	if len(value) > MaxValue {
		return 0, policy.OutcomeUnknown, fmt.Errorf("write %s: %w: %d bytes, at most %d", key, ErrTooLarge, len(value), MaxValue)
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	msg := nats.NewMsg(s.put + key)
	msg.Data = value
	if expect != nil {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(uint64(*expect), 10))
	}
	if id == "" {
		id = uuid.NewString()
	}
	msg.Header.Set(jetstream.MsgIDHeader, id)
	for {
		seq, err := publish(ctx, nc, s.stream, msg)
		if err == nil {
			return policy.Revision(seq), policy.OutcomeOK, nil
		}
		if errors.Is(err, errConflict) {
			var rev policy.Revision
			var outcome policy.Outcome
			if rev, outcome, err = s.superseded(ctx, nc, key, *expect, id); !errors.Is(err, errStale) {
				return rev, outcome, err
			}
		}
		if wait, again := sentAgain(err); !again || pause(ctx, wait) != nil {
			return 0, policy.OutcomeUnknown, fmt.Errorf("write %s: %w", key, err)
		}
	}
}

// sentAgain says after which answers the same message is sent once more, and
// when: those that say nothing of it yet.
func sentAgain(err error) (wait time.Duration, again bool) {
	switch {
	case errors.Is(err, errBusy):
		return busyPause, true
	case errors.Is(err, errStale):
		return stalePause, true
	}
	return 0, false
}

// superseded asks what stands in the place of a write that was refused: the
// first one of its key after the revision it expected. If there is one, the
// write has been applied there (a stream with one replica refuses a repetition)
// or never will be.
//
// If there is none, the refusal says nothing. A leader that was cut off still
// takes writes for a moment when it is back, until it hears of its successor,
// and so does the successor: the same message is refused by the one, for want of
// the revision it expects, and applied by the other.
func (s *Store) superseded(ctx context.Context, nc *nats.Conn, key string, expect policy.Revision, id string) (policy.Revision, policy.Outcome, error) {
	a := s.api
	a.nc = nc
	next, err := a.get(ctx, s.stream, getRequest{Next: s.prefix + key, Seq: expect + 1})
	switch {
	case err == nil && header(next.Header).Get(jetstream.MsgIDHeader) == id:
		return next.Seq, policy.OutcomeOK, nil
	case err == nil:
		return 0, policy.OutcomeRefused, nil
	case errors.Is(err, errNoMessage):
		return 0, policy.OutcomeUnknown, errStale
	}
	return 0, policy.OutcomeUnknown, fmt.Errorf("write %s: refused, perhaps as a repetition: %w", key, err)
}

// publish sends msg once and returns the sequence at which it is stored in
// stream.
func publish(ctx context.Context, nc *nats.Conn, stream string, msg *nats.Msg) (uint64, error) {
	reply, err := request(ctx, nc, msg, ErrNoQuorum)
	if err != nil {
		return 0, err
	}
	var ack jetstream.PubAck
	if err := decodeReply(reply.Data, &ack); err != nil {
		return 0, err
	}
	if ack.Stream != stream || ack.Sequence == 0 {
		return 0, fmt.Errorf("%w: acknowledged by stream %q", errUnclear, ack.Stream)
	}
	return ack.Sequence, nil
}

// Read returns the cell of key as the leader of the stream has it; one that
// doesn't exist has revision 0. Every error means that nothing was learned:
// ErrNoAnswer, ErrNoQuorum, ErrDisconnected, ErrNoBucket and so on.
func (s *Store) Read(ctx context.Context, key policy.Key) (policy.Cell, error) {
	msg, err := s.last(ctx, key.String())
	switch {
	case errors.Is(err, errNoMessage):
		return policy.Cell{Key: key}, nil
	case err != nil:
		return policy.Cell{}, err
	}
	return cellOf(key, msg), nil
}

// ReadKey is Read for a key that is not a cell. A key that is absent has
// revision 0; one that was deleted has a revision and no value.
func (s *Store) ReadKey(ctx context.Context, key string) ([]byte, policy.Revision, error) {
	msg, err := s.last(ctx, key)
	switch {
	case errors.Is(err, errNoMessage):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	case removed(header(msg.Header)) != "":
		return nil, msg.Seq, nil
	}
	return msg.Data, msg.Seq, nil
}

func (s *Store) last(ctx context.Context, key string) (stored, error) {
	msg, err := s.api.get(ctx, s.stream, getRequest{Last: s.prefix + key})
	if err != nil {
		return stored{}, fmt.Errorf("read %s: %w", key, err)
	}
	return msg, nil
}

func cellOf(key policy.Key, msg stored) policy.Cell {
	if why := removed(header(msg.Header)); why != "" {
		return damaged(key, msg.Seq, why)
	}
	return decode(key, msg.Seq, msg.Data)
}

// header reads stored headers; those that can't be read say nothing.
func header(raw []byte) nats.Header {
	h, err := nats.DecodeHeadersMsg(raw)
	if err != nil {
		return nil
	}
	return h
}

// removed tells the markers that KV clients and servers leave in place of a
// value that was deleted.
func removed(h nats.Header) (why string) {
	switch {
	case h.Get("KV-Operation") == "DEL":
		return "deleted"
	case h.Get("KV-Operation") == "PURGE":
		return "deleted (purged)"
	case h.Get(jetstream.MarkerReasonHeader) != "":
		return "deleted (" + h.Get(jetstream.MarkerReasonHeader) + ")"
	}
	return ""
}
