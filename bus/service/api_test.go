package service

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

const sampleStatus = `{"schema":1,"cluster":"default","node":"node1@lxw","paused":false,"quorum":{"ok":true,"servers":3,"leader":"node3@lxw","mode":"embedded"},
 "nodes":[{"name":"node1@lxw","state":"up","hidden":false,"session":"9d2e","since":"2026-01-02T15:04:05.000Z","host":"lxw","version":"1.0.0","drained":false,"running":["myapp"]}],
 "apps":[{"name":"myapp","state":"running","node":"node1@lxw","epoch":12,"start_type":"normal","from":"","since":"2026-01-02T15:04:05.000Z","failover_at":null,
          "timeout_ms":5000,"nodes":[["node1@lxw"],["node2@lxw","node3@lxw"]],
          "started_on":["node1@lxw","node2@lxw","node3@lxw"],"permitted":{"node1@lxw":true,"node2@lxw":true,"node3@lxw":true},"error":""}]}`

// Scripts read these names: fields may be added, never renamed.
func TestStatusDocument(t *testing.T) {
	want := Status{
		Schema: 1, Cluster: "default", Node: "node1@lxw", Quorum: Quorum{OK: true, Servers: 3, Leader: "node3@lxw", Mode: "embedded"},
		Nodes: []Node{{Name: "node1@lxw", State: "up", Session: "9d2e", Since: "2026-01-02T15:04:05.000Z", Host: "lxw", Version: "1.0.0", Running: []string{"myapp"}}},
		Apps: []App{{
			Name: "myapp", State: "running", Node: "node1@lxw", Epoch: 12, StartType: "normal", Since: "2026-01-02T15:04:05.000Z",
			TimeoutMS: new(int64(5000)), Nodes: [][]string{{"node1@lxw"}, {"node2@lxw", "node3@lxw"}},
			StartedOn: []string{"node1@lxw", "node2@lxw", "node3@lxw"},
			Permitted: map[string]bool{"node1@lxw": true, "node2@lxw": true, "node3@lxw": true},
		}},
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var sample bytes.Buffer
	if err := json.Compact(&sample, []byte(sampleStatus)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, sample.Bytes()) {
		t.Errorf("wrote\n%s\nwant\n%s", data, &sample)
	}
	var got Status
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	data, err := json.Marshal(Status{Nodes: []Node{{}}, Apps: []App{{RunningOn: []string{"a@h"}}}, WaitingFor: []string{"node3@lxw"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"schema":1,"cluster":"","node":"","paused":false,"quorum":{"ok":false,"servers":0,"leader":"","mode":""},"waiting_for":["node3@lxw"],` +
		`"nodes":[{"name":"","state":"","hidden":false,"session":"","since":"","host":"","version":"","drained":false,"running":[]}],` +
		`"apps":[{"name":"","state":"","node":"","epoch":0,"start_type":"","from":"","since":"","failover_at":null,"timeout_ms":null,"nodes":[],"started_on":[],"permitted":{},"running_on":["a@h"],"error":""}]}`
	if string(data) != want {
		t.Errorf("wrote\n%s\nwant\n%s", data, want)
	}
	if data, err = json.Marshal(Status{}); err != nil || bytes.Contains(data, []byte("null")) {
		t.Errorf("%s, %v", data, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"app":"x","permitted":true}`))
	f.Add([]byte(`{"app":{},"type":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range Verbs() {
			if err := v.check(data); err != nil && errorOf(err).Code != CodeBadRequest {
				t.Errorf("%s %q: %v", v.Name, data, err)
			}
		}
	})
}
