package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// cluster is a real NATS server and the services of nodes that do nothing but
// answer from a table.
type cluster struct {
	url string

	mu     sync.Mutex
	told   []string
	answer func(n node.Name, verb string, app policy.App) error
	quorum bool
}

func startCluster(t *testing.T, nodes ...node.Name) *cluster {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("REGENT_COOKIE_FILE", "")
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	c := &cluster{url: s.ClientURL(), quorum: true}
	for _, n := range nodes {
		c.serve(t, n)
	}
	return c
}

func (c *cluster) serve(t *testing.T, n node.Name) {
	t.Helper()
	conn, err := bus.Dial(t.Context(), bus.Options{URLs: []string{c.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	stop, err := bus.New(conn, defaultCluster, n, "agent").AnswerPings()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	svc, err := service.Start(service.Options{
		Conn: conn.NATS(), Cluster: defaultCluster, Node: n, Version: "1.0.0", Control: control{c, n},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := svc.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// control is the control port of one node.
type control struct {
	*cluster
	node node.Name
}

func (c control) Do(ctx context.Context, verb string, request json.RawMessage) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if verb == service.VerbStatus {
		doc := document()
		doc.Node, doc.Quorum.OK = c.node, c.quorum
		doc.Nodes[2].State = machine.NodeUp
		return doc, nil
	}
	c.told = append(c.told, fmt.Sprintf("%s %s %s", c.node, verb, request))
	var named struct {
		App policy.App `json:"app"`
	}
	if err := json.Unmarshal(request, &named); err != nil {
		return nil, err
	}
	if c.answer == nil {
		return nil, nil
	}
	err := c.answer(c.node, verb, named.App)
	if err == errBlocks {
		c.mu.Unlock()
		<-ctx.Done()
		c.mu.Lock()
	}
	return nil, err
}

// errBlocks lets a request wait until the service stops.
var errBlocks = refuse(machine.RefuseClosing)

func refuse(kind machine.RefusalKind) error { return &machine.Refusal{Kind: kind, Reason: "myapp"} }

// regent runs a command against the cluster.
func (c *cluster) regent(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	if c.url != "" {
		args = append(args, "--server", c.url)
	}
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	text := strings.ReplaceAll(stderr.String(), warnNoCookie+"\n", "")
	return code, stdout.String(), text
}

const warnNoCookie = "regent: warning: no cookie and no --creds: connecting without credentials"

func (c *cluster) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.told)
	return c.told
}

func TestStatusOverNATS(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	code, out, errOut := c.regent(t, "status", "--json")
	var doc status.Document
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || errOut != "" {
		t.Fatalf("exit %d, %v, %q, %q", code, err, out, errOut)
	}
	if doc.Schema != 1 || doc.Node != "node1@lxw" || len(doc.Apps) != 3 || len(doc.Nodes) != 3 {
		t.Errorf("document %s", out)
	}
	if _, out, _ := c.regent(t, "status"); !strings.HasPrefix(out, "cluster default, as seen by node1@lxw, quorum ok") || strings.Contains(out, "\x1b") {
		t.Errorf("status\n%s", out)
	}
	if _, out, _ := c.regent(t, "nodes"); strings.Contains(out, "admin@lxw") || !strings.Contains(out, "node2@lxw") {
		t.Errorf("nodes\n%s", out)
	}
	if _, out, _ := c.regent(t, "nodes", "--hidden", "--json"); !strings.HasPrefix(out, `{"schema":1,"nodes":[{"name":"admin@lxw"`) {
		t.Errorf("hidden nodes\n%s", out)
	}
	if _, out, _ := c.regent(t, "apps", "--json"); !strings.HasPrefix(out, `{"schema":1,"apps":[{"name":"local"`) {
		t.Errorf("apps\n%s", out)
	}
}

func TestWatchEndsWithTheSignal(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out pictures
	out.enough = func() { interrupt() }
	code := Main(ctx, []string{"status", "--watch", "--json", "--interval", "1ms", "--server", c.url}, strings.NewReader(""), &out, &bytes.Buffer{})
	if code != 0 || out.seen < 3 {
		t.Errorf("exit %d after %d pictures", code, out.seen)
	}
}

// pictures counts writes and says when there were three.
type pictures struct {
	seen   int
	enough func()
}

func (p *pictures) Write(b []byte) (int, error) {
	if p.seen++; p.seen == 3 {
		p.enough()
	}
	return len(b), nil
}

func TestCommandsReachTheirNode(t *testing.T) {
	c := startCluster(t, "node1@lxw", "node2@lxw")
	for _, tt := range []struct {
		args []string
		out  string
		told string
	}{
		{[]string{"start", "myapp", "--on", "node1@lxw"}, "myapp started at node1@lxw\n", `node1@lxw start {"app":"myapp"}`},
		{[]string{"start", "myapp", "--on", "node2@lxw", "--type", "permanent", "--timeout", "1m"}, "myapp started at node2@lxw\n", `node2@lxw start {"app":"myapp","type":"permanent"}`},
		{[]string{"stop", "myapp", "--on", "node1@lxw"}, "myapp stopped at node1@lxw\n", `node1@lxw stop {"app":"myapp"}`},
		{[]string{"takeover", "myapp", "--to", "node2@lxw"}, "myapp taken over by node2@lxw\n", `node2@lxw takeover {"app":"myapp"}`},
		{[]string{"permit", "myapp", "false", "--on", "node1@lxw"}, "myapp not permitted at node1@lxw\n", `node1@lxw permit {"app":"myapp","permitted":false}`},
		{[]string{"permit", "myapp", "true", "--on", "node1@lxw"}, "myapp permitted at node1@lxw\n", `node1@lxw permit {"app":"myapp","permitted":true}`},
	} {
		c.told = nil
		code, out, errOut := c.regent(t, tt.args...)
		if told := c.heard(); code != 0 || out != tt.out || errOut != "" || !reflect.DeepEqual(told, []string{tt.told}) {
			t.Errorf("%q: exit %d, %q, %q, told %q; want %q, told %q", tt.args, code, out, errOut, told, tt.out, tt.told)
		}
	}
}

// TestStartAll acts at the nodes of the app's list that are up, at once, and
// overlooks those where it is started already.
func TestStartAll(t *testing.T) {
	c := startCluster(t, "node1@lxw", "node2@lxw")
	c.answer = func(n node.Name, _ string, _ policy.App) error {
		if n == "node1@lxw" {
			return refuse(machine.RefuseAlreadyStarted)
		}
		return nil
	}
	code, out, errOut := c.regent(t, "start", "myapp", "--all")
	if code != 0 || out != "myapp started at node2@lxw\n" || errOut != "" {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
	c.answer = func(node.Name, string, policy.App) error { return refuse(machine.RefuseAlreadyStarted) }
	code, _, errOut = c.regent(t, "start", "myapp", "--all")
	if code != 1 || !strings.HasPrefix(errOut, "regent: start on node1@lxw: already started: myapp; start on node2@lxw: already started: myapp\n") {
		t.Errorf("exit %d, %q", code, errOut)
	}
	code, _, errOut = c.regent(t, "start", "nope", "--all")
	if code != 1 || errOut != "regent: not loaded: unknown app nope\nhint: "+hintNotLoaded+"\n" {
		t.Errorf("exit %d, %q", code, errOut)
	}
}

// TestStopAll stops where it runs, then makes the standbys step back.
func TestStopAll(t *testing.T) {
	c := startCluster(t, "node1@lxw", "node2@lxw")
	code, out, errOut := c.regent(t, "stop", "myapp", "--all")
	if code != 0 || out != "myapp stopped at node1@lxw\nmyapp stopped at node2@lxw\n" || errOut != "" {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
	want := []string{`node1@lxw stop {"app":"myapp","all":true}`, `node2@lxw stop {"app":"myapp","all":true}`}
	if !reflect.DeepEqual(c.told, want) {
		t.Errorf("told %q, want %q in this order", c.told, want)
	}
	if code, _, errOut := c.regent(t, "stop", "other", "--all"); code != 1 || errOut != "regent: stop other: not started at any node\n" {
		t.Errorf("exit %d, %q", code, errOut)
	}
}

func TestRefusalsHaveTheirExitCodes(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{refuse(machine.RefuseNotStarted), 1, "regent: stop on node1@lxw: not started: myapp\n"},
		{refuse(machine.RefuseNotLoaded), 1, "regent: stop on node1@lxw: not loaded: myapp\nhint: " + hintNotLoaded + "\n"},
		{refuse(machine.RefuseBadType), 2, "regent: stop on node1@lxw: bad type: myapp\n"},
		{&service.Error{Code: service.CodeInternal, Description: "oops"}, 1, "regent: stop on node1@lxw: oops\n"},
	} {
		c.answer = func(node.Name, string, policy.App) error { return tt.err }
		code, _, errOut := c.regent(t, "stop", "myapp", "--on", "node1@lxw")
		if code != tt.code || errOut != tt.text {
			t.Errorf("%v: exit %d, %q; want %d, %q", tt.err, code, errOut, tt.code, tt.text)
		}
	}
	if code, _, errOut := c.regent(t, "stop", "myapp", "--on", "node9@lxw"); code != 1 || !strings.HasPrefix(errOut, "regent: stop on node9@lxw: no such node is running\n") {
		t.Errorf("node that is not there: exit %d, %q", code, errOut)
	}
}

// TestBusyNodeIsAskedAgain: 503 passes.
func TestBusyNodeIsAskedAgain(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	times := 0
	c.answer = func(node.Name, string, policy.App) error {
		if times++; times < 3 {
			return &service.Error{Code: service.CodeUnavailable, Description: "no quorum"}
		}
		return nil
	}
	if code, _, errOut := c.regent(t, "start", "myapp", "--on", "node1@lxw"); code != 0 || times != 3 {
		t.Errorf("exit %d, %q after %d times", code, errOut, times)
	}
}

func TestTimeoutSaysWhetherThereWasAQuorum(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	c.answer = func(node.Name, string, policy.App) error { return errBlocks }
	code, _, errOut := c.regent(t, "start", "myapp", "--on", "node1@lxw", "--timeout", "300ms")
	if code != 1 || !strings.HasPrefix(errOut, "regent: start on node1@lxw: not done in time (300ms)\nhint: what was asked for goes on") {
		t.Errorf("with a quorum: exit %d, %q", code, errOut)
	}
	c.quorum = false
	code, _, errOut = c.regent(t, "start", "myapp", "--on", "node1@lxw", "--timeout", "300ms")
	if code != 5 || !strings.HasPrefix(errOut, "regent: start on node1@lxw: no quorum: not done in time (300ms)\n") {
		t.Errorf("without a quorum: exit %d, %q", code, errOut)
	}
}

// TestLocalNode: without --on a command means the node on this machine, if
// there is one, and one only.
func TestLocalNode(t *testing.T) {
	c := startCluster(t, "node1@lxw", "node2@lxw")
	if code, _, errOut := c.regent(t, "start", "myapp"); code != 2 || !strings.Contains(errOut, "hint: say which one is meant with --on NODE") {
		t.Errorf("no node here: exit %d, %q", code, errOut)
	}
	here := func(n node.Name, cluster string) {
		t.Helper()
		remove, err := nodefile.Write(nodefile.File{Node: n, Cluster: cluster, URL: c.url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(remove)
	}
	here("node2@lxw", defaultCluster)
	here("node3@lxw", "blue")
	if code, out, errOut := c.regent(t, "start", "myapp"); code != 0 || out != "myapp started at node2@lxw\n" {
		t.Errorf("one node here: exit %d, %q, %q", code, out, errOut)
	}
	if _, out, _ := c.regent(t, "status"); !strings.HasPrefix(out, "cluster default, as seen by node2@lxw") {
		t.Errorf("status from another than the local node\n%s", out)
	}
	here("node1@lxw", defaultCluster)
	if code, _, errOut := c.regent(t, "start", "myapp"); code != 2 || !strings.HasPrefix(errOut, "regent: start: several nodes run on this machine: node1@lxw, node2@lxw\n") {
		t.Errorf("two nodes here: exit %d, %q", code, errOut)
	}
}

// TestNodeFileLeadsToTheCluster: no flag, no NATS_URL. A cookie is needed then.
func TestNodeFileLeadsToTheCluster(t *testing.T) {
	c := startCluster(t, "node1@lxw")
	t.Setenv("NATS_URL", "")
	remove, err := nodefile.Write(nodefile.File{Node: "node1@lxw", Cluster: defaultCluster, URL: c.url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	c.url = "" // of the node file only
	if code, _, errOut := c.regent(t, "status"); code != 2 || !strings.Contains(errOut, "file does not exist") {
		t.Errorf("without a cookie: exit %d, %q", code, errOut)
	}
	t.Setenv("REGENT_COOKIE", "a cookie of this test")
	code, out, errOut := c.regent(t, "status")
	if code != 0 || !strings.HasPrefix(out, "cluster default") || errOut != "regent: warning: the server gets no credentials: it does not ask for the cookie's key\n" {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
}

func TestRefusedCredentials(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, Authorization: "token"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	c := &cluster{url: s.ClientURL()}
	if code, _, errOut := c.regent(t, "status"); code != 4 || !strings.HasPrefix(errOut, "regent: connect: refused by the NATS server: ") {
		t.Errorf("exit %d, %q", code, errOut)
	}
	if code, _, errOut := c.regent(t, "status", "--creds", "missing"); code != 2 || !strings.HasPrefix(errOut, "regent: invalid credentials: credentials file missing: ") {
		t.Errorf("no credentials file: exit %d, %q", code, errOut)
	}
}
