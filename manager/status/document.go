package status

import (
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Schema is the version of every document.
const Schema = 1

// Document is a cluster as one node sees it.
type Document struct {
	Schema  int       `json:"schema"`
	Cluster string    `json:"cluster"`
	Node    node.Name `json:"node"` // who tells this
	Paused  bool      `json:"paused"`
	Quorum  Quorum    `json:"quorum"`

	// WaitingFor names the nodes that hold this one up: absent from its
	// barrier, or servers without which there is no quorum. Waiting says in
	// words everything that it waits for.
	WaitingFor []node.Name `json:"waiting_for,omitempty"`
	Waiting    []string    `json:"waiting,omitempty"`

	Nodes []Node `json:"nodes"`
	Apps  []App  `json:"apps"`
}

// Mode says whose servers keep the records.
type Mode string

// Modes.
const (
	Embedded Mode = "embedded" // the nodes' own
	External Mode = "external"
)

// Quorum is the state of the store.
type Quorum struct {
	OK      bool   `json:"ok"`
	Servers int    `json:"servers"` // that have a replica
	Leader  string `json:"leader"`  // server name; of an embedded one the node's
	Mode    Mode   `json:"mode"`

	// Behind says why the own copy of the node that answers is not complete:
	// until it is, no other voter should be taken away. Empty when it is
	// complete, and for a node that runs no server.
	Behind string `json:"behind,omitempty"`
}

// Node is one node.
type Node struct {
	Name    node.Name         `json:"name"`
	State   machine.NodeState `json:"state"`
	Hidden  bool              `json:"hidden"`
	Session policy.Session    `json:"session"`
	Since   Time              `json:"since"`
	Host    string            `json:"host"`
	Version string            `json:"version"`
	Drained bool              `json:"drained"`
	Running []policy.App      `json:"running"`
}

// App is one app. Node is "" while it doesn't run; Epoch is then its last one
// and Since the last change. StartType and From are what its process saw.
type App struct {
	Name       policy.App         `json:"name"`
	State      machine.AppState   `json:"state"`
	Node       node.Name          `json:"node"`
	Epoch      policy.Epoch       `json:"epoch"`
	StartType  policy.StartKind   `json:"start_type"`
	From       node.Name          `json:"from"`
	Since      Time               `json:"since"`
	FailoverAt Time               `json:"failover_at"` // while failing over with a finite timeout
	TimeoutMS  *int64             `json:"timeout_ms"`  // nil: infinity, or a local app
	Nodes      [][]node.Name      `json:"nodes"`       // in priority order; empty: a local app
	StartedOn  []node.Name        `json:"started_on"`
	Permitted  map[node.Name]bool `json:"permitted"`            // every node of Nodes
	RunningOn  []node.Name        `json:"running_on,omitempty"` // of a local app
	WaitingFor node.Name          `json:"waiting_for,omitempty"`
	Next       node.Name          `json:"next,omitempty"` // has asked for it, or has precedence
	Error      string             `json:"error"`
	Cause      machine.Cause      `json:"cause"`                // why it runs there, or does not
	Candidates []Candidate        `json:"candidates,omitempty"` // one per node of its list
}

// Local reports whether a is an app without a distributed entry: it runs on
// every node where it is started.
func (a *App) Local() bool { return len(a.Nodes) == 0 }

// NodeList is the document of "regent nodes --json".
type NodeList struct {
	Schema int    `json:"schema"`
	Nodes  []Node `json:"nodes"`
}

// AppList is the document of "regent apps --json".
type AppList struct {
	Schema int   `json:"schema"`
	Apps   []App `json:"apps"`
}

// Time is a moment, in JSON as RFC 3339 in UTC with milliseconds; the zero
// Time is null.
type Time struct{ time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z"

// UnixMilli is the time ms milliseconds after 1970; 0 is the zero Time.
func UnixMilli(ms int64) Time {
	if ms == 0 {
		return Time{}
	}
	return Time{time.UnixMilli(ms).UTC()}
}

// MarshalJSON writes null or RFC 3339.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(timeFormat) + `"`), nil
}

// UnmarshalJSON reads null or RFC 3339.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}
