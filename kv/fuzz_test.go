package kv

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
)

// FuzzEvent: what stands in the history is an event or is passed over; it is
// numbered by the stream and never by itself.
func FuzzEvent(f *testing.F) {
	for _, text := range []string{
		`{"schema":1,"time":"2026-01-02T03:04:05Z","seq":7,"type":"claimed","app":"a","node":"n@h","from":"m@h","epoch":3}`,
		`{"schema":2,"type":"x","epoch":-1}`, `{"schema":0,"type":"x"}`, `{}`, `[]`, ``,
	} {
		f.Add("12", text)
	}
	f.Add("-1", "{}")
	f.Fuzz(func(t *testing.T, seq, text string) {
		msg := nats.NewMsg("x")
		msg.Header.Set(jetstream.SequenceHeader, seq)
		msg.Data = []byte(text)
		for _, filter := range []EventFilter{{}, {App: "a"}, {Node: "n@h"}} {
			r := eventReader{filter: filter}
			err := r.take(msg, func(e Event) error {
				if e.Schema < 1 || e.Type == "" || e.Seq+1 != r.next || !filter.match(e) {
					t.Errorf("%q: %+v", text, e)
				}
				return nil
			})
			if err != nil && !errors.Is(err, errUnclear) {
				t.Error(err)
			}
		}
	})
}

// FuzzRepublished: whatever a client publishes below the republished subjects,
// only what the stream has added names a key.
func FuzzRepublished(f *testing.F) {
	f.Add("$KV.regent_c.app.a", "5", "KV_regent_c", "")
	f.Add("$KV.regent_c.", "0", "KV_regent_c", "PURGE")
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, subject, seq, stream, op string) {
		s := newStore(nil, Options{Cluster: "c", Node: "n"})
		m := nats.NewMsg("x")
		m.Header[jetstream.SubjectHeader] = []string{"$KV.other.app.b", subject}
		m.Header[jetstream.SequenceHeader] = []string{"1", seq}
		m.Header[jetstream.StreamHeader] = []string{stream}
		m.Header.Set("KV-Operation", op)
		key, rev, ok := s.parseRepublished(m)
		if ok && (rev == 0 || stream != s.stream || !strings.HasPrefix(subject, s.prefix)) {
			t.Errorf("%q %q %q: %q at %d", subject, seq, stream, key, rev)
		}
		k, isCell := keyOf(key)
		if !isCell {
			return
		}
		if c := republishedCell(k, rev, m); c.Key != k || c.Rev != rev || c.Damaged == "" {
			t.Errorf("nothing was read as %+v", c)
		}
		if k.String() != key {
			t.Errorf("%q is the key of %v, whose key is %q", key, k, k)
		}
	})
}

// FuzzReply: an answer of JetStream is understood, is an error of its own, or is
// unclear.
func FuzzReply(f *testing.F) {
	for _, text := range []string{`{"error":{"code":400,"err_code":10071,"description":"x"}}`, `{"stream":"s","seq":4}`, `{"error":{}}`, `{"error":7}`, ``} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ack struct {
			Seq policy.Revision `json:"seq"`
		}
		if err := decodeReply([]byte(text), &ack); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
