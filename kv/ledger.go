package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Event is one transition. Nothing is decided by it; it is for people, and to
// prove afterwards what happened.
type Event struct {
	Schema int          `json:"schema"` // 1
	Time   time.Time    `json:"time"`
	Seq    uint64       `json:"seq"` // in the stream; given by Append's server
	Type   EventType    `json:"type"`
	App    policy.App   `json:"app"`
	Node   node.Name    `json:"node"`
	From   node.Name    `json:"from"`
	Epoch  policy.Epoch `json:"epoch"`
	Detail string       `json:"detail"`

	// What makes the stream evidence, where it is known.
	Session policy.Session `json:"session,omitempty"` // whose right it is about
	Claim   policy.Nonce   `json:"claim,omitempty"`   // nonce of the claim
	Run     uint64         `json:"run,omitempty"`     // the instance, of those of this life
	Op      string         `json:"op,omitempty"`      // row of the protocol that was acknowledged
	By      node.Name      `json:"by,omitempty"`      // who wrote this
	Life    policy.Nonce   `json:"life,omitempty"`    // and in which life
	N       uint64         `json:"n,omitempty"`       // counts the events of that life from 1
	Lost    uint64         `json:"lost,omitempty"`    // so many events of that life before this one had no room anywhere
	Clock   string         `json:"clock,omitempty"`   // which clock mono and sent are of
	Mono    int64          `json:"mono,omitempty"`    // when it was learned, nanoseconds of that clock
	Sent    int64          `json:"sent,omitempty"`    // when what was acknowledged was sent
}

// EventType is what happened.
type EventType string

// The types of events.
const (
	NodeSyncing    EventType = "node_syncing"
	NodeUp         EventType = "node_up"
	NodeSuspect    EventType = "node_suspect"
	NodeDown       EventType = "node_down"
	NodeLeft       EventType = "node_left"
	AppStarting    EventType = "app_starting"
	AppStarted     EventType = "app_started"
	AppStartFailed EventType = "app_start_failed"
	AppStopping    EventType = "app_stopping"
	AppStopped     EventType = "app_stopped"
	AppExited      EventType = "app_exited"
	Failover       EventType = "failover"
	Takeover       EventType = "takeover"
	Claimed        EventType = "claimed"
	Fenced         EventType = "fenced"
	Certified      EventType = "certified"
	DoubleOwner    EventType = "double_owner"
	Permit         EventType = "permit"
	Drain          EventType = "drain"
	Undrain        EventType = "undrain"
	Pause          EventType = "pause"
	Resume         EventType = "resume"
	Config         EventType = "config"
)

const (
	eventSchema   = 1
	eventMaxAge   = 30 * 24 * time.Hour
	eventMaxBytes = 64 << 20
	eventMaxSize  = 64 << 10
	eventBatch    = 256             // events per request
	eventPoll     = 2 * time.Second // between two looks for what no message announced
)

// Ledger is the event stream of one cluster. Its methods may be called from
// any goroutine.
type Ledger struct {
	store  *Store
	stream string
	prefix string // of subjects: "regent.CLUSTER.event."
}

// OpenLedger creates the event stream beside the bucket of s, with as many
// replicas, or finds it. It goes on trying and fails as Open does.
func OpenLedger(ctx context.Context, s *Store) (*Ledger, error) {
	l := ledgerOf(s)
	if err := s.persist(ctx, func(bool) error { return l.createOrCheck(ctx) }); err != nil {
		return nil, fmt.Errorf("open event stream %q: %w", l.stream, err)
	}
	return l, nil
}

// BindLedger is OpenLedger for those who only read: it creates nothing, and
// without a stream Read fails with ErrNoBucket.
func BindLedger(s *Store) *Ledger { return ledgerOf(s) }

func ledgerOf(s *Store) *Ledger {
	return &Ledger{store: s, stream: s.bucket + "_events", prefix: "regent." + s.opts.Cluster + ".event."}
}

func (l *Ledger) createOrCheck(ctx context.Context) error {
	err := l.check(ctx)
	if !errors.Is(err, ErrNoBucket) {
		return err
	}
	if err := l.store.create(ctx, l.config()); err != nil && !errors.Is(err, errInUse) {
		return err
	}
	return l.check(ctx)
}

// check accepts other limits: they are the operator's to change.
func (l *Ledger) check(ctx context.Context) error {
	info, err := l.store.api.info(ctx, l.stream, "")
	if err != nil {
		return err
	}
	got, want := fmt.Sprint(info.Config.Subjects), fmt.Sprint(l.config().Subjects)
	switch {
	case got != want:
		return fmt.Errorf("%w: subjects is %s, expected %s", ErrForeignBucket, got, want)
	case !info.Config.AllowDirect:
		return fmt.Errorf("%w: allow_direct is false, expected true", ErrForeignBucket)
	}
	return nil
}

// config lets any replica answer reads, which is quick and may be a little
// behind: unlike the bucket nothing is decided by this stream.
func (l *Ledger) config() jetstream.StreamConfig {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return jetstream.StreamConfig{
		Name:              l.stream,
		Description:       "regent cluster " + l.store.opts.Cluster + ": history of transitions",
		Subjects:          []string{l.prefix + ">"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgs:           -1,
		MaxBytes:          eventMaxBytes,
		MaxAge:            eventMaxAge,
		MaxConsumers:      -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        eventMaxSize,
		Storage:           jetstream.FileStorage,
		Replicas:          cmp.Or(l.store.replicas, 1),
		Duplicates:        dedupe,
		AllowDirect:       true,
	}
}

// Append adds e, once for any number of calls with the same id within two
// minutes, and returns its sequence. After an error it may have been added.
func (l *Ledger) Append(ctx context.Context, e Event, id string) (uint64, error) {
	e.Schema, e.Seq, e.Time = eventSchema, 0, e.Time.UTC()
	body, err := encodeJSON(eventJSON{Event: e, Seq: nil})
	if err != nil {
		return 0, fmt.Errorf("append event: %w", err)
	}
	msg := nats.NewMsg(l.prefix + string(e.Type) + "." + nameToken(e))
	msg.Data = body
	if id != "" {
		msg.Header.Set(jetstream.MsgIDHeader, id)
	}
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	seq, err := publish(ctx, l.store.api.nc, l.stream, msg)
	if err != nil {
		return 0, fmt.Errorf("append event: %w", err)
	}
	return seq, nil
}

// eventJSON leaves out the sequence, which only the stream knows.
type eventJSON struct {
	Event
	Seq *uint64 `json:"seq,omitempty"`
}

// nameToken is the last part of an event's subject: its app, else its node.
func nameToken(e Event) string {
	return cmp.Or(node.Token(string(e.App)), node.Token(string(e.Node)), "_")
}

// EventFilter selects events; zero fields select all.
type EventFilter struct {
	Since time.Time // by the clock of the server that stored it
	App   policy.App
	Node  node.Name // it happened there, or came from there
}

func (f EventFilter) match(e Event) bool {
	return (f.App == "" || e.App == f.App) && (f.Node == "" || e.Node == f.Node || e.From == f.Node)
}

// Read calls each with the selected events, oldest first, until there are no
// more or each returns an error, which Read returns. An entry that is no event
// is passed over.
func (l *Ledger) Read(ctx context.Context, f EventFilter, each func(Event) error) error {
	r := l.reader(f)
	if err := r.readAll(ctx, each); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return nil
}

// Follow is Read that then waits for more, and goes on through outages, until
// the context ends or each returns an error. It returns the cause.
func (l *Ledger) Follow(ctx context.Context, f EventFilter, each func(Event) error) error {
	news := make(chan *nats.Msg, 1) // only whether there is one matters
	sub, err := l.store.api.nc.ChanSubscribe(l.prefix+">", news)
	if err != nil {
		return fmt.Errorf("follow events: %w (%w)", ErrDisconnected, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	r := l.reader(f)
	for {
		err := r.readAll(ctx, each)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("follow events: %w", context.Cause(ctx))
		case err != nil && !isAny(err, []error{ErrNoAnswer, ErrDisconnected, ErrNoQuorum}):
			return fmt.Errorf("follow events: %w", err)
		}
		awaitNews(ctx, news)
	}
}

// awaitNews waits for a hint that there is more, and a moment longer: it is
// heard before the stream has stored it. Without a hint it looks anyway.
func awaitNews(ctx context.Context, news <-chan *nats.Msg) {
	t := time.NewTimer(eventPoll)
	defer t.Stop()
	select {
	case <-news:
		_ = pause(ctx, retryPause) // the caller looks at ctx
	case <-t.C:
	case <-ctx.Done():
	}
}

// eventReader reads the stream in batches from next on.
type eventReader struct {
	ledger  *Ledger
	filter  EventFilter
	subject string
	next    uint64 // 0: not begun
}

func (l *Ledger) reader(f EventFilter) *eventReader {
	subject := l.prefix + ">"
	if f.App != "" {
		subject = l.prefix + "*." + node.Token(string(f.App))
	}
	return &eventReader{ledger: l, filter: f, subject: subject}
}

func (r *eventReader) readAll(ctx context.Context, each func(Event) error) error {
	for {
		n, err := r.batch(ctx, each)
		if err != nil || n < eventBatch {
			return err
		}
	}
}

// batchRequest asks any replica for several messages (direct get).
type batchRequest struct {
	Batch   int        `json:"batch"`
	Subject string     `json:"next_by_subj"`
	Seq     uint64     `json:"seq,omitempty"`
	Start   *time.Time `json:"start_time,omitempty"`
}

func (r *eventReader) request() batchRequest {
	q := batchRequest{Batch: eventBatch, Subject: r.subject, Seq: r.next}
	if r.next == 0 {
		if r.filter.Since.IsZero() {
			q.Seq = 1
		} else {
			q.Start = &r.filter.Since
		}
	}
	return q
}

// batch handles up to eventBatch messages and returns how many there were.
func (r *eventReader) batch(ctx context.Context, each func(Event) error) (n int, err error) {
	api := r.ledger.store.api
	if !api.nc.IsConnected() {
		return 0, ErrDisconnected
	}
	body, err := json.Marshal(r.request())
	if err != nil {
		return 0, err
	}
	inbox := api.nc.NewInbox()
	sub, err := api.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, fmt.Errorf("%w (%w)", ErrDisconnected, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	subject := api.prefix + ".DIRECT.GET." + r.ledger.stream
	if err := api.nc.PublishRequest(subject, inbox, body); err != nil {
		return 0, fmt.Errorf("%w (%w)", ErrDisconnected, err)
	}
	for {
		msg, err := r.nextReply(ctx, sub, subject)
		if err != nil {
			return n, err
		}
		if status := msg.Header.Get("Status"); status != "" {
			return n, ended(status, msg.Header.Get("Description"))
		}
		n++
		if err := r.take(msg, each); err != nil {
			return n, err
		}
	}
}

// nextReply waits for one message of a batch. That nobody listens may mean
// that there is no stream: the API knows.
func (r *eventReader) nextReply(ctx context.Context, sub *nats.Subscription, subject string) (*nats.Msg, error) {
	api := r.ledger.store.api
	wait, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	msg, err := sub.NextMsgWithContext(wait)
	if err == nil {
		return msg, nil
	}
	if errors.Is(err, nats.ErrNoResponders) {
		if _, err := api.info(ctx, r.ledger.stream, ""); err != nil {
			return nil, err
		}
	}
	return nil, fromConn(api.nc, subject, ErrNoQuorum, err)
}

// ended gives the status that ends a batch its meaning: 204 end of batch, 404
// nothing (more) to read.
func ended(status, why string) error {
	if status == "204" || status == "404" {
		return nil
	}
	return fmt.Errorf("%w: %s %s", ErrRejected, status, why)
}

func (r *eventReader) take(msg *nats.Msg, each func(Event) error) error {
	seq, err := strconv.ParseUint(lastOf(msg.Header, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: no sequence in it", errUnclear)
	}
	r.next = seq + 1
	var e Event
	if json.Unmarshal(msg.Data, &e) != nil || e.Schema < 1 || e.Type == "" {
		return nil
	}
	e.Seq = seq
	if !r.filter.match(e) {
		return nil
	}
	return each(e)
}
