package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

const testCluster bus.Cluster = "default"

// control is a Control made of a function.
type control func(ctx context.Context, verb string, request json.RawMessage) (any, error)

func (c control) Do(ctx context.Context, verb string, request json.RawMessage) (any, error) {
	return c(ctx, verb, request)
}

// startServer runs a real server until the test ends, and checks afterwards
// that nothing is left.
func startServer(t *testing.T) *server.Server {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	return s
}

func dial(t *testing.T, s *server.Server) *bus.Conn {
	t.Helper()
	c, err := bus.Dial(t.Context(), bus.Options{URLs: []string{s.ClientURL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve runs a node's service with a connection of its own.
func serve(t *testing.T, s *server.Server, n node.Name, c Control, change ...func(*Options)) (*Service, *bus.Conn) {
	t.Helper()
	conn := dial(t, s)
	o := Options{Conn: conn.NATS(), Cluster: testCluster, Node: n, Session: "s1", Version: "1.2.3", Control: c}
	for _, f := range change {
		f(&o)
	}
	stop, err := bus.New(conn, o.Cluster, n, "agent").AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	svc, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := svc.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if err := conn.NATS().Flush(); err != nil {
		t.Fatal(err)
	}
	return svc, conn
}

func client(t *testing.T, s *server.Server) Client {
	t.Helper()
	return Client{Conn: dial(t, s).NATS(), Cluster: testCluster}
}

// patient is a context that ends before a hanging test does.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func echo(_ context.Context, verb string, request json.RawMessage) (any, error) {
	return map[string]any{"verb": verb, "request": request}, nil
}

func TestEveryVerbReachesControl(t *testing.T) {
	s := startServer(t)
	serve(t, s, "a@h", control(echo))
	c := client(t, s)
	for _, tt := range []struct {
		verb    string
		request any
		want    string
	}{
		{VerbStatus, nil, `{}`},
		{VerbStatus, StatusRequest{}, `{}`},
		{VerbStart, StartRequest{App: "x"}, `{"app":"x"}`},
		{VerbStart, StartRequest{App: "x", Type: "permanent"}, `{"app":"x","type":"permanent"}`},
		{VerbStop, StopRequest{App: "x", All: true}, `{"app":"x","all":true}`},
		{VerbTakeover, TakeoverRequest{App: "x"}, `{"app":"x"}`},
		{VerbPermit, PermitRequest{App: "x", Permitted: new(false)}, `{"app":"x","permitted":false}`},
	} {
		var got struct {
			Schema  int
			Verb    string
			Request json.RawMessage
		}
		err := c.Call(patient(t), "a@h", tt.verb, tt.request, &got)
		if err != nil || got.Schema != Schema || got.Verb != tt.verb || string(got.Request) != tt.want {
			t.Errorf("%s %v: %+v (%s), %v", tt.verb, tt.request, got, got.Request, err)
		}
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	s := startServer(t)
	var mu sync.Mutex
	var fail error
	serve(t, s, "a@h", control(func(context.Context, string, json.RawMessage) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return nil, fail
	}))
	c := client(t, s)
	for _, tt := range []struct {
		err         error
		code        int
		description string
	}{
		{&Error{CodeUnavailable, "no quorum"}, 503, "no quorum"},
		{fmt.Errorf("start: %w", &Error{CodeUnknown, "no such node"}), 404, "no such node"},
		{&machine.Refusal{Kind: machine.RefuseAlreadyStarted, Reason: "x"}, 409, "already started: x"},
		{&machine.Refusal{Kind: machine.RefuseNotRunning}, 409, "not running distributed"},
		{&machine.Refusal{Kind: machine.RefuseNotLoaded}, 404, "not loaded"},
		{&machine.Refusal{Kind: machine.RefuseUndefined}, 404, "undefined app"},
		{&machine.Refusal{Kind: machine.RefuseBadType}, 400, "bad type"},
		{context.DeadlineExceeded, 503, "given up: context deadline exceeded"},
		{errors.New("disk\r\nNats-Service-Error-Code: 200\x1b"), 500, "disk  Nats-Service-Error-Code: 200"},
		{errors.New(""), 500, "no reason given"},
	} {
		mu.Lock()
		fail = tt.err
		mu.Unlock()
		err := c.Call(patient(t), "a@h", VerbStatus, nil, nil)
		got, ok := errors.AsType[*Error](err)
		if !ok || got.Code != tt.code || got.Description != tt.description {
			t.Errorf("%v came as %#v", tt.err, err)
		}
	}
}

// The nats command line shows headers and body.
func TestErrorOnTheWire(t *testing.T) {
	s := startServer(t)
	serve(t, s, "a@h", control(func(context.Context, string, json.RawMessage) (any, error) {
		return nil, &Error{CodeRefused, "already started: x"}
	}))
	nc := dial(t, s).NATS()
	for subject, want := range map[string][3]string{
		testCluster.API("a@h", VerbStart):  {"409", "already started: x", `{"app":"x"}`},
		testCluster.API("a@h", VerbPermit): {"400", `field "permitted" is missing`, `{"app":"x"}`},
	} {
		msg, err := nc.Request(subject, []byte(want[2]), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"schema":1,"code":%s,"error":%q}`, want[0], want[1])
		if msg.Header.Get(micro.ErrorCodeHeader) != want[0] || msg.Header.Get(micro.ErrorHeader) != want[1] || string(msg.Data) != body {
			t.Errorf("%s: %v %s", subject, msg.Header, msg.Data)
		}
	}
}

func TestBadRequestsNeverReachControl(t *testing.T) {
	s := startServer(t)
	serve(t, s, "a@h", control(func(_ context.Context, verb string, request json.RawMessage) (any, error) {
		t.Errorf("%s %s reached control", verb, request)
		return nil, nil
	}))
	nc := dial(t, s).NATS()
	for _, tt := range []struct{ verb, body, want string }{
		{VerbStart, ``, `"app" is missing`},
		{VerbStart, `{}`, `"app" is missing`},
		{VerbStart, `hello`, "not a JSON object"},
		{VerbStart, `["x"]`, "not a JSON object"},
		{VerbStart, `null`, "not a JSON object"},
		{VerbStart, "\x00\xff", "not a JSON object"},
		{VerbStart, `{"app":"x"`, "cut off"},
		{VerbStart, `{"app":"x"}{"app":"y"}`, "follows"},
		{VerbStart, `{"app":"x","colour":"red"}`, `"colour"`},
		{VerbStart, `{"app":7}`, `"app"`},
		{VerbStart, `{"app":"no.dots"}`, `'.' is not allowed`},
		{VerbStart, `{"app":"x","type":"eternal"}`, "eternal"},
		{VerbStop, `{"app":"x","all":"yes"}`, `"all"`},
		{VerbTakeover, `{"app":"x","to":"b@h"}`, `"to"`},
		{VerbPermit, `{"app":"x"}`, `"permitted"`},
		{VerbPermit, `{"app":"x","permitted":null}`, `"permitted"`},
		{VerbStatus, `{"app":"x"}`, `"app"`},
		{VerbStart, `{"app":"` + strings.Repeat("x", requestMax) + `"}`, "more than"},
		{VerbStart, strings.Repeat(`{"app":`, 5000), "cut off"},
	} {
		msg, err := nc.Request(testCluster.API("a@h", tt.verb), []byte(tt.body), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := errors.AsType[*Error](replyError(msg))
		if !ok || e.Code != CodeBadRequest || !strings.Contains(e.Description, tt.want) {
			t.Errorf("%s %.40s: %v", tt.verb, tt.body, replyError(msg))
		}
	}
}

// blocking is a Control whose starts last until its context ends.
type blocking struct{ entered chan struct{} }

func (b blocking) Do(ctx context.Context, verb string, _ json.RawMessage) (any, error) {
	if verb != VerbStart {
		return nil, nil
	}
	b.entered <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestBlockedStartsHoldNothingUp(t *testing.T) {
	s := startServer(t)
	b := blocking{make(chan struct{}, parallelMax)}
	svc, _ := serve(t, s, "a@h", b)
	c := client(t, s)
	ctx := patient(t)
	replies := make(chan error, parallelMax)
	for range parallelMax {
		go func() { replies <- c.Call(ctx, "a@h", VerbStart, StartRequest{App: "x"}, nil) }()
	}
	for range parallelMax {
		<-b.entered
	}
	if err := c.Call(ctx, "a@h", VerbStatus, nil, nil); err != nil {
		t.Errorf("status: %v", err)
	}
	err := c.Call(ctx, "a@h", VerbStart, StartRequest{App: "x"}, nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnavailable || !strings.Contains(e.Description, "busy") {
		t.Errorf("one too many: %v", err)
	}
	if stats := string(startStats(t, svc)); stats != `{"active":256,"failed":1,"busy":1}` {
		t.Errorf("stats %s", stats)
	}

	if err := svc.Stop(); err != nil {
		t.Fatal(err)
	}
	for range parallelMax {
		if e, ok := errors.AsType[*Error](<-replies); !ok || e.Code != CodeUnavailable || !strings.Contains(e.Description, "stopping") {
			t.Fatalf("a start that was cut short: %v", e)
		}
	}
}

func startStats(t *testing.T, svc *Service) json.RawMessage {
	t.Helper()
	for _, e := range svc.running.Stats().Endpoints {
		if e.Name == VerbStart {
			return e.Data
		}
	}
	t.Fatal("no stats of start")
	return nil
}

func TestStoppedServiceIsGone(t *testing.T) {
	s := startServer(t)
	svc, _ := serve(t, s, "a@h", control(echo))
	c := client(t, s)
	if err := svc.Stop(); err != nil {
		t.Fatal(err)
	}
	for {
		err := c.Call(patient(t), "a@h", VerbStatus, nil, nil)
		if errors.Is(err, ErrNoNode) {
			break
		}
		// Until the server has read the end of the subscription.
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnavailable {
			t.Fatalf("%v", err)
		}
	}
	if err := svc.SetSession("s2"); err == nil {
		t.Error("a stopped service took a new session")
	}
}

func TestNoNode(t *testing.T) {
	s := startServer(t)
	serve(t, s, "a@h", control(echo))
	c := client(t, s)
	if err := c.Call(patient(t), "b@h", VerbStatus, nil, nil); !errors.Is(err, ErrNoNode) {
		t.Errorf("other node: %v", err)
	}
	if err := c.Call(patient(t), "a@h", "dance", nil, nil); !errors.Is(err, ErrNoNode) {
		t.Errorf("unknown verb: %v", err)
	}
	c.Cluster = "other"
	if err := c.Call(patient(t), "a@h", VerbStatus, nil, nil); !errors.Is(err, ErrNoNode) {
		t.Errorf("other cluster: %v", err)
	}
}

func TestUnansweredIsAnErrorOfItsOwn(t *testing.T) {
	s := startServer(t)
	b := blocking{make(chan struct{}, 10)}
	_, conn := serve(t, s, "a@h", b)
	c := client(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Call(ctx, "a@h", VerbStart, StartRequest{App: "x"}, nil)
	if !errors.Is(err, ErrUnanswered) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}

	// Without a deadline: the node's end is noticed.
	lost := make(chan error, 1)
	patience := patient(t)
	go func() { lost <- c.Call(patience, "a@h", VerbStart, StartRequest{App: "x"}, nil) }()
	<-b.entered
	<-b.entered
	conn.Close()
	if err := <-lost; !errors.Is(err, ErrUnanswered) || !errors.Is(err, errWentAway) {
		t.Errorf("node gone: %v", err)
	}
}

func TestRestartedNodeIsNoticed(t *testing.T) {
	s := startServer(t)
	b := blocking{make(chan struct{}, 10)}
	_, conn := serve(t, s, "a@h", b)
	c := client(t, s)
	lost := make(chan error, 1)
	patience := patient(t)
	pinged, err := c.Conn.SubscribeSync(testCluster.Ping("a@h"))
	if err != nil {
		t.Fatal(err)
	}
	defer pinged.Unsubscribe()
	go func() { lost <- c.Call(patience, "a@h", VerbStart, StartRequest{App: "x"}, nil) }()
	<-b.entered
	// The second ping shows that the first life has answered the first one; the
	// second life answers the others.
	for range 2 {
		if _, err := pinged.NextMsgWithContext(patience); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := bus.New(dial(t, s), testCluster, "a@h", "agent-2").AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	conn.Close()
	if err := <-lost; !errors.Is(err, ErrUnanswered) || !errors.Is(err, errRestarted) && !errors.Is(err, errWentAway) {
		t.Errorf("%v", err)
	}
}

func TestDiscover(t *testing.T) {
	s := startServer(t)
	serve(t, s, "b@h", control(echo), func(o *Options) { o.Version = "development" })
	svc, _ := serve(t, s, "a@h", control(echo))
	serve(t, s, "x@h", control(echo), func(o *Options) { o.Cluster = "other" })
	c := client(t, s)
	liar, err := c.Conn.Subscribe("$SRV.INFO.regent", func(m *nats.Msg) {
		for _, lie := range []string{``, `[]`, `{"name":"regent","metadata":{"cluster":"default","node":"nonsense"}}`, `{"name":"other","metadata":{"cluster":"default","node":"z@h"}}`} {
			if err := m.Respond([]byte(lie)); err != nil {
				t.Errorf("lie: %v", err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Unsubscribe()
	if got := discovered(t, c); got != "a@h s1 1.2.3, b@h s1 development" {
		t.Errorf("found %s", got)
	}

	if err := svc.SetSession("s2"); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(patient(t), "a@h", VerbStatus, nil, nil); err != nil {
		t.Errorf("after the change of session: %v", err)
	}
	patience := patient(t) // the old instance takes a moment to go
	for discovered(t, c) != "a@h s2 1.2.3, b@h s1 development" {
		if patience.Err() != nil {
			t.Fatal("the new session is not shown")
		}
	}
}

func discovered(t *testing.T, c Client) string {
	t.Helper()
	found, err := c.Discover(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, i := range found {
		lines = append(lines, fmt.Sprintf("%s %s %s", i.Node, i.Session, i.Version))
	}
	return strings.Join(lines, ", ")
}

func TestDiscoverNobody(t *testing.T) {
	s := startServer(t)
	if found, err := client(t, s).Discover(patient(t)); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// A change of session must not lose or repeat a request.
func TestRequestsSurviveAChangeOfSession(t *testing.T) {
	s := startServer(t)
	var mu sync.Mutex
	done := 0
	svc, _ := serve(t, s, "a@h", control(func(context.Context, string, json.RawMessage) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		done++
		return nil, nil
	}))
	c := client(t, s)
	const calls = 300
	result := make(chan error, 1)
	ctx := patient(t)
	go func() {
		for range calls {
			if err := c.Call(ctx, "a@h", VerbStatus, nil, nil); err != nil {
				result <- err
				return
			}
		}
		result <- nil
	}()
	for i := range 20 {
		if err := svc.SetSession(policy.Session(fmt.Sprint("s", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if done != calls {
		t.Errorf("%d calls were done %d times", calls, done)
	}
}

func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		reply any
		want  string
	}{
		{nil, `{"schema":1}`},
		{struct{}{}, `{"schema":1}`},
		{map[string]int{"a": 1}, `{"schema":1,"a":1}`},
		{map[string]int{"schema": 2}, `{"schema":2}`},
		{json.RawMessage(`{"b":{}}`), `{"schema":1,"b":{}}`},
	} {
		if got, err := encodeReply(tt.reply); err != nil || string(got) != tt.want {
			t.Errorf("%v: %s, %v, want %s", tt.reply, got, err, tt.want)
		}
	}
	for _, reply := range []any{[]int{1}, "text", make(chan int), (*StartRequest)(nil)} {
		if got, err := encodeReply(reply); err == nil {
			t.Errorf("%v: %s, want an error", reply, got)
		}
	}
}

func TestReplyTooLargeForTheServer(t *testing.T) {
	s := startServer(t)
	serve(t, s, "a@h", control(func(context.Context, string, json.RawMessage) (any, error) {
		return map[string]string{"x": strings.Repeat("x", 2<<20)}, nil
	}))
	err := client(t, s).Call(patient(t), "a@h", VerbStatus, nil, nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeInternal {
		t.Errorf("%v", err)
	}
}

func TestAddedVerb(t *testing.T) {
	s := startServer(t)
	type drain struct {
		Reason string `json:"reason"`
	}
	serve(t, s, "a@h", control(echo), func(o *Options) { o.Verbs = append(Verbs(), NewVerb[drain]("drain")) })
	c := client(t, s)
	if err := c.Call(patient(t), "a@h", "drain", drain{"repair"}, nil); err != nil {
		t.Error(err)
	}
	if err := c.Call(patient(t), "a@h", "drain", map[string]int{"why": 1}, nil); err == nil {
		t.Error("an unknown field was accepted")
	}
}

func TestSemanticVersion(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3": "1.2.3", "v1.2.3": "1.2.3", "v1.2.3-rc.1+abc": "1.2.3-rc.1+abc", "1.2.3-0": "1.2.3-0",
		"": "0.0.0", "development": "0.0.0", "1.2": "0.0.0", "01.2.3": "0.0.0", "1.2.3-01": "0.0.0", "1.2.3 x": "0.0.0",
	} {
		if got := semantic(in); got != want {
			t.Errorf("semantic(%q) = %q, want %q", in, got, want)
		}
	}
}
