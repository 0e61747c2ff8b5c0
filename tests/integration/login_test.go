//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// insider is a connection with the rights of the app myapp.
type insider struct {
	t    *testing.T
	nc   *nats.Conn
	own  string // what its subjects begin with
	name string // of its stream

	mu   sync.Mutex
	errs []string
}

func newInsider(t *testing.T, url string, opts ...nats.Option) *insider {
	t.Helper()
	i := &insider{t: t, own: "regent.default.app.myapp.", name: "regent_default_app_myapp"}
	opts = append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.errs = append(i.errs, err.Error())
	}))
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	i.nc = nc
	return i
}

// violations are the server's refusals so far.
func (i *insider) violations() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.errs, "\n")
}

// refused waits for the server to refuse something.
func (i *insider) refused(verb, subject string) {
	i.t.Helper()
	want := fmt.Sprintf("Permissions Violation for %s to %q", verb, subject)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Contains(strings.ToLower(i.violations()), strings.ToLower(want)) {
			return
		}
	}
	i.t.Errorf("not refused: %s to %s; refused was %s", verb, subject, i.violations())
}

// mayNot tries what is the node's, another app's or the servers' own.
func (i *insider) mayNot() {
	i.t.Helper()
	// To be asked gives no right to answer anywhere: it can ask itself.
	if _, err := i.nc.Subscribe(i.own+"trick", func(m *nats.Msg) { _ = m.Respond([]byte("{}")) }); err != nil {
		i.t.Fatal(err)
	}
	if err := i.nc.PublishRequest(i.own+"trick", "$KV.regent_default.app.trick", nil); err != nil {
		i.t.Fatal(err)
	}
	i.refused("Publish", "$KV.regent_default.app.trick")
	for _, subject := range []string{
		"$KV.regent_default.app.myapp", "$KV.regent_default.node.node1=40lxw", "regent.default.kv.app.myapp",
		"regent.default.hb.node1=40lxw", "regent.default.cert.node1=40lxw", "regent.default.event.failover.myapp",
		"regent.default.api.node1=40lxw.stop", "regent.default.node.node1=40lxw.ping",
		"regent.default.app.other.x", "regent.other.app.myapp.x", "_INBOX.x", "_INBOX.regent.default.app.other.x",
		"$SYS.REQ.SERVER.PING", "$SRV.PING", "$JS.API.INFO", "$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.MSG.GET.KV_regent_default", "$JS.API.DIRECT.GET.KV_regent_default", "$JS.API.STREAM.INFO.KV_regent_default",
		"$JS.API.STREAM.DELETE.KV_regent_default", "$JS.API.CONSUMER.CREATE.KV_regent_default", "$JS.API.CONSUMER.CREATE.regent_default_events.c",
		"$JS.API.STREAM.CREATE.regent_default_app_other", "$JS.API.STREAM.DELETE." + i.name, "$JS.API.STREAM.PURGE." + i.name,
		"$JS.API.STREAM.UPDATE." + i.name, "$JS.API.STREAM.MSG.DELETE." + i.name, "$JS.API.META.LEADER.STEPDOWN",
	} {
		if err := i.nc.Publish(subject, []byte("{}")); err != nil {
			i.t.Fatal(err)
		}
		i.refused("Publish", subject)
	}
	for _, subject := range []string{
		">", "regent.>", "regent.default.>", "regent.default.hb.*", "regent.default.kv.>", "regent.default.api.>", "regent.default.event.>",
		"regent.default.app.*.>", "regent.default.app.other.>", "$KV.>", "$SYS.>", "$JS.>", "_INBOX.>",
	} {
		if _, err := i.nc.SubscribeSync(subject); err != nil {
			i.t.Fatal(err)
		}
		i.refused("Subscription", subject)
	}
}

// may uses what is the app's own. node is a connection with all rights.
func (i *insider) may(node *nats.Conn) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 30*time.Second)
	defer cancel()
	before := i.violations()
	must := func(what string, err error) {
		i.t.Helper()
		if err != nil {
			i.t.Fatalf("%s: %v; refused was %s", what, err, i.violations())
		}
	}
	_, err := i.nc.Subscribe(i.own+"echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	must("subscribe", err)
	must("subscribe", i.nc.Flush())
	m, err := i.nc.RequestWithContext(ctx, i.own+"echo", []byte("self"))
	must("ask itself", err)
	other, err := node.RequestWithContext(ctx, i.own+"echo", []byte("node"))
	must("be asked", err)
	if string(m.Data) != "self" || string(other.Data) != "node" {
		i.t.Errorf("echo of %q and %q", m.Data, other.Data)
	}

	js, err := jetstream.New(i.nc)
	must("JetStream", err)
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: i.name, Subjects: []string{i.own + "data.>"}})
	must("make the stream", err)
	ack, err := js.Publish(ctx, i.own+"data.x", []byte("1"))
	must("store", err)
	last, err := s.GetLastMsgForSubject(ctx, i.own+"data.x")
	must("read", err)
	if last.Sequence != ack.Sequence {
		i.t.Errorf("stored as %d, read %d", ack.Sequence, last.Sequence)
	}
	ordered, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	must("ordered consumer", err)
	_, err = ordered.Next(jetstream.FetchMaxWait(10 * time.Second))
	must("ordered consumer", err)
	durable, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
	must("durable consumer", err)
	msg, err := durable.Next(jetstream.FetchMaxWait(10 * time.Second))
	must("durable consumer", err)
	must("acknowledge", msg.DoubleAck(ctx))
	if after := i.violations(); after != before {
		i.t.Errorf("refused: %s", after)
	}
}

// rightsConfig has one node, which is alone.
const rightsConfig = `distributed: [{app: myapp, timeout: 0s, nodes: [node1@lxw]}]
servers: [node1@lxw]
`

// nodeConn has the rights of a node, and wants answers where the app may answer.
func nodeConn(t *testing.T, c manager.Cookie, url string) *nats.Conn {
	t.Helper()
	a, err := cred.Derive(c, "default")
	if err != nil {
		t.Fatal(err)
	}
	opts, err := a.ConnOptions(cred.App, "test")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, append(opts, nats.CustomInboxPrefix("regent.default.app.myapp.reply"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// TestGoAppsHaveTheirOwnRights: what an app in Go is given for NATS.
func TestGoAppsHaveTheirOwnRights(t *testing.T) {
	c := configuredCluster(t, rightsConfig)
	n := c.boot("node1")
	c.startOn("myapp", "node1")
	s := c.j.last().s
	if s.NATS == nil {
		t.Fatal("the app was given nothing for NATS")
	}
	i := newInsider(t, s.NATS.URL, nats.UserJWT(s.NATS.Token, s.NATS.Sign), nats.Secure(s.NATS.TLS()), nats.CustomInboxPrefix(s.NATS.Inbox))
	if s.NATS.Stream != i.name {
		t.Errorf("its stream is %q", s.NATS.Stream)
	}
	i.may(nodeConn(t, c.cookie, n.URL()))
	i.mayNot()
	if text := fmt.Sprintf("%+v", s.NATS); strings.Contains(text, "eyJ") || strings.Contains(text, "PRIVATE") {
		t.Errorf("it prints as %s", text)
	}
}

// TestCommandsHaveTheirOwnRights: what an app's process is given for NATS, used
// as any NATS client would, and gone with the app.
func TestCommandsHaveTheirOwnRights(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	at := h.configure("one.yaml", rightsConfig+"apps: {myapp: {command: [sleep, \"1000\"]}}", "node1@lxw")["node1@lxw"]
	node := h.begin("node", "--sname", "node1@lxw", "--config", "one.yaml", "--data", "data", "--start", "myapp")
	h.until("myapp runs", at, runsWhere("node1@lxw", "normal"))
	env := appEnvironment(t, "REGENT_NATS_CREDS="+h.file("data"))
	dir := filepath.Dir(env["REGENT_NATS_CREDS"])
	for _, name := range []string{"REGENT_NATS_CREDS", "REGENT_NATS_CA", "REGENT_NATS_CERT", "REGENT_NATS_KEY"} {
		if info, err := os.Stat(env[name]); err != nil || info.Mode() != 0o600 || filepath.Dir(env[name]) != dir {
			t.Errorf("%s=%s: %v, %v", name, env[name], info, err)
		}
	}
	if env["REGENT_EPOCH"] != "1" || env["REGENT_NATS_URL"] != "tls://"+at {
		t.Errorf("the process sees %v", env)
	}
	secret, err := os.ReadFile(env["REGENT_NATS_CREDS"])
	if err != nil {
		t.Fatal(err)
	}
	i := newInsider(t, env["REGENT_NATS_URL"], nats.UserCredentials(env["REGENT_NATS_CREDS"]), nats.RootCAs(env["REGENT_NATS_CA"]),
		nats.ClientCert(env["REGENT_NATS_CERT"], env["REGENT_NATS_KEY"]), nats.CustomInboxPrefix(env["REGENT_NATS_INBOX"]))
	cookie, err := manager.LoadCookie(h.file("cookie"))
	if err != nil {
		t.Fatal(err)
	}
	i.may(nodeConn(t, cookie, "tls://"+at))
	i.mayNot()
	if r := h.run("stop", "myapp", "--server", "tls://"+at, "--on", "node1@lxw"); r.code != 0 {
		t.Errorf("stop: %d\n%s", r.code, r.errOut)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the stop: %v", err)
	}
	if code := node.terminate(); code != 0 {
		t.Errorf("the node ended with %d", code)
	}
	token, err := jwt.ParseDecoratedJWT(secret)
	if text := node.out.String() + node.errOut.String(); err != nil || strings.Contains(text, token[:100]) {
		t.Errorf("the node's log has the app's token (%v):\n%s", err, text)
	}
}

// appEnvironment is that of the one process that has a variable which begins
// like this.
func appEnvironment(t *testing.T, begins string) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		text, _ := os.ReadFile(filepath.Join(dir, "environ"))
		var pid int
		_, _ = fmt.Sscan(filepath.Base(dir), &pid)
		if p, err := samehost.Find(pid); !strings.Contains(string(text), begins) || err != nil || p.Gone() {
			continue
		}
		env := map[string]string{}
		for v := range strings.SplitSeq(string(text), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
		return env
	}
	t.Fatalf("no process with %s", begins)
	return nil
}
