package config

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// finish turns the merged layers into a Config: defaults are filled in, and
// what can only be judged as a whole is judged.
func (d *decoder) finish(l *layer) *Config {
	c := &Config{
		Sync: Sync{
			Mandatory: names(l.mandatory),
			Optional:  names(l.optional),
		},
		Hosts:   l.hosts,
		Ports:   Ports{DefaultClientPort, DefaultClusterPort},
		Servers: names(l.servers),
		Env:     l.env,
	}
	c.at.apps = map[policy.App]Position{}
	take(&c.Lease, &c.at.lease, l.lease)
	take(&c.KVOutage, &c.at.kvOutage, l.kvOutage)
	take(&c.NetTicktime, new(Position), l.netTicktime)
	take(&c.Sync.Timeout, new(Position), l.syncTimeout)
	take(&c.Ports.Client, new(Position), l.client)
	take(&c.Ports.Cluster, new(Position), l.cluster)
	take(&c.Arbiter, &c.at.arbiter, l.arbiter)
	take(new([]located[node.Name]), &c.at.servers, l.servers)
	take(new([]entry), &c.at.distributed, l.distributed)
	c.Sync.Defined = l.syncTimeout != nil
	for _, a := range l.addresses {
		c.Addresses = append(c.Addresses, a.value)
	}
	c.addApps(l)
	d.include(c, l)
	c.mentions(l)
	d.check(c, l)
	c.Warnings = sorted(d.warnings)
	return c
}

// take copies what was said, and where.
func take[T any](dst *T, at *Position, src *located[T]) {
	if src != nil {
		*dst, *at = src.value, src.at
	}
}

func names(list *located[[]located[node.Name]]) []node.Name {
	if list == nil {
		return nil
	}
	return values(list.value)
}

func values[T any](list []located[T]) []T {
	var out []T
	for _, e := range list {
		out = append(out, e.value)
	}
	return out
}

// addApps makes the specs and the definitions, sorted by name.
func (c *Config) addApps(l *layer) {
	defs := slices.Clone(l.apps)
	var entries []entry
	if l.distributed != nil {
		entries = slices.SortedFunc(slices.Values(l.distributed.value), func(a, b entry) int {
			return strings.Compare(string(a.app), string(b.app))
		})
	}
	for _, e := range entries {
		def := definition{name: e.app, syntax: e.syntax}
		i, found := slices.BinarySearchFunc(defs, def, definitionOrder)
		if !found {
			defs = slices.Insert(defs, i, def)
		}
		defs[i].syntax = e.syntax
		c.Specs = append(c.Specs, e.spec(defs[i]))
		c.at.apps[e.app] = e.at
	}
	for _, def := range defs {
		app := def.app()
		_, distributed := c.at.apps[def.name]
		app.Local = !distributed
		c.Apps = append(c.Apps, app)
	}
}

// spec joins an entry with the part of its app's definition that changes
// decisions; the start phases come later, with those of included apps. An app with the key start_phases, even if it lists none, is told
// of a failover as such (OTP: application_controller).
func (e entry) spec(def definition) policy.Spec {
	s := policy.Spec{
		App:       e.app,
		Timeout:   e.timeout,
		Takeover:  or(def.takeover, policy.Exclusive),
		FullStart: def.fullStart(e.syntax),
	}
	for _, g := range e.groups {
		s.Groups = append(s.Groups, values(g))
	}
	return s
}

func (def definition) fullStart(s syntax) bool { return def.phases != nil || or(def.full, s == yaml) }

func or[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}

// DefaultStopTimeout is how long an app may take to stop where nothing else is
// said.
const DefaultStopTimeout = 10 * time.Second

// Defaults of an app.
const (
	defaultStopSignal     = "TERM"
	defaultRestartWithin  = 5 * time.Second
	defaultRestartBackoff = 200 * time.Millisecond
	defaultRestartsYAML   = 3
)

// app fills in the defaults. An app whose entry is in a .config file isn't
// restarted locally, as in OTP.
func (def definition) app() App {
	restarts := 0
	if def.syntax == yaml {
		restarts = defaultRestartsYAML
	}
	return App{
		Name:    def.name,
		Command: or(def.command, nil),
		Env:     def.env,
		Dir:     or(def.dir, ""),
		Args:    or(def.args, ""),
		Type:    or(def.restartType, policy.Temporary),
		Stop:    Stop{or(def.stop.signal, defaultStopSignal), or(def.stop.timeout, DefaultStopTimeout)},
		Restart: Restart{
			or(def.restart.max, restarts),
			or(def.restart.within, defaultRestartWithin),
			or(def.restart.backoff, defaultRestartBackoff),
		},
		StartPhases: or(def.phases, nil),
		Takeover:    or(def.takeover, policy.Exclusive),
		FullStart:   def.fullStart(def.syntax),
	}
}

// mentions collects every node and where it stands.
func (c *Config) mentions(l *layer) {
	if l.distributed != nil {
		for _, e := range l.distributed.value {
			c.at.nodes = append(c.at.nodes, slices.Concat(e.groups...)...)
		}
	}
	for _, list := range []*located[[]located[node.Name]]{l.mandatory, l.optional, l.servers} {
		if list != nil {
			c.at.nodes = append(c.at.nodes, list.value...)
		}
	}
	if l.arbiter != nil {
		c.at.nodes = append(c.at.nodes, *l.arbiter)
	}
	for _, a := range l.addresses {
		c.at.nodes = append(c.at.nodes, located[node.Name]{a.value.Node, a.at})
	}
}

// check looks at relations between keys.
func (d *decoder) check(c *Config, l *layer) {
	d.checkKinds(c)
	d.checkArbiter(c)
	d.checkSync(c, l)
	d.checkPermissions(c, l)
	if c.Ports.Client == c.Ports.Cluster {
		at := c.at.distributed
		for _, p := range []*located[int]{l.client, l.cluster} {
			if p != nil {
				at = p.at
			}
		}
		d.errorf(at, "", "ports.client and ports.cluster are both %d", c.Ports.Client)
	}
	if len(c.Servers) == 2 && c.Arbiter == "" {
		d.add(twoVoters(c.at.servers, c.Servers))
	}
}

// checkKinds refuses short beside long names: Erlang nodes of the two kinds
// never connect.
func (d *decoder) checkKinds(c *Config) {
	for _, n := range c.at.nodes {
		first := c.at.nodes[0]
		if n.value.Long() != first.value.Long() {
			d.errorf(n.at, "a cluster is all short names (-sname) or all long ones (-name)",
				"%s is a %s name, but %s at %v is a %s one", n.value, length(n.value), first.value, first.at, length(first.value))
			return
		}
	}
}

func length(n node.Name) string {
	if n.Long() {
		return "long"
	}
	return "short"
}

func (d *decoder) checkArbiter(c *Config) {
	switch {
	case c.Arbiter == "":
	case slices.Contains(c.Servers, c.Arbiter):
		d.errorf(c.at.arbiter, "", "arbiter %s is also in servers", c.Arbiter)
	case slices.Contains(c.DistributedNodes(), c.Arbiter):
		d.errorf(c.at.arbiter, "an arbiter is only a voter and runs no app", "arbiter %s is also in distributed", c.Arbiter)
	}
}

func (d *decoder) checkSync(c *Config, l *layer) {
	for _, list := range []*located[[]located[node.Name]]{l.mandatory, l.optional} {
		if !c.Sync.Defined && list != nil && len(list.value) > 0 {
			d.warnf(list.at, "give a timeout, or infinity", "the list has no effect: without sync_nodes_timeout nothing is waited for")
		}
	}
	if l.optional == nil {
		return
	}
	for _, n := range l.optional.value {
		if slices.Contains(c.Sync.Mandatory, n.value) {
			d.warnf(n.at, "", "%s is mandatory already", n.value)
		}
	}
}

func (d *decoder) checkPermissions(c *Config, l *layer) {
	if l.permissions == nil {
		return
	}
	for _, p := range l.permissions.value {
		c.Permissions = append(c.Permissions, p.value)
		if _, ok := c.App(p.value.App); !ok {
			d.warnf(p.at, "", "the permission has no effect unless a program registers or loads %s", p.value.App)
		}
	}
}
