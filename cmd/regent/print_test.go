package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func document() *status.Document {
	since := status.UnixMilli(time.Now().Add(-90 * time.Second).UnixMilli())
	return &status.Document{
		Schema: 1, Cluster: "default", Node: "node1@lxw",
		Quorum: status.Quorum{OK: true, Servers: 3, Leader: "node3@lxw", Mode: status.Embedded},
		Nodes: []status.Node{
			{Name: "admin@lxw", State: machine.NodeUp, Hidden: true, Since: since, Version: "v1"},
			{Name: "node1@lxw", State: machine.NodeUp, Since: since, Version: "v1", Running: []policy.App{"local", "myapp"}},
			{Name: "node2@lxw", State: machine.NodeSuspect, Since: since},
		},
		Apps: []status.App{
			{Name: "local", State: machine.AppRunning, RunningOn: []node.Name{"node1@lxw"}},
			{
				Name: "myapp", State: machine.AppRunning, Node: "node1@lxw", Epoch: 12, StartType: policy.StartTakeover, From: "node3@lxw",
				Since: since, TimeoutMS: new(int64(5000)), Nodes: [][]node.Name{{"node1@lxw"}, {"node2@lxw", "node3@lxw"}},
				StartedOn: []node.Name{"node1@lxw", "node2@lxw"}, Permitted: map[node.Name]bool{"node1@lxw": true, "node2@lxw": false, "node3@lxw": true},
				Error: "node2@lxw: exit status 1\nsecond line \x1b[31m",
			},
			{Name: "other", State: machine.AppWaiting, Nodes: [][]node.Name{{"node2@lxw"}}, WaitingFor: "node2@lxw"},
		},
	}
}

func TestStatusIsOneScreen(t *testing.T) {
	var out bytes.Buffer
	if err := printStatus(&out, document()); err != nil {
		t.Fatal(err)
	}
	want := `cluster default, as seen by node1@lxw, quorum ok (3 servers, embedded, leader node3@lxw)

NODE       STATE      SINCE  VERSION  RUNNING
admin@lxw  up,hidden  1m30s  v1       -
node1@lxw  up         1m30s  v1       local myapp
node2@lxw  suspect    1m30s  -        -

APP    STATE                  NODE       EPOCH  START                    SINCE  TIMEOUT   NODES
local  running                node1@lxw  0      -                        -      -         local
myapp  running                node1@lxw  12     takeover from node3@lxw  1m30s  5s        node1@lxw > {node2@lxw!,(node3@lxw)}
other  waiting for node2@lxw  -          0      -                        -      infinity  (node2@lxw)
myapp: node2@lxw: exit status 1; second line  [31m
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestStatusSaysWhatIsMissing(t *testing.T) {
	var out bytes.Buffer
	d := &status.Document{
		Cluster: "default", Node: "node1@lxw", Paused: true, Quorum: status.Quorum{Servers: 3, Mode: status.Embedded},
		WaitingFor: []node.Name{"node2@lxw", "node3@lxw"}, Waiting: []string{"node3@lxw (refused: other cookie)"},
	}
	if err := printStatus(&out, d); err != nil {
		t.Fatal(err)
	}
	want := `cluster default, as seen by node1@lxw, NO QUORUM (3 servers, embedded)
PAUSED: no automatic failover or takeover
waits for node3@lxw (refused: other cookie)
waits for node2@lxw
`
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", out.String(), want)
	}
}

func TestStatusSaysThatACopyIsBehind(t *testing.T) {
	d := document()
	d.Quorum = status.Quorum{OK: true, Servers: 3, Mode: status.Embedded, Behind: "KV_regent_default: stream catching up"}
	var out bytes.Buffer
	if err := printStatus(&out, d); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nits copy of the records is behind: KV_regent_default: stream catching up\n") {
		t.Errorf("it says\n%s", &out)
	}
}

func TestFailingOverShowsTheTimeLeft(t *testing.T) {
	now := time.Now()
	a := &status.App{State: machine.AppFailingOver, FailoverAt: status.Time{Time: now.Add(3400 * time.Millisecond)}}
	if got := stateText(a, now); got != "failing_over in 3.4s" {
		t.Errorf("state %q", got)
	}
}

// TestVisibleNodes: nodes(visible), nodes(hidden), nodes(connected).
func TestVisibleNodes(t *testing.T) {
	d := document()
	for _, tt := range []struct {
		hidden, all bool
		want        string
	}{
		{false, false, "node1@lxw node2@lxw"}, {true, false, "admin@lxw"}, {false, true, "admin@lxw node1@lxw node2@lxw"},
	} {
		var names []string
		for _, n := range visible(d.Nodes, tt.hidden, tt.all) {
			names = append(names, string(n.Name))
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("hidden %t, all %t: %s, want %s", tt.hidden, tt.all, got, tt.want)
		}
	}
}

func TestNodesOfAnApp(t *testing.T) {
	d := document()
	if got := fmt.Sprint(nodesOf(d, &d.Apps[0])); got != "[node1@lxw]" {
		t.Errorf("nodes for a local app: %s, want the visible ones that are up", got)
	}
	if got := fmt.Sprint(nodesOf(d, &d.Apps[1])); got != "[node1@lxw]" {
		t.Errorf("nodes for myapp: %s, want those of its list that are up", got)
	}
	runners, others := splitStop(d, &d.Apps[1])
	if fmt.Sprint(runners, others) != "[node1@lxw] []" {
		t.Errorf("stop at %v, then %v", runners, others)
	}
}

func TestEventLine(t *testing.T) {
	e := kv.Event{
		Time: time.Date(2026, 1, 2, 15, 4, 5, 6e6, time.UTC), Type: kv.Takeover, App: "myapp", Node: "node1@lxw",
		From: "node2@lxw", Epoch: 7, Detail: "two\nlines",
	}
	want := "2026-01-02T15:04:05.006Z  takeover          myapp             node1@lxw         epoch 7  from node2@lxw  two; lines"
	if got := eventLine(e); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNoEscapesOutsideATerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if screen(f) || screen(&bytes.Buffer{}) {
		t.Error("a file or a buffer counts as a terminal")
	}
}

func TestExitCodesOfCommands(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{nil, exitOK, ""},
		{&service.Error{Code: service.CodeRefused, Description: "already started: myapp"}, exitFailed, "regent: start on a@h: already started: myapp"},
		{&service.Error{Code: service.CodeUnknown, Description: "unknown app: x"}, exitFailed, "regent: start on a@h: unknown app: x"},
		{&service.Error{Code: service.CodeBadRequest, Description: "bad type"}, exitUsage, "regent: start on a@h: bad type"},
		{fmt.Errorf("call: %w", service.ErrNoNode), exitFailed, "regent: start on a@h: no such node is running"},
		{fmt.Errorf("%w (busy)", errNoQuorum), exitNoCluster, "regent: start on a@h: no quorum (busy)"},
		{fmt.Errorf("%w (%v)", errTimeout, time.Second), exitFailed, "regent: start on a@h: not done in time (1s)"},
	} {
		var out bytes.Buffer
		code := report(&out, commandError("a@h", "start", tt.err))
		first, _, _ := strings.Cut(out.String(), "\n")
		if code != tt.code || first != tt.text {
			t.Errorf("%v: exit %d, %q; want %d, %q", tt.err, code, first, tt.code, tt.text)
		}
	}
}

// TestRepeatedRequestIsDone: a request without an answer is sent again, and
// refused because the first one was carried out.
func TestRepeatedRequestIsDone(t *testing.T) {
	refusal := func(kind machine.RefusalKind) error {
		return &service.Error{Code: service.CodeRefused, Description: (&machine.Refusal{Kind: kind, Reason: "myapp"}).Error()}
	}
	for _, tt := range []struct {
		verb string
		err  error
		want bool
	}{
		{service.VerbStart, refusal(machine.RefuseAlreadyStarted), true},
		{service.VerbStop, refusal(machine.RefuseNotStarted), true},
		{service.VerbTakeover, refusal(machine.RefuseRunsHere), true},
		{service.VerbTakeover, refusal(machine.RefuseNotRunning), false},
		{service.VerbPermit, refusal(machine.RefuseNotStarted), false},
		{service.VerbStart, errors.New("already started"), false},
	} {
		if got := alreadyDone(tt.verb, tt.err); got != tt.want {
			t.Errorf("%s, %v: %t, want %t", tt.verb, tt.err, got, tt.want)
		}
	}
}

func TestReportIsOneLinePerError(t *testing.T) {
	var out bytes.Buffer
	code := report(&out, failed("read", errors.Join(errors.New("one"), errors.New("two\x1b[2J"))))
	if want := "regent: read: one; two [2J\n"; code != exitFailed || out.String() != want {
		t.Errorf("exit %d, %q; want %q", code, out.String(), want)
	}
}
