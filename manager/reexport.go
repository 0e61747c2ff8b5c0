package manager

import (
	"context"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// Words of the other packages, so that a program which is a node needs this one
// alone. They are the same types, under the same or a longer name.
type (
	// Application is an app written in Go (OTP: behaviour application).
	Application = app.Application
	// Start is what an instance of an app is told (OTP: Module:start/2).
	Start = app.Start
	// NATS is how an instance connects to the cluster's NATS as its app.
	NATS = app.NATS
	// RestartType says what an app's end means for its node.
	RestartType = policy.RestartType
	// Config is a loaded configuration.
	Config = config.Config
	// Cookie is the secret that all nodes of a cluster share.
	Cookie = cred.Cookie
	// Access is how to show an external NATS who we are.
	Access = cred.Access
	// NodeName is name@host (OTP: node()).
	NodeName = node.Name
	// App is the name of an app (OTP: the application's atom).
	App = policy.App
	// Epoch is the fencing token of one ownership of an app: it grows with every
	// one, over all nodes, stops and restarts. Whoever an app writes to can
	// refuse an instance whose epoch is lower than one it has seen.
	Epoch = policy.Epoch
	// StartKind says why an instance was started (OTP: StartType).
	StartKind = policy.StartKind
	// Phase is a start phase (OTP: the key start_phases).
	Phase = policy.Phase

	// PhaseStarter is an Application with start phases (OTP: start_phase/3).
	PhaseStarter = app.PhaseStarter
	// Includer is an Application that has others as its parts (OTP:
	// included_applications).
	Includer = app.Includer
	// PrepStopper is an Application that is told before it is stopped (OTP:
	// prep_stop/1).
	PrepStopper = app.PrepStopper
	// Stopper is an Application that is told when it has ended, and may hand
	// something over to the next instance (OTP: stop/1).
	Stopper = app.Stopper
	// Confirmer is an Application that takes part in overlapping takeovers.
	Confirmer = app.Confirmer

	// ClusterStatus is what Node.Status returns: the document of "regent status
	// --json".
	ClusterStatus = status.Document
	// NodeStatus is one node of a ClusterStatus.
	NodeStatus = status.Node
	// AppStatus is one app of a ClusterStatus.
	AppStatus = status.App
)

// The restart types of OTP.
const (
	Temporary = policy.Temporary
	Transient = policy.Transient
	Permanent = policy.Permanent
)

// The start kinds of OTP.
const (
	StartNormal   = policy.StartNormal
	StartFailover = policy.StartFailover // {failover, Node}
	StartTakeover = policy.StartTakeover // {takeover, Node}
)

// States of a NodeStatus.
const (
	NodeSyncing = machine.NodeSyncing // in its barrier
	NodeUp      = machine.NodeUp
	NodeSuspect = machine.NodeSuspect // silent, its end is not proved
	NodeDown    = machine.NodeDown
	NodeLeft    = machine.NodeLeft // stopped gracefully
)

// States of an AppStatus.
const (
	AppStopped     = machine.AppStopped
	AppWaiting     = machine.AppWaiting // for a better node, or for permission
	AppStarting    = machine.AppStarting
	AppRunning     = machine.AppRunning
	AppStopping    = machine.AppStopping
	AppFailingOver = machine.AppFailingOver
	AppFailed      = machine.AppFailed
)

// Causes of the end of an app's context; see context.Cause.
var (
	// ErrFenced: the node has lost the right to run the app. What does not
	// return at once ends with the process.
	ErrFenced = app.ErrFenced
	// ErrAppStopped: the app is being stopped, within its stop timeout.
	ErrAppStopped = app.ErrStopped
)

// Errors about cookies.
var (
	// ErrCookieWeak: too short, or too few different characters.
	ErrCookieWeak = cred.ErrCookieWeak
	// ErrCookieReadable: others can read the file.
	ErrCookieReadable = cred.ErrCookieReadable
)

// NewCookie takes a cookie that the program has from elsewhere, a secret store
// for example. The error wraps ErrCookieWeak.
func NewCookie(value string) (Cookie, error) { return cred.NewCookie(value, false) }

// Func makes an Application of one function: started as soon as it is called,
// ended when it returns. It must return when its context ends.
func Func(run func(ctx context.Context, s Start) error) Application { return app.Func(run) }
