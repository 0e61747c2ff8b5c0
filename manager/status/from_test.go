package status_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const wall = 1_767_366_245_000 // 2026-01-02T15:04:05Z

func classic() *machine.Status {
	return &machine.Status{
		Node: "node1@lxw", Phase: machine.BeatUp, Session: "s1", Trusted: true,
		Nodes: []machine.NodeStatus{
			{Name: "node3@lxw", State: machine.NodeSuspect, Session: "s3", Since: wall - 5000, Version: "v1"},
			{Name: "node1@lxw", State: machine.NodeUp, Session: "s1", Since: wall - 9000, Version: "v1", Running: []policy.App{"myapp", "local"}},
			{Name: "admin@lxw", State: machine.NodeUp, Hidden: true, Session: "s0", Since: wall},
		},
		Apps: []machine.AppStatus{
			{
				Name: "myapp", State: machine.AppRunning, Node: "node1@lxw", Epoch: 12, StartKind: policy.StartTakeover, From: "node2@lxw",
				Since: wall - 1234, Timeout: policy.Timeout(5 * time.Second),
				Groups:    [][]node.Name{{"node1@lxw"}, {"node3@lxw", "node2@lxw"}},
				StartedOn: []node.Name{"node3@lxw", "node1@lxw"},
				Permitted: map[node.Name]bool{"node1@lxw": true, "node2@lxw": false, "node3@lxw": true},
				Cause:     machine.CauseBest,
				Verdicts: []machine.Verdict{
					{Node: "node1@lxw", Standing: machine.StandingRuns, Weight: 1},
					{Node: "node2@lxw", Standing: machine.StandingUnstarted},
					{Node: "node3@lxw", Standing: machine.StandingPriority},
				},
			},
			{Name: "local", State: machine.AppRunning, StartKind: policy.StartNormal, Local: true, StartedOn: []node.Name{"node1@lxw"}, RunningOn: []node.Name{"node1@lxw"}},
			{
				Name: "forever", State: machine.AppStopped, StartKind: policy.StartNormal, Timeout: policy.Infinite,
				Groups: [][]node.Name{{"node1@lxw"}}, Permitted: map[node.Name]bool{"node1@lxw": true},
			},
			{
				Name: "moving", State: machine.AppFailingOver, Epoch: 3, StartKind: policy.StartNormal, Since: wall - 2000,
				FailoverAt: machine.Instant(103 * time.Second), Timeout: policy.Timeout(5 * time.Second),
				Groups: [][]node.Name{{"node2@lxw"}, {"node1@lxw"}}, StartedOn: []node.Name{"node1@lxw"},
				Permitted: map[node.Name]bool{"node1@lxw": true, "node2@lxw": true}, WaitingFor: "node2@lxw", Error: "exit status 1",
				Cause: machine.CauseTimeout, Verdicts: []machine.Verdict{{Node: "node2@lxw", Standing: machine.StandingFailed, Error: "boom"}},
			},
		},
	}
}

func running() status.Extra {
	return status.Extra{
		Cluster: "default",
		Quorum:  status.Quorum{OK: true, Servers: 3, Leader: "node3@lxw", Mode: status.Embedded},
		Absent:  []node.Name{"node2@lxw"},
		Now:     machine.Instant(100 * time.Second), Wall: wall,
	}
}

func TestGolden(t *testing.T) {
	barrier := &machine.Status{
		Node: "node1@lxw", Phase: machine.BeatSyncing, Missing: []node.Name{"node3@lxw"},
		Waiting: []string{"node3@lxw (not heard)"},
		Nodes:   []machine.NodeStatus{{Name: "node1@lxw", State: machine.NodeSyncing, Since: wall}},
	}
	noQuorum := status.Extra{
		Cluster: "default", Quorum: status.Quorum{Servers: 3, Mode: status.Embedded},
		Absent: []node.Name{"node3@lxw", "node2@lxw"}, Wall: wall,
	}
	for _, tt := range []struct {
		name string
		doc  status.Document
	}{
		{"running", status.From(classic(), running())},
		{"barrier", status.From(barrier, noQuorum)},
		{"empty", status.From(&machine.Status{Node: "node1@lxw"}, status.Extra{Cluster: "default"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.MarshalIndent(tt.doc, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, filepath.Join("testdata", tt.name+".json"), append(got, '\n'))
		})
	}
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant %s\n%s", got, file, want)
	}
}

func TestDocumentIsReadBack(t *testing.T) {
	doc := status.From(classic(), running())
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var got status.Document
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, doc) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, doc)
	}
}

func TestDocumentSharesNothing(t *testing.T) {
	s := classic()
	doc := status.From(s, running())
	doc.Apps[2].Nodes[1][0] = "changed"
	doc.Apps[2].Permitted["node1@lxw"] = false
	doc.Nodes[1].Running[0] = "changed"
	if want := classic(); !reflect.DeepEqual(s, want) {
		t.Errorf("the machine's status changed to\n%+v", s)
	}
}

func TestBadTimeIsRefused(t *testing.T) {
	var at status.Time
	for _, text := range []string{`"yesterday"`, `12`, `""`} {
		if err := json.Unmarshal([]byte(text), &at); err == nil {
			t.Errorf("%s was read as %v", text, at)
		}
	}
}
