package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Name of the service.
const Name = "regent"

// Keys of an instance's metadata.
const (
	MetaNode    = "node"
	MetaCluster = "cluster"
	MetaSession = "session"
	MetaVersion = "version" // as the program says it; the service's own must be a semantic version
)

// Limits of a service.
const (
	requestMax  = 512 << 10 // bytes of one request: a specification of thousands of apps, which must fit into a record
	parallelMax = 256       // requests of one verb at a time; more are told to come again
)

// flushMax bounds the wait for a server that is slow or away.
const flushMax = time.Second

// Control does what a request asks for.
type Control interface {
	// Do answers a request that fits its verb. The reply is encoded as a JSON
	// object; nil is an empty one. It may block for long, and must return soon
	// after ctx is done. Errors with a meaning are an *Error or a
	// *machine.Refusal; another one is a fault of the node (CodeInternal).
	Do(ctx context.Context, verb string, request json.RawMessage) (reply any, err error)
}

// Options of a service.
type Options struct {
	Conn    *nats.Conn
	Cluster bus.Cluster
	Node    node.Name
	Session policy.Session // empty: none yet
	Version string
	Verbs   []Verb // nil: Verbs()
	Control Control
	Logger  *slog.Logger // nil: none
}

// Service is one node's instance.
type Service struct {
	o         Options
	endpoints []*endpoint

	ctx  context.Context // of all requests; ends with Stop
	end  context.CancelCauseFunc
	work sync.WaitGroup // requests being done

	mu      sync.Mutex
	stopped bool
	running micro.Service
}

// endpoint is one verb of the service.
type endpoint struct {
	verb  Verb
	slots chan struct{} // as many as may run at a time

	failed atomic.Uint64
	busy   atomic.Uint64
}

// errStopping is the cause for which requests end.
var errStopping = errors.New("the node is stopping")

// Start begins to answer.
func Start(o Options) (*Service, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Verbs == nil {
		o.Verbs = Verbs()
	}
	s := &Service{o: o}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	for _, v := range o.Verbs {
		s.endpoints = append(s.endpoints, &endpoint{verb: v, slots: make(chan struct{}, parallelMax)})
	}
	running, err := s.announce(o.Session)
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.running = running
	return s, nil
}

// announce adds an instance with these metadata.
func (s *Service) announce(session policy.Session) (micro.Service, error) {
	running, err := micro.AddService(s.o.Conn, s.config(session))
	if err != nil {
		return nil, fmt.Errorf("start service %q: %w", Name, err)
	}
	for _, e := range s.endpoints {
		subject := s.o.Cluster.API(s.o.Node, e.verb.Name)
		handler := micro.HandlerFunc(func(r micro.Request) { s.handle(e, r) })
		if err := running.AddEndpoint(e.verb.Name, handler, micro.WithEndpointSubject(subject)); err != nil {
			return nil, errors.Join(fmt.Errorf("endpoint %q: %w", e.verb.Name, err), running.Stop())
		}
	}
	return running, nil
}

func (s *Service) config(session policy.Session) micro.Config {
	return micro.Config{
		Name: Name, Version: semantic(s.o.Version), Description: "distributed applications: node " + string(s.o.Node),
		Metadata: map[string]string{
			MetaNode: string(s.o.Node), MetaCluster: string(s.o.Cluster),
			MetaSession: string(session), MetaVersion: s.o.Version,
		},
		StatsHandler: s.stats,
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			s.o.Logger.Warn("service", "subject", err.Subject, "cause", err.Description)
		},
	}
}

// SetSession changes what the metadata say, in the only way there is: a second
// instance is added before the first goes, so that no request is missed. What
// is being done goes on.
func (s *Service) SetSession(session policy.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopping
	}
	running, err := s.announce(session)
	if err != nil {
		return err
	}
	// The server must have the new instance before it hears that the old one
	// goes: of a request that it looked up before both, nobody would hear.
	if err := s.o.Conn.FlushTimeout(flushMax); err != nil {
		s.o.Logger.Debug("service", "cause", err)
	}
	old := s.running
	s.running = running
	return old.Stop()
}

// Stop refuses new requests, ends those being done, and returns when all have
// been answered.
func (s *Service) Stop() error {
	s.mu.Lock()
	s.stopped = true
	err := s.running.Stop()
	s.mu.Unlock()
	s.end(errStopping)
	s.work.Wait()
	return err
}

// handle runs on the goroutine of the endpoint's subscription and must not
// block: the next request waits for it.
//
// Work is answered by a message of our own and not through r, whose fields the
// library reads as soon as handle has returned.
func (s *Service) handle(e *endpoint, r micro.Request) {
	err := s.accept(e, r)
	if err == nil {
		return
	}
	failure := errorOf(err)
	e.failed.Add(1)
	if err := r.Error(strconv.Itoa(failure.Code), oneLine(failure.Description), errorReply("", failure).Data); err != nil {
		s.unanswered(e, err)
	}
}

// accept checks a request and begins to do it.
func (s *Service) accept(e *endpoint, r micro.Request) error {
	if len(r.Data()) > requestMax {
		return badRequest(fmt.Sprintf("the request has more than %d bytes", requestMax))
	}
	if err := e.verb.check(r.Data()); err != nil {
		return err
	}
	select {
	case e.slots <- struct{}{}:
	default:
		e.busy.Add(1)
		return &Error{CodeUnavailable, fmt.Sprintf("busy: %d requests of this kind are being done", parallelMax)}
	}
	if !s.begin(func() { s.do(e, r.Data(), r.Reply()) }) {
		<-e.slots
		return &Error{CodeUnavailable, errStopping.Error()}
	}
	return nil
}

// begin runs work on a goroutine that Stop waits for.
func (s *Service) begin(work func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.work.Go(work)
	}
	return !s.stopped
}

func (s *Service) do(e *endpoint, request []byte, replyTo string) {
	defer func() { <-e.slots }()
	reply, err := s.o.Control.Do(s.ctx, e.verb.Name, normal(request))
	if err != nil && s.ctx.Err() != nil {
		err = &Error{CodeUnavailable, errStopping.Error()}
	}
	s.answer(e, replyTo, reply, err)
}

func (s *Service) answer(e *endpoint, replyTo string, reply any, err error) {
	msg := nats.NewMsg(replyTo)
	if err == nil {
		msg.Data, err = encodeReply(reply)
	}
	if err != nil {
		e.failed.Add(1)
		msg = errorReply(replyTo, errorOf(err))
	}
	if replyTo == "" {
		return // nobody wants to know
	}
	err = s.o.Conn.PublishMsg(msg)
	if errors.Is(err, nats.ErrMaxPayload) {
		err = s.o.Conn.PublishMsg(errorReply(replyTo, &Error{CodeInternal, "the reply is larger than the NATS server carries"}))
	}
	if err != nil {
		s.unanswered(e, err)
	}
}

func (s *Service) unanswered(e *endpoint, err error) {
	s.o.Logger.Warn("request not answered", "verb", e.verb.Name, "cause", err)
}

// encodeReply writes a reply and puts the schema in front, unless it has one.
func encodeReply(reply any) ([]byte, error) {
	if reply == nil {
		reply = struct{}{}
	}
	data, err := json.Marshal(reply)
	if err != nil {
		return nil, fmt.Errorf("encode reply: %w", err)
	}
	var has struct{ Schema *int }
	if err := json.Unmarshal(data, &has); err != nil || !isObject(data) {
		return nil, fmt.Errorf("encode reply: %T is not a JSON object", reply)
	}
	if has.Schema != nil {
		return data, nil
	}
	head := fmt.Appendf(nil, `{"schema":%d`, Schema)
	if len(data) > len(`{}`) {
		head = append(head, ',')
	}
	return append(head, data[1:]...), nil
}

// stats is what "nats micro stats regent" shows beside the library's own
// counts, which end when a request has been handed on.
func (s *Service) stats(shown *micro.Endpoint) any {
	for _, e := range s.endpoints {
		if e.verb.Name == shown.Name {
			return struct {
				Active int    `json:"active"`
				Failed uint64 `json:"failed"`
				Busy   uint64 `json:"busy"`
			}{len(e.slots), e.failed.Load(), e.busy.Load()}
		}
	}
	return nil
}
