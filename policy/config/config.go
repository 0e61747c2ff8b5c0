package config

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Config is what all files together say. Every list is sorted by its name,
// except the node lists of Sync and Servers, which are as written.
type Config struct {
	Specs       []policy.Spec // the distributed apps
	Apps        []App         // every app that is defined or distributed
	Sync        Sync
	Permissions []Permission
	NetTicktime time.Duration // 0: not set. Of connections for messages: for apps the lease decides
	Hosts       []Host
	Ports       Ports
	Addresses   []Address
	Lease       time.Duration // 0: the default of the mode, see Timing
	KVOutage    time.Duration // 0: likewise
	Servers     []node.Name   // empty: see Voters
	Arbiter     node.Name     // "": none
	Env         []Section     // other applications' sections, and keys of kernel that have no effect here
	Warnings    []Diagnostic

	at positions
}

// positions remembers where things were said, for errors found later.
type positions struct {
	distributed, servers, arbiter, lease, kvOutage Position
	apps                                           map[policy.App]Position // distributed entries
	nodes                                          []located[node.Name]    // every mention
}

// located is a value and where it stood.
type located[T any] struct {
	value T
	at    Position
}

// App is the definition of one app, with the defaults filled in.
type App struct {
	Name        policy.App
	Local       bool     // it has no distributed entry: it runs wherever it is started
	Command     []string // empty: a Go program has to register it
	Env         []Variable
	Dir         string
	Args        string             // JSON, "" when not given
	Type        policy.RestartType // when a start names none
	Stop        Stop
	Restart     Restart
	StartPhases []policy.Phase // its own; see Config.Phases
	Included    []policy.App   // its parts, in the order of their phases

	// What becomes part of its specification if it is made distributed at run
	// time.
	Takeover  policy.TakeoverMode
	FullStart bool
}

// Distribute is the specification of an app that becomes distributed at run
// time (OTP: application:load/2), with what this configuration says of it. One of
// which it says nothing is a Go program's: it is told of a failover as such
// (B-20).
func (c *Config) Distribute(app policy.App, timeout policy.Timeout, groups [][]node.Name) policy.Spec {
	s := policy.Spec{App: app, Timeout: timeout, Groups: groups, Takeover: policy.Exclusive, FullStart: true}
	if def, ok := c.App(app); ok {
		s.Takeover, s.FullStart, s.StartPhases = def.Takeover, def.FullStart, c.Phases(app)
	}
	return s
}

// Variable is one environment variable of an app's process.
type Variable struct{ Name, Value string }

// Stop says how an app's process is asked to stop, and for how long.
type Stop struct {
	Signal  string // without SIG
	Timeout time.Duration
}

// Restart bounds the local restarts of an app before it counts as terminated:
// at most Max within Within, with Backoff before each.
type Restart struct {
	Max             int
	Within, Backoff time.Duration
}

// Sync is the barrier at boot (OTP: sync_nodes_mandatory, sync_nodes_optional,
// sync_nodes_timeout).
type Sync struct {
	Mandatory, Optional []node.Name
	Timeout             policy.Timeout
	Defined             bool // Timeout is set; otherwise nothing is waited for, whatever the lists say
}

// Permission is one entry of OTP's kernel parameter permissions.
type Permission struct {
	App       policy.App
	Permitted bool
}

// Host says at which address the host part of node names is found.
type Host struct{ Name, Addr string }

// Ports are the bases of the port map.
type Ports struct{ Client, Cluster int }

// The bases of the port map when nothing else is said.
const (
	DefaultClientPort  = 4222
	DefaultClusterPort = 6222
)

// Address is where other nodes reach a node: HOST:PORT of its client port and
// of its route port.
type Address struct {
	Node            node.Name
	Client, Cluster string // "" in Config.Addresses: as the port map has it
}

// Section is the environment of one application (OTP:
// application:get_env/2).
type Section struct {
	App    string
	Values []Value
}

// Value is one key of a section, its value as JSON.
type Value struct{ Key, JSON string }

// Spec finds the specification of a distributed app.
func (c *Config) Spec(app policy.App) (*policy.Spec, bool) {
	i, found := slices.BinarySearchFunc(c.Specs, app, func(s policy.Spec, a policy.App) int {
		return strings.Compare(string(s.App), string(a))
	})
	if !found {
		return nil, false
	}
	return &c.Specs[i], true
}

// App finds the definition of an app. Every distributed app has one, if only
// of defaults.
func (c *Config) App(app policy.App) (*App, bool) {
	i, found := slices.BinarySearchFunc(c.Apps, app, func(d App, a policy.App) int {
		return strings.Compare(string(d.Name), string(a))
	})
	if !found {
		return nil, false
	}
	return &c.Apps[i], true
}

// Section finds the environment of an application.
func (c *Config) Section(app string) ([]Value, bool) {
	i, found := slices.BinarySearchFunc(c.Env, app, func(s Section, a string) int {
		return strings.Compare(s.App, a)
	})
	if !found {
		return nil, false
	}
	return c.Env[i].Values, true
}

// Nodes lists every node of the configuration, sorted: those in distributed,
// the sync lists, servers, arbiter and addresses.
func (c *Config) Nodes() []node.Name {
	names := c.DistributedNodes()
	names = append(names, c.Sync.Mandatory...)
	names = append(names, c.Sync.Optional...)
	names = append(names, c.Servers...)
	if c.Arbiter != "" {
		names = append(names, c.Arbiter)
	}
	for _, a := range c.Addresses {
		names = append(names, a.Node)
	}
	return sortedSet(names)
}

// DistributedNodes lists the nodes of all specs, sorted.
func (c *Config) DistributedNodes() []node.Name {
	var names []node.Name
	for i := range c.Specs {
		names = append(names, c.Specs[i].Nodes()...)
	}
	return sortedSet(names)
}

func sortedSet[T ~string](names []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// OverrideHosts puts hosts, as they come from flags or the environment, before
// those of the files.
func (c *Config) OverrideHosts(hosts ...Host) {
	for _, h := range hosts {
		c.Hosts = put(c.Hosts, h, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	}
}

// put inserts x into a sorted list, or replaces its equal.
func put[T any](list []T, x T, compare func(a, b T) int) []T {
	i, found := slices.BinarySearchFunc(list, x, compare)
	if found {
		list[i] = x
		return list
	}
	return slices.Insert(list, i, x)
}
