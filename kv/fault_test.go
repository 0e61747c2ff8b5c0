package kv_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/policy"
)

// scripted answers on subject with answers, one after the other, the last one
// for ever, and records what was asked.
type scripted struct {
	mu       sync.Mutex
	answers  []string
	requests []*nats.Msg
}

func script(t *testing.T, nc *nats.Conn, subject string, answers ...string) *scripted {
	t.Helper()
	s := &scripted{answers: answers}
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, m)
		answer := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		if answer != "" {
			_ = m.Respond([]byte(answer)) // the test sees that nothing came
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// The answers of a server to a write, and what they mean. The server here has
// no JetStream: it is the alternate one, played by the test.
func TestOutcomesOfAnswers(t *testing.T) {
	const (
		many     = -1
		ack      = `{"stream":"KV_regent_test","seq":7}`
		conflict = `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"KV_regent_test","seq":0}`
		busy     = `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}`
		twice    = `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}`
		nothing  = `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
		// hdrs: Nats-Msg-Id: mine, and Nats-Msg-Id: other
		mine  = `{"message":{"subject":"$KV.regent_test.app.app","seq":4,"hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBtaW5lDQoNCg==","data":"e30="}}`
		other = `{"message":{"subject":"$KV.regent_test.app.app","seq":4,"hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBvdGhlcg0KDQo=","data":"e30="}}`
	)
	tests := []struct {
		name    string
		write   []string
		read    string
		outcome policy.Outcome
		rev     policy.Revision
		err     error
		sent    int
	}{
		{"acknowledged", []string{ack}, "", policy.OutcomeOK, 7, nil, 1},
		{"repetition", []string{`{"stream":"KV_regent_test","seq":7,"duplicate":true}`}, "", policy.OutcomeOK, 7, nil, 1},
		{"busy, then acknowledged", []string{busy, busy, ack}, "", policy.OutcomeOK, 7, nil, 3},
		{"the same in process, then acknowledged", []string{twice, ack}, "", policy.OutcomeOK, 7, nil, 2},
		{"refused", []string{conflict}, other, policy.OutcomeRefused, 0, nil, 1},
		{"refused by a leader of the past, applied by its successor", []string{conflict, ack}, nothing, policy.OutcomeOK, 7, nil, 2},
		{"refused by leaders of the past alone", []string{conflict}, nothing, policy.OutcomeUnknown, 0, kv.ErrNoAnswer, many},
		{"refused as a repetition", []string{conflict}, mine, policy.OutcomeOK, 4, nil, 1},
		{"refused, perhaps as a repetition", []string{conflict}, "", policy.OutcomeUnknown, 0, kv.ErrNoAnswer, 1},
		{"not answered", []string{""}, "", policy.OutcomeUnknown, 0, kv.ErrNoAnswer, 1},
		{"no leader", []string{`{"error":{"code":503,"err_code":10008,"description":"unavailable"}}`}, "", policy.OutcomeUnknown, 0, kv.ErrNoQuorum, 1},
		{"no room", []string{`{"error":{"code":500,"err_code":10047,"description":"full"}}`}, "", policy.OutcomeUnknown, 0, kv.ErrNoSpace, 1},
		{"unheard of", []string{`{"error":{"code":500,"err_code":10999,"description":"?"}}`}, "", policy.OutcomeUnknown, 0, kv.ErrRejected, 1},
		{"garbage", []string{`x`}, "", policy.OutcomeUnknown, 0, kv.ErrNoAnswer, 1},
		{"empty", []string{`{}`}, "", policy.OutcomeUnknown, 0, kv.ErrNoAnswer, 1},
		{"by another stream", []string{`{"stream":"OTHER","seq":7}`}, "", policy.OutcomeUnknown, 0, kv.ErrNoAnswer, 1},
	}
	usual := connect(t, []*server.Server{startServer(t)})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alt := connect(t, []*server.Server{startServer(t, func(o *server.Options) { o.JetStream = false })})
			s := open(t, usual, func(o *kv.Options) { o.Alternate = func() *nats.Conn { return alt } })
			writes := script(t, alt, "$KV.regent_test.app.app", tt.write...)
			script(t, alt, "$JS.API.STREAM.MSG.GET.KV_regent_test", tt.read)
			w := appWrite("app", 1, 3, "mine")
			w.Alt = true
			rev, outcome, err := s.CAS(short(t), w)
			if outcome != tt.outcome || rev != tt.rev || !errors.Is(err, tt.err) {
				t.Errorf("%v at %d, %v, expected %v at %d, %v", outcome, rev, err, tt.outcome, tt.rev, tt.err)
			}
			checkRequests(t, writes, tt.sent)
		})
	}
}

// checkRequests demands n requests, all alike; several, if n is negative.
func checkRequests(t *testing.T, s *scripted, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= 0 && len(s.requests) != n || n < 0 && len(s.requests) < 2 {
		t.Errorf("%d requests, expected %d", len(s.requests), n)
	}
	want := nats.Header{"Nats-Expected-Last-Subject-Sequence": {"3"}, "Nats-Msg-Id": {"mine"}}
	for _, m := range s.requests {
		if !maps.EqualFunc(m.Header, want, func(a, b []string) bool { return strings.Join(a, ",") == strings.Join(b, ",") }) {
			t.Errorf("headers %v, expected %v", m.Header, want)
		}
	}
}

// proxy stands between a store and the JetStream API: answers to verb, which
// a store reaches below the prefix FAKE, pass through change.
func proxy(t *testing.T, servers []*server.Server, change func(verb string, answer []byte) []byte) {
	t.Helper()
	nc := connect(t, servers)
	_, err := nc.Subscribe("FAKE.>", func(m *nats.Msg) {
		verb := strings.TrimPrefix(m.Subject, "FAKE.")
		request := &nats.Msg{Subject: "$JS.API." + verb, Data: m.Data, Header: m.Header}
		if strings.HasPrefix(verb, "$KV.") { // a write, as in another domain
			request.Subject = verb
		}
		answer, err := nc.RequestMsg(request, patience)
		if err != nil {
			return // the store runs into its timeout
		}
		_ = m.Respond(change(verb, answer.Data))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A leader that was cut off goes on answering reads, from its own past. What
// it says must not look like a bucket that went back.
func TestTheStateOfACutOffLeaderIsNoSnapshot(t *testing.T) {
	servers := []*server.Server{startServer(t)}
	var mu sync.Mutex
	var old []byte // the answer of the leader that was cut off
	cut := false
	proxy(t, servers, func(verb string, answer []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !strings.HasPrefix(verb, "STREAM.INFO."):
			return answer
		case cut && old != nil:
			return old
		}
		old = answer
		return answer
	})
	s := open(t, connect(t, servers), func(o *kv.Options) { o.APIPrefix = "FAKE" })
	w := watched(t, s)
	mu.Lock()
	cut = true
	mu.Unlock()
	rev := put(t, s, appWrite("app", 1, 0, "1"))
	w.Await(t, "doubt", func(o kvtest.Observed) bool {
		return strings.Contains(o.Lost, "what answers is at")
	})
	mu.Lock()
	cut = false
	mu.Unlock()
	w.Await(t, "the change", sees("app", rev))
	if o := w.Now(); o.Seq < rev {
		t.Errorf("the picture went back to %d", o.Seq)
	}
}

func TestStreamInfoWithoutALeaderIsNoAnswerOfTheLeader(t *testing.T) {
	servers := []*server.Server{startServer(t)}
	leaderless := false
	var mu sync.Mutex
	proxy(t, servers, func(verb string, answer []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if !leaderless || !strings.HasPrefix(verb, "STREAM.INFO.") {
			return answer
		}
		var info map[string]any
		if err := json.Unmarshal(answer, &info); err != nil {
			return answer
		}
		info["cluster"] = map[string]any{"name": "test"}
		changed, err := json.Marshal(info)
		if err != nil {
			return answer
		}
		return changed
	})
	s := open(t, connect(t, servers), func(o *kv.Options) { o.APIPrefix = "FAKE" })
	mu.Lock()
	leaderless = true
	mu.Unlock()
	if q, err := s.Quorum(t.Context()); q.OK || q.Servers != 1 || !errors.Is(err, kv.ErrNoQuorum) {
		t.Errorf("quorum without a leader: %+v, %v", q, err)
	}
}
