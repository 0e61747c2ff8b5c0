package service

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Errors of a Client, beside *Error.
var (
	// ErrNoNode: nobody listens under that name. Nothing was done.
	ErrNoNode = errors.New("node is not connected")

	// ErrUnanswered: the request was sent and no answer came: ctx was done, the
	// node went away, or our connection broke. It may be done, or not.
	ErrUnanswered = errors.New("no answer: it may have been done or not")
)

// Client asks the nodes of a cluster.
type Client struct {
	Conn    *nats.Conn
	Cluster bus.Cluster
}

// Call asks node n to do a verb, and decodes the answer into reply unless that
// is nil. It waits as long as ctx allows and the node is there: nodes answer
// pings ([bus.Bus.AnswerPings]), and when they stop to, so does the wait.
//
// Errors: *Error as the node sent it, ErrNoNode, ErrUnanswered.
func (c Client) Call(ctx context.Context, n node.Name, verb string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if request == nil {
		body = []byte(`{}`)
	}
	msg, err := c.ask(ctx, n, verb, body)
	if err != nil {
		return fmt.Errorf("%s on %s: %w", verb, n, err)
	}
	if err := replyError(msg); err != nil {
		return err
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(msg.Data, reply); err != nil {
		return fmt.Errorf("%s on %s: decode reply: %w", verb, n, err)
	}
	return nil
}

// ask sends a request and waits for the reply, watching the node meanwhile.
func (c Client) ask(ctx context.Context, n node.Name, verb string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := c.watch(ctx, n); err != nil {
			cancel(err)
		}
	}()
	msg, err := c.Conn.RequestWithContext(ctx, c.Cluster.API(n, verb), body)
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	switch {
	case err == nil:
		return msg, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNoNode
	case cause != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnanswered, cause)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, err // there is no connection: not sent
	}
	return nil, fmt.Errorf("%w: %w", ErrUnanswered, err)
}

// watchEvery is the time between two looks at a node that was asked, and how
// long one look may take. A short call never looks.
const watchEvery = time.Second

// missesMax is how many pings in a row nobody receives before a node counts as
// gone: while it reconnects to another server, one may.
const missesMax = 2

// What a watch can find.
var (
	errWentAway  = errors.New("the node went away")
	errRestarted = errors.New("the node was restarted")
	errCut       = errors.New("our connection to NATS broke meanwhile")
)

// watch returns when ctx is done (nil), or when no answer can be expected any
// more.
func (c Client) watch(ctx context.Context, n node.Name) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	reconnects := c.Conn.Stats().Reconnects
	var first []byte
	for misses := 0; misses < missesMax; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		pong, err := c.ping(ctx, n)
		switch {
		case c.Conn.Stats().Reconnects != reconnects:
			return errCut // the answer may have come while we were away
		case errors.Is(err, nats.ErrNoResponders):
			misses++
		case err == nil && first != nil && !bytes.Equal(first, pong):
			return errRestarted // a pong names the agent
		case err == nil:
			first, misses = pong, 0
		}
	}
	return errWentAway
}

func (c Client) ping(ctx context.Context, n node.Name) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	msg, err := c.Conn.RequestWithContext(ctx, c.Cluster.Ping(n), nil)
	if err != nil {
		return nil, err
	}
	return msg.Data, nil
}

// Instance is one node's service.
type Instance struct {
	ID      string // of the instance, for "nats micro"
	Node    node.Name
	Session policy.Session
	Version string
}

// Limits of Discover.
const (
	discoverQuiet = 300 * time.Millisecond // without another answer: that was all
	discoverMax   = 10_000                 // answers
)

// Discover asks who is there, and returns the nodes of the cluster that
// answered, sorted by name. It ends when no other answers come, or with ctx,
// which is then no error: who was found is returned.
func (c Client) Discover(ctx context.Context) ([]Instance, error) {
	subject, err := micro.ControlSubject(micro.InfoVerb, Name, "")
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	inbox := c.Conn.NewInbox()
	sub, err := c.Conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone
	if err := c.Conn.PublishRequest(subject, inbox, nil); err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	return c.collect(ctx, sub)
}

func (c Client) collect(ctx context.Context, sub *nats.Subscription) ([]Instance, error) {
	var found []Instance
	for range discoverMax {
		msg, err := nextWithin(ctx, sub, discoverQuiet)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("discover: %w", err)
		}
		if i, ok := c.instance(msg.Data); ok {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(found), nil
}

func nextWithin(ctx context.Context, sub *nats.Subscription, d time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// instance reads an answer. Services of other clusters share the name, and
// anybody may answer anything.
func (c Client) instance(data []byte) (Instance, bool) {
	var info micro.Info
	if json.Unmarshal(data, &info) != nil || info.Name != Name || info.Metadata[MetaCluster] != string(c.Cluster) {
		return Instance{}, false
	}
	n, err := node.Parse(info.Metadata[MetaNode])
	if err != nil {
		return Instance{}, false
	}
	return Instance{
		ID: info.ID, Node: n, Session: policy.Session(info.Metadata[MetaSession]), Version: info.Metadata[MetaVersion],
	}, true
}
