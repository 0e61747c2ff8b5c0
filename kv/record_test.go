package kv

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Times are kept to the millisecond, in the years that RFC 3339 can say.
var anyTime = rapid.Int64Range(0, 253402300799999)

var (
	anyNode = rapid.Custom(func(t *rapid.T) node.Name {
		return node.Name(rapid.StringMatching(`[A-Za-z0-9_-]{1,8}@[a-z0-9.-]{1,12}`).Draw(t, "node"))
	})
	maybeNode = rapid.OneOf(rapid.Just(node.Name("")), anyNode)
	anySlot   = rapid.Custom(func(t *rapid.T) policy.Slot {
		return policy.Slot{
			Node:    maybeNode.Draw(t, "node"),
			Session: policy.Session(rapid.String().Draw(t, "session")),
			SRev:    policy.Revision(rapid.Uint64().Draw(t, "srev")),
			Nonce:   policy.Nonce(rapid.String().Draw(t, "nonce")),
			Epoch:   policy.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Command: rapid.Bool().Draw(t, "command"),
		}
	})
	maybeSlot = rapid.OneOf(rapid.Just(policy.Slot{}), anySlot)
	anyEnded  = rapid.Custom(func(t *rapid.T) policy.EndedNode {
		return policy.EndedNode{Node: anyNode.Draw(t, "node"), At: anyTime.Draw(t, "at")}
	})
	anyApp = rapid.Custom(func(t *rapid.T) *policy.AppRecord {
		r := &policy.AppRecord{
			App:       policy.App(rapid.StringMatching(`[A-Za-z][A-Za-z0-9_@-]{0,20}`).Draw(t, "app")),
			Owner:     maybeSlot.Draw(t, "owner"),
			Phase:     rapid.SampledFrom([]policy.AppPhase{"", policy.PhaseStarting, policy.PhaseRunning}).Draw(t, "phase"),
			High:      policy.Epoch(rapid.Uint64().Draw(t, "high")),
			Next:      maybeSlot.Draw(t, "next"),
			Prev:      maybeSlot.Draw(t, "prev"),
			Want:      rapid.SampledFrom([]policy.Want{policy.WantRun, policy.WantStopped}).Draw(t, "want"),
			First:     rapid.SampledFrom([]policy.First{policy.FirstNone, policy.FirstWait, policy.FirstGo}).Draw(t, "first"),
			From:      maybeNode.Draw(t, "from"),
			Pinned:    rapid.Bool().Draw(t, "pinned"),
			Spec:      rapid.String().Draw(t, "spec"),
			StartKind: rapid.SampledFrom([]policy.StartKind{"", policy.StartNormal, policy.StartFailover, policy.StartTakeover}).Draw(t, "kind"),
			StartFrom: maybeNode.Draw(t, "startfrom"),
			Since:     anyTime.Draw(t, "since"),
			Error:     rapid.String().Draw(t, "error"),
		}
		if rapid.Bool().Draw(t, "has payload") {
			r.Payload = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "payload")
		}
		if rapid.Bool().Draw(t, "has ended") {
			r.Ended = rapid.SliceOfN(anyEnded, 1, 3).Draw(t, "ended")
		}
		return r
	})
	anySession = rapid.Custom(func(t *rapid.T) *policy.SessionRecord {
		return &policy.SessionRecord{
			Node:      anyNode.Draw(t, "node"),
			Session:   policy.Session(rapid.String().Draw(t, "session")),
			Agent:     policy.Nonce(rapid.String().Draw(t, "agent")),
			State:     rapid.SampledFrom([]policy.SessionState{policy.SessionLive, policy.SessionClosed, policy.SessionExpired, policy.SessionDead}).Draw(t, "state"),
			Host:      policy.Host{MachineID: rapid.String().Draw(t, "machine"), BootID: rapid.String().Draw(t, "boot"), PIDNamespace: rapid.Uint64().Draw(t, "pidns")},
			PID:       rapid.Int().Draw(t, "pid"),
			StartTime: rapid.Uint64().Draw(t, "start"),
			UID:       rapid.Int().Draw(t, "uid"),
			Groups:    rapid.String().Draw(t, "groups"),
			TTL:       time.Duration(rapid.Int64().Draw(t, "ttl")),
			Seq:       rapid.Uint64().Draw(t, "seq"),
			Since:     anyTime.Draw(t, "since"),
		}
	})
)

func TestRecordsAreDecodedAsTheyWereEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c policy.Cell
		switch rapid.SampledFrom([]policy.KeyKind{policy.KeyApp, policy.KeyNode, policy.KeyPermit, policy.KeyConfig}).Draw(t, "kind") {
		case policy.KeyApp:
			r := anyApp.Draw(t, "record")
			c = policy.Cell{Key: policy.AppKey(r.App), Rev: 7, App: r}
		case policy.KeyNode:
			r := anySession.Draw(t, "record")
			c = policy.Cell{Key: policy.NodeKey(r.Node), Rev: 7, Node: r}
		case policy.KeyPermit:
			r := anyPermit.Draw(t, "record")
			c = policy.Cell{Key: policy.PermitKey(r.App), Rev: 7, Permit: r}
		case policy.KeyConfig:
			c = policy.Cell{Key: policy.ConfigKey(), Rev: 7, Config: anySpec.Draw(t, "record")}
		}
		value, err := encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(c.Key, 7, value); !reflect.DeepEqual(got, c) {
			t.Fatalf("%s\n got %+v\nwant %+v", value, got, c)
		}
	})
}

func TestRecordsBeginWithWhatAPersonLooksFor(t *testing.T) {
	app := &policy.AppRecord{
		App:   "myapp",
		Owner: policy.Slot{Node: "node1@lxw", Session: "s-1", SRev: 4, Nonce: "n-1", Epoch: 12},
		Phase: policy.PhaseRunning, High: 12, Want: policy.WantRun, Since: 1767366245000,
		StartKind: policy.StartNormal, Payload: []byte("a <b>"),
	}
	session := &policy.SessionRecord{
		Node: "node1@lxw", Session: "s-1", Agent: "a-1", State: policy.SessionLive,
		Host: policy.Host{MachineID: "m", BootID: "b", PIDNamespace: 4026531836},
		PID:  42, StartTime: 77, UID: 1000, Groups: "/run/groups", TTL: 3 * time.Second, Seq: 9, Since: 1767366245000,
	}
	released := *app
	released.Owner.Node, released.Phase, released.Payload = "", "", []byte{0xff, 0}
	released.Next = policy.Slot{Node: "node2@lxw", Session: "s-2", SRev: 5, Nonce: "n-2", Epoch: 13, Command: true}
	tests := []struct {
		cell policy.Cell
		want string
	}{
		{
			policy.Cell{Key: policy.AppKey("myapp"), App: app},
			`{"owner":"node1@lxw","epoch":12,"session":"s-1","phase":"running","want":"run","next":null,"since":"2026-01-02T15:04:05.000Z","app":"myapp","v":1,` +
				`"nonce":"n-1","srev":4,"high":12,"prev":null,"first":"","from":"","pinned":false,"start_type":"normal","start_from":"","error":"","payload":"a <b>"}`,
		},
		{
			policy.Cell{Key: policy.AppKey("myapp"), App: &released},
			`{"owner":"","epoch":12,"session":"s-1","phase":"","want":"run","next":{"node":"node2@lxw","session":"s-2","srev":5,"nonce":"n-2","epoch":13,"command":true},"since":"2026-01-02T15:04:05.000Z","app":"myapp","v":1,` +
				`"nonce":"n-1","srev":4,"high":12,"prev":null,"first":"","from":"","pinned":false,"start_type":"normal","start_from":"","error":"","payload_base64":"/wA="}`,
		},
		{
			policy.Cell{Key: policy.NodeKey("node1@lxw"), Node: session},
			`{"name":"node1@lxw","session":"s-1","state":"live","since":"2026-01-02T15:04:05.000Z","v":1,"seq":9,"ttl":"3s","agent":"a-1","pid":42,"start_time":77,"uid":1000,"groups":"/run/groups",` +
				`"host":{"machine_id":"m","boot_id":"b","pid_namespace":4026531836}}`,
		},
	}
	for _, tt := range tests {
		got, err := encode(tt.cell)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.cell.Key, err, got, tt.want)
		}
	}
}

func TestWhatIsNoRecordIsDamagedWithTheReason(t *testing.T) {
	app, session := policy.AppKey("app"), policy.NodeKey("n1@h")
	tests := []struct {
		key    policy.Key
		value  string
		reason string // empty: it is read
	}{
		{app, ``, "not a record"},
		{app, `garbage`, "not a record"},
		{app, `null`, "no version"},
		{app, `[]`, "not a record"},
		{app, `{}`, "no version"},
		{app, `{"v":0,"app":"app","want":"run"}`, "no version"},
		{app, `{"v":-1,"app":"app","want":"run"}`, "no version"},
		{app, `{"v":"1","app":"app","want":"run"}`, "not a record"},
		{app, `{"v":2,"app":{},"owner":[1]}`, "written by a newer version (v 2"},
		{app, `{"v":1,"app":"app","want":"run"}`, ""},
		{app, `{"v":1,"app":"app","want":"run","added later":{"a":[1]}}`, ""},
		{app, `{"v":1,"app":"app","want":"run","since":"yesterday"}`, ""},
		{app, `{"v":1,"app":"app","want":"run","since":17}`, ""},
		{app, `{"v":1,"app":"app","want":"run","phase":"running"} x`, "not a record"},
		{app, `{"v":1,"app":"other","want":"run"}`, `ownership record of "other" under the key of "app"`},
		{app, `{"v":1,"name":"n1@h","state":"live"}`, `ownership record of "" under the key of "app"`},
		{app, `{"v":1,"app":"app"}`, `unknown want ""`},
		{app, `{"v":1,"app":"app","want":"run","phase":"dancing"}`, `unknown phase "dancing"`},
		{app, `{"v":1,"app":"app","want":"run","first":"maybe"}`, `unknown first "maybe"`},
		{app, `{"v":1,"app":"app","want":"run","epoch":-1}`, "not an ownership record"},
		{app, `{"v":1,"app":"app","want":"run","epoch":1.5}`, "not an ownership record"},
		{app, `{"v":1,"app":"app","want":"run","owner":"nobody"}`, `"nobody" is no node name`},
		{app, `{"v":1,"app":"app","want":"run","next":{"node":"x"}}`, `"x" is no node name`},
		{app, `{"v":1,"app":"app","want":"run","prev":{"node":"@h"}}`, `"@h" is no node name`},
		{session, `{"v":1,"name":"n1@h","state":"live","ttl":"3s"}`, ""},
		{session, `{"v":1,"name":"n2@h","state":"live","ttl":"3s"}`, `session record of "n2@h" under the key of "n1@h"`},
		{session, `{"v":1,"name":"n1@h","state":"undead","ttl":"3s"}`, `unknown session state "undead"`},
		{session, `{"v":1,"name":"n1@h","state":"live","ttl":3}`, "not a session record"},
		{session, `{"v":1,"name":"n1@h","state":"live","ttl":"soon"}`, "not a session record"},
		{session, `{"v":9}`, "written by a newer version (v 9"},
	}
	for _, tt := range tests {
		c := decode(tt.key, 5, []byte(tt.value))
		if c.Key != tt.key || c.Rev != 5 {
			t.Errorf("%s: key %s, revision %d", tt.value, c.Key, c.Rev)
		}
		if !strings.Contains(c.Damaged, tt.reason) || (c.Damaged == "") != (tt.reason == "") {
			t.Errorf("%s: damaged %q, expected %q", tt.value, c.Damaged, tt.reason)
		}
		if hasRecord := c.Node != nil || c.App != nil; hasRecord == (c.Damaged != "") {
			t.Errorf("%s: damaged %q with a record: %v", tt.value, c.Damaged, hasRecord)
		}
	}
}

func TestOnlyTheRecordOfItsKeyIsEncoded(t *testing.T) {
	app, session := &policy.AppRecord{App: "app"}, &policy.SessionRecord{Node: "n1@h"}
	for _, c := range []policy.Cell{
		{Key: policy.AppKey("app")},
		{Key: policy.AppKey("other"), App: app},
		{Key: policy.NodeKey("n1@h"), App: app},
		{Key: policy.NodeKey("n2@h"), Node: session},
		{Key: policy.AppKey("app"), App: app, Node: session},
		{Key: policy.AppKey("app"), Damaged: "deleted"},
	} {
		if value, err := encode(c); err == nil {
			t.Errorf("%+v was encoded as %s", c, value)
		}
	}
}

func TestKeysOfCells(t *testing.T) {
	for _, key := range []policy.Key{policy.AppKey("a"), policy.AppKey("my@app-1"), policy.NodeKey("n1@host.example"), policy.NodeKey("n@[::1]"), policy.PermitKey("my@app"), policy.ConfigKey()} {
		if got, ok := keyOf(key.String()); !ok || got != key {
			t.Errorf("keyOf(%q) = %v, %v", key.String(), got, ok)
		}
	}
	for _, key := range []string{
		"", "app", "app.", "node.", "node.n1", "app.1a", "app.a.b", "node.n1=40h.x", "config.", "config.a", "identity", "probe",
		"permit", "permit.", "permit.1a", "app.=4", "app.=41", "x.a", "App.a",
	} {
		if got, ok := keyOf(key); ok {
			t.Errorf("keyOf(%q) = %v, which is no cell", key, got)
		}
	}
}

// FuzzDecode looks for values that are neither damaged nor a record, and for
// records that change when they are written back.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"v":1}`, `{"v":1,"app":"app","want":"run"}`, `{"v":1,"name":"n1@h","state":"live","ttl":"3s"}`,
		`{"v":1,"app":"app","nodes":{"n1@h":false,"n2@h":true}}`,
		`{"v":1,"node":"n1@h","session":"s","digest":"d","applied":true,"voters":["n1@h"],"apps":[{"app":"a","timeout_ms":null,"nodes":[["n1@h"],["n2@h","n3@h"]],"takeover":"never","full_start":true,"start_phases":[{"name":"init","args":"1"}]}],"loaded":[{"app":"b","timeout_ms":5,"nodes":[["n1@h"]],"takeover":"overlap"}]}`,
		`{"v":1,"app":"app","want":"run","next":{"node":"n2@h"},"ended":[{"node":"n","at":"x"}],"payload_base64":"/w=="}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, key := range []policy.Key{policy.AppKey("app"), policy.NodeKey("n1@h"), policy.PermitKey("app"), policy.ConfigKey()} {
			c := decode(key, 1, []byte(value))
			if c.Damaged != "" {
				continue
			}
			again, err := encode(c)
			if err != nil {
				t.Fatalf("read but can't be written: %v", err)
			}
			if got := decode(key, 1, again); !reflect.DeepEqual(got, c) {
				t.Fatalf("changed when written back:\n%+v\n%+v", c, got)
			}
		}
	})
}
