//go:build linux

package external

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// api asks a node as any NATS client does, and holds what it says against the
// schemas of the documents.
type api struct {
	t       *testing.T
	nc      *nats.Conn
	schemas map[string]*jsonschema.Schema
}

func newAPI(t *testing.T, nc *nats.Conn) *api {
	t.Helper()
	files, err := filepath.Glob("../../docs/schema/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	a := &api{t: t, nc: nc, schemas: map[string]*jsonschema.Schema{}}
	for _, file := range files {
		s, err := c.Compile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		a.schemas[name[:len(name)-len(".json")]] = s
	}
	return a
}

// valid reports whether a text is what a schema describes.
func (a *api) valid(schema string, text []byte) error {
	a.t.Helper()
	s := a.schemas[schema]
	if s == nil {
		a.t.Fatalf("no schema %s", schema)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// check is valid for what a node or a stream has said.
func (a *api) check(schema string, text []byte) {
	a.t.Helper()
	if err := a.valid(schema, text); err != nil {
		a.t.Errorf("%s is not a %s: %v", text, schema, err)
	}
}

// request asks node1 for a verb. The code is that of the error headers, 0
// without.
func (a *api) request(verb, body string) (reply *nats.Msg, code int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	reply, err := a.nc.RequestWithContext(ctx, "regent.default.api.node1=40lxw."+verb, []byte(body))
	if err != nil {
		a.t.Fatalf("%s %s: %v", verb, body, err)
	}
	if text := reply.Header.Get(micro.ErrorCodeHeader); text != "" {
		if code, err = strconv.Atoi(text); err != nil || reply.Header.Get(micro.ErrorHeader) == "" {
			a.t.Errorf("error headers of %s %s: %v", verb, body, reply.Header)
		}
	}
	return reply, code
}

// expect asks, and checks code, schema of the reply, and that the schema of
// requests agrees with the node about which requests can be read.
func (a *api) expect(verb, body string, code int) {
	a.t.Helper()
	reply, got := a.request(verb, body)
	if got != code {
		a.t.Errorf("%s %s: code %d, want %d: %s", verb, body, got, code, reply.Data)
	}
	if fits := a.valid(verb+".request", []byte(body)) == nil; fits == (code == 400) {
		a.t.Errorf("%s %s: fits the schema: %v, but the node answers %d", verb, body, fits, code)
	}
	switch {
	case got != 0:
		a.check("error.reply", reply.Data)
	case verb == "status", verb == "config", verb == "cookie":
		a.check(verb+".reply", reply.Data)
	default:
		a.check("done.reply", reply.Data)
	}
}

// TestAPI: everything that docs/api.md promises to a client that knows NATS and
// JSON alone.
func TestAPI(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	nc := connect(t, s.url(""))
	w := newWorld(t, "", "node1", "node2")
	for _, name := range w.names {
		w.node(name, "--server", s.url(""))
	}
	w.waitUp(nc, "node1")
	w.waitUp(nc, "node2")
	a := newAPI(t, nc)
	a.expect("status", `{}`, 0)
	a.expect("start", `{"app":"myapp","type":"transient"}`, 0)
	a.expect("start", `{"app":"myapp"}`, 409)
	a.expect("start", `{"app":"nosuchapp"}`, 404)
	a.expect("permit", `{"app":"myapp","permitted":true}`, 0) // as it is
	a.expect("takeover", `{"app":"myapp"}`, 409)
	a.expect("status", `{}`, 0)
	a.expect("stop", `{"app":"myapp"}`, 0)
	a.expect("stop", `{"app":"myapp"}`, 409)
	a.expect("stop", `{"app":"myapp","all":true}`, 0) // there is nothing to do
	a.expect("permit", `{"app":"myapp","permitted":false,"persist":true}`, 0)
	a.expect("permit", `{"app":"nosuchapp","permitted":false}`, 404)
	a.expect("load", `{"app":"myapp"}`, 0)
	a.expect("load", `{"app":"nosuchapp"}`, 404)
	a.expect("config", `{"apps":[{"app":"myapp","timeout_ms":null,"nodes":[["node1@lxw","node2@lxw"]]}]}`, 0)
	a.expect("cookie", `{}`, 0)
	a.expect("cookie", `{"use":"0123456789abcdef"}`, 409) // an external NATS is shown it at a start
	a.expect("status", `{}`, 0)
	for verb, bodies := range map[string][]string{
		"start":    {``, `{}`, `nonsense`, `[]`, `"myapp"`, `null`, `{"app":7}`, `{"app":"my app"}`, `{"app":"myapp","typ":"x"}`, `{"app":"myapp","type":"eternal"}`, `{"app":"myapp"} {}`, `{"app":"myapp"`},
		"stop":     {`{"app":""}`, `{"app":"myapp","all":"yes"}`, `{"all":true}`},
		"takeover": {`{"type":"permanent"}`, `{"app":"../../etc/passwd"}`},
		"permit":   {`{"app":"myapp"}`, `{"permitted":true}`, `{"app":"myapp","permitted":"no"}`},
		"load":     {`{}`, `{"app":"myapp","timeout_ms":-1}`, `{"app":"myapp","nodes":["node1@lxw"]}`},
		"config":   {`{}`, `{"apps":[]}`, `{"apps":[{"app":"myapp","timeout_ms":0,"nodes":[["node1@lxw"]],"takeover":"always"}]}`},
		"cookie":   {`{"also":"0123456789abcdef"}`, `{"use":"secret"}`, `{"use":7}`, `{"cookie":"x"}`},
		"status":   {`{"verbose":true}`},
	} {
		for _, body := range bodies {
			a.expect(verb, body, 400)
		}
	}
	if _, err := nc.Request("regent.default.api.node9=40lxw.status", nil, 5*time.Second); err != nats.ErrNoResponders {
		t.Errorf("a node that is not there: %v, want no responders", err)
	}
	a.events()
}

// events checks the whole history.
func (a *api) events() {
	a.t.Helper()
	js, err := jetstream.New(a.nc)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := js.OrderedConsumer(a.t.Context(), "regent_default_events", jetstream.OrderedConsumerConfig{})
	if err != nil {
		a.t.Fatal(err)
	}
	batch, err := c.Fetch(1000, jetstream.FetchMaxWait(2*time.Second))
	if err != nil {
		a.t.Fatal(err)
	}
	types := map[string]int{}
	for msg := range batch.Messages() {
		a.check("event", msg.Data())
		var e struct{ Type, App, Node string }
		if err := json.Unmarshal(msg.Data(), &e); err != nil {
			a.t.Fatal(err)
		}
		types[e.Type]++
		if want := fmt.Sprintf("regent.default.event.%s.", e.Type); len(msg.Subject()) <= len(want) || msg.Subject()[:len(want)] != want {
			a.t.Errorf("subject %s of %s", msg.Subject(), msg.Data())
		}
	}
	for _, want := range []string{"node_up", "claimed", "app_starting", "app_started", "app_stopped", "permit"} {
		if types[want] == 0 {
			a.t.Errorf("no %s in the history: %v", want, types)
		}
	}
}
