package machine

import (
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Status is what a node knows, for people and programs: a copy, safe to keep.
type Status struct {
	Node    node.Name
	Phase   BeatPhase
	Waiting []string // what this node waits for, in words a person can act on
	Missing []node.Name
	Session policy.Session
	Fence   Instant // when this session's apps must be gone; 0 without a session
	Trusted bool    // the bucket is known and acted on
	Nodes   []NodeStatus
	Apps    []AppStatus
}

// NodeState is the state of a node as this one sees it.
type NodeState string

// Node states.
const (
	NodeSyncing NodeState = "syncing"
	NodeUp      NodeState = "up"
	NodeSuspect NodeState = "suspect"
	NodeDown    NodeState = "down"
	NodeLeft    NodeState = "left"
)

// NodeStatus is one node.
type NodeStatus struct {
	Name    node.Name
	State   NodeState
	Hidden  bool
	Session policy.Session
	Since   int64 // Unix milliseconds
	Version string
	Running []policy.App
}

// AppState is the state of an app in the cluster.
type AppState string

// App states.
const (
	AppStopped     AppState = "stopped"
	AppWaiting     AppState = "waiting"
	AppStarting    AppState = "starting"
	AppRunning     AppState = "running"
	AppStopping    AppState = "stopping"
	AppFailingOver AppState = "failing_over"
	AppFailed      AppState = "failed"
)

// AppStatus is one app.
type AppStatus struct {
	Name       policy.App
	State      AppState
	Node       node.Name // where it runs
	Epoch      policy.Epoch
	StartKind  policy.StartKind
	From       node.Name
	Since      int64   // Unix milliseconds of the last change
	FailoverAt Instant // with AppFailingOver: when the Timeout ends; 0 otherwise or with infinity
	Timeout    policy.Timeout
	Groups     [][]node.Name
	StartedOn  []node.Name
	Permitted  map[node.Name]bool // never ranged over here
	Local      bool
	RunningOn  []node.Name // local apps
	WaitingFor node.Name
	Error      string
}
