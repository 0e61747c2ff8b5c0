package kv

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
)

// api speaks the JetStream API over a plain connection: every request is one
// message and one answer, so that no client library repeats or hides anything.
type api struct {
	nc     *nats.Conn
	prefix string // "$JS.API", or that of a domain

	// attempt limits one request. Before a leader exists requests are not
	// answered at all, so that many short attempts are quicker than a long one.
	attempt time.Duration
}

// call makes one attempt: verb, a subject below the prefix, with req as JSON.
// The answer is decoded into resp.
func (a api) call(ctx context.Context, verb string, req, resp any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.attempt)
	defer cancel()
	subject := a.prefix + "." + verb
	msg, err := request(ctx, a.nc, &nats.Msg{Subject: subject, Data: body}, ErrNoJetStream)
	if err == nil {
		err = decodeReply(msg.Data, resp)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// request sends msg at once or not at all: what a connection buffers while it
// is down would be sent much later.
func request(ctx context.Context, nc *nats.Conn, msg *nats.Msg, nobody error) (*nats.Msg, error) {
	switch {
	case nc.IsClosed():
		return nil, fmt.Errorf("%w (%w)", ErrDisconnected, nats.ErrConnectionClosed)
	case !nc.IsConnected():
		return nil, ErrDisconnected
	}
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return nil, fromConn(nc, msg.Subject, nobody, err)
	}
	return reply, nil
}

func decodeReply(data []byte, resp any) error {
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &failed); err != nil {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	if failed.Error != nil {
		return fromAPI(failed.Error)
	}
	if err := json.Unmarshal(data, resp); err != nil {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	return nil
}

// info asks the stream's leader. subjects, if not empty, selects the subjects
// to list. While a clustered stream has no leader any replica may answer, with
// a state that may be old: that is ErrNoQuorum.
func (a api) info(ctx context.Context, stream, subjects string) (*jetstream.StreamInfo, error) {
	var resp struct {
		jetstream.StreamInfo
		Total int `json:"total"` // of the subjects, which come in pages
	}
	req := struct {
		Subjects string `json:"subjects_filter,omitempty"`
	}{subjects}
	if err := a.call(ctx, "STREAM.INFO."+stream, req, &resp); err != nil {
		return nil, err
	}
	if resp.Cluster != nil && resp.Cluster.Leader == "" {
		return nil, fmt.Errorf("STREAM.INFO.%s: %w", stream, ErrNoQuorum)
	}
	if listed := len(resp.State.Subjects); resp.Total > listed {
		return nil, fmt.Errorf("STREAM.INFO.%s: %w: %d keys, more than the %d of one answer", stream, ErrRejected, resp.Total, listed)
	}
	return &resp.StreamInfo, nil
}

// getRequest selects one stored message: the last of a subject, or the first
// of a subject from a sequence on.
type getRequest struct {
	Last string          `json:"last_by_subj,omitempty"`
	Next string          `json:"next_by_subj,omitempty"`
	Seq  policy.Revision `json:"seq,omitempty"`
}

// stored is one message of a stream.
type stored struct {
	Subject string          `json:"subject"`
	Seq     policy.Revision `json:"seq"`
	Header  []byte          `json:"hdrs"`
	Data    []byte          `json:"data"`
}

// get reads one message through the stream's leader. It fails with
// errNoMessage if there is none.
func (a api) get(ctx context.Context, stream string, req getRequest) (stored, error) {
	var resp struct {
		Message *stored `json:"message"`
	}
	if err := a.call(ctx, "STREAM.MSG.GET."+stream, req, &resp); err != nil {
		return stored{}, err
	}
	if resp.Message == nil {
		return stored{}, fmt.Errorf("STREAM.MSG.GET.%s: %w: no message in it", stream, errUnclear)
	}
	return *resp.Message, nil
}
