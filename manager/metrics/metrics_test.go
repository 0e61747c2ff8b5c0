package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func status() *machine.Status {
	return &machine.Status{
		Node: "n1@h", Session: "s", Fence: machine.Instant(12 * time.Second), CertificatesIgnored: 3,
		Nodes: []machine.NodeStatus{{Name: "n1@h", State: machine.NodeUp}, {Name: "n2@h", State: machine.NodeUp}, {Name: "n3@h", State: machine.NodeDown}},
		Apps: []machine.AppStatus{
			{Name: "here", State: machine.AppRunning, Node: "n1@h", Epoch: 7},
			{Name: "there", State: machine.AppRunning, Node: "n2@h", Epoch: 9},
			{Name: "local", State: machine.AppRunning, Local: true, RunningOn: []node.Name{"n1@h"}},
		},
	}
}

func source(st *machine.Status) Source {
	return Source{
		Status:  func() *machine.Status { return st },
		Now:     func() machine.Instant { return machine.Instant(10 * time.Second) },
		Quorum:  func() (int, bool) { return 3, st != nil },
		Dropped: func() Dropped { return Dropped{Malformed: 1, Unsent: 2, EventsLost: 4, EventsWaiting: 5} },
	}
}

func TestWhatIsTrueNow(t *testing.T) {
	m := New(Build{Version: "1", Cluster: "default", Node: "n1@h"}, source(status()))
	want := `
# HELP regent_app_epoch The app's epoch, as this node sees it. Must never go down.
# TYPE regent_app_epoch gauge
regent_app_epoch{app="here"} 7
regent_app_epoch{app="there"} 9
# HELP regent_app_owned 1 if the app runs on this node.
# TYPE regent_app_owned gauge
regent_app_owned{app="here"} 1
regent_app_owned{app="local"} 1
regent_app_owned{app="there"} 0
# HELP regent_deadline_seconds Seconds until this node must end its apps, unless a renewal is acknowledged before; 0 without a session.
# TYPE regent_deadline_seconds gauge
regent_deadline_seconds 2
# HELP regent_nodes Nodes that this one knows, by state.
# TYPE regent_nodes gauge
regent_nodes{state="down"} 1
regent_nodes{state="left"} 0
regent_nodes{state="suspect"} 0
regent_nodes{state="syncing"} 0
regent_nodes{state="up"} 2
# HELP regent_session 1 while this node has a valid session.
# TYPE regent_session gauge
regent_session 1
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), nameAppEpoch, nameAppOwned, nameDeadline, nameNodes, nameSession); err != nil {
		t.Error(err)
	}
}

func TestWhatHappened(t *testing.T) {
	m := New(Build{}, source(nil))
	m.Know("a")
	for _, h := range []machine.History{
		{Type: "double_owner", App: "a"},
		{Type: "claimed", App: "a", Op: machine.OpClaim},
		{Type: "claimed", App: "a", Op: machine.OpReserve},
		{Type: "app_starting", App: "a", Detail: "failover"},
		{Type: "failover", App: "a"},
		{Type: "fenced"},
		{Type: "certified", Op: machine.OpCertify},
		{Type: "node_down", Op: machine.OpCertify},
		{Type: "node_down", Op: machine.OpExpire},
		{Type: "config"},
	} {
		m.Noted(h)
	}
	m.Heard(machine.Certified{})
	m.Wrote(machine.OpRenew, policy.OutcomeOK, 3*time.Millisecond)
	m.Wrote(machine.OpRenew, policy.OutcomeUnknown, time.Second)
	m.Wrote(machine.OpClaim, policy.OutcomeOK, time.Second)
	text := m.text(t)
	for _, line := range []string{
		`regent_double_owner_total{app="a"} 1`, `regent_claims_total{app="a",kind="claim"} 1`, `regent_claims_total{app="a",kind="reserve"} 1`,
		`regent_starts_total{app="a",kind="failover"} 1`, `regent_failovers_total{app="a"} 1`, `regent_fences_total 1`,
		`regent_certificates_total{by="lease"} 1`, `regent_certificates_total{by="same_host"} 1`, `regent_certificates_total{by="warden"} 1`,
		`regent_renewals_total{outcome="ok"} 1`, `regent_renewals_total{outcome="unknown"} 1`,
		`regent_renewal_duration_seconds_count 1`, `regent_renewal_duration_seconds_bucket{le="0.0025"} 0`, `regent_renewal_duration_seconds_bucket{le="0.005"} 1`,
		`regent_session 0`, `regent_deadline_seconds 0`, `regent_messages_dropped_total{reason="malformed"} 1`, `regent_events_lost_total 4`, `regent_events_waiting 5`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("not there: %s", line)
		}
	}
}

func (m *Metrics) text(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// Every name is used: what stands in names.go is shown.
func TestEveryNameIsShown(t *testing.T) {
	m := New(Build{}, source(status()))
	for _, typ := range []string{"double_owner", "claimed", "app_starting", "app_start_failed", "app_stopped", "app_exited", "failover", "takeover"} {
		m.Noted(machine.History{Type: typ, App: "a"})
	}
	m.Wrote(machine.OpRenew, policy.OutcomeOK, time.Millisecond)
	text := m.text(t)
	src, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "names.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(x ast.Node) bool {
		lit, ok := x.(*ast.BasicLit)
		if !ok {
			return true
		}
		name, err := strconv.Unquote(lit.Value)
		if err == nil && strings.HasPrefix(name, "regent_") {
			n++
			if !strings.Contains(text, "# TYPE "+name+" ") {
				t.Errorf("%s is not shown", name)
			}
		}
		return true
	})
	if n < 20 {
		t.Errorf("found only %d names", n)
	}
	if problems, err := testutil.GatherAndLint(m.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
