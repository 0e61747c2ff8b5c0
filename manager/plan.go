package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/osproc"
	"github.com/seed7529eb29/regent/manager/samehost"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

// plan is what options and configuration come to for this node.
type plan struct {
	self       node.Name
	lease      policy.Lease
	voters     []node.Name
	voter      bool
	addresses  []config.Address
	server     embedded.Options // of a voter, without authority and directory
	clientURLs []string         // of all voters, the own one first
	external   bool
	userinfo   *url.Userinfo // what stood in the URL of an external NATS; nil: nothing
	login      Access        // for it, that included
	firstBoot  []node.Name   // without memory, all of them: a true first boot
	digest     string
}

func (o *Options) plan() (plan, error) {
	var p plan
	var err error
	if p.self, err = o.name(); err != nil {
		return p, err
	}
	if _, err := bus.ParseCluster(o.Cluster); err != nil {
		return p, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if o.Config == nil {
		return p, fmt.Errorf("%w: no configuration", ErrOptions)
	}
	for name := range o.Apps {
		if _, err := policy.ParseApp(name); err != nil {
			return p, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	if p.external = o.Server != ""; p.external {
		return p, p.planExternal(o)
	}
	for _, f := range []func(*Options) error{p.check, p.placeVoters, p.place} {
		if err := f(o); err != nil {
			return p, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	p.digest, p.firstBoot = o.Config.Digest(o.Cluster, p.voters), p.voters
	return p, specFits(o.Config)
}

// planExternal: the servers are somebody else's, so every node is a client,
// and any of them may remember the bucket.
func (p *plan) planExternal(o *Options) error {
	if err := p.check(o); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := p.planServers(o.Server); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if p.login = o.Access.WithUserinfo(p.userinfo); o.Creds != "" {
		p.login.Creds = o.Creds
	}
	if err := p.login.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	p.firstBoot = o.Config.Nodes()
	p.digest = o.Config.Digest(o.Cluster, nil)
	return specFits(o.Config)
}

// specMax leaves room for the rest of the record that holds the specification.
const specMax = kv.MaxValue - 16<<10

// specFits refuses a specification that no record can hold: nothing would ever
// be claimed by it.
func specFits(c *config.Config) error {
	raw, err := json.Marshal(specjson.FromAll(c.Specs))
	if err != nil || len(raw) > specMax {
		return fmt.Errorf("%w: %d distributed apps are too many: %d bytes of specification, at most %d", ErrConfig, len(c.Specs), len(raw), specMax)
	}
	return nil
}

// planServers reads the addresses of an external NATS. What stands before the @
// is kept beside them: addresses are logged, and written where other programs
// of this machine read them.
func (p *plan) planServers(list string) error {
	for addr := range strings.SplitSeq(list, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		if !strings.Contains(addr, "://") {
			addr = "nats://" + addr
		}
		u, err := url.Parse(addr)
		if err != nil || u.Hostname() == "" {
			return errors.New("server URL: expected nats://HOST:PORT") // the parser's error would show a password
		}
		if u.User != nil && p.userinfo != nil && u.User.String() != p.userinfo.String() {
			return errors.New("server URLs: two of them have different users, passwords or tokens")
		}
		if u.User != nil {
			p.userinfo, u.User = u.User, nil
		}
		p.clientURLs = append(p.clientURLs, u.String())
	}
	if len(p.clientURLs) == 0 {
		return errors.New("no server URL")
	}
	return nil
}

func (p *plan) check(o *Options) error {
	if err := o.Config.CheckNode(p.self, o.Hidden); err != nil {
		return err
	}
	var err error
	p.lease, err = o.Config.Timing(p.external)
	return err
}

func (p *plan) placeVoters(o *Options) error {
	var err error
	p.voters, err = o.Config.Voters(p.self)
	p.voter = slices.Contains(p.voters, p.self)
	return err
}

// place finds this node's addresses and everybody else's.
func (p *plan) place(o *Options) error {
	var err error
	if p.addresses, err = o.Config.PortMap(p.self, resolveHost); err != nil {
		return err
	}
	for _, a := range p.addresses {
		if !slices.Contains(p.voters, a.Node) {
			continue
		}
		p.server.Voters = append(p.server.Voters, embedded.Peer{Name: string(a.Node), ClusterAddr: a.Cluster})
		addr := "tls://" + a.Client
		if a.Node != p.self {
			p.clientURLs = append(p.clientURLs, addr)
			continue
		}
		p.clientURLs = slices.Insert(p.clientURLs, 0, addr)
		p.placeServer(o, a)
	}
	if len(p.clientURLs) == 0 {
		return fmt.Errorf("no node of the configuration runs a server: name nodes in distributed, or voters in servers")
	}
	return nil
}

// placeServer binds the node's own address where one was given for it, else
// all interfaces.
func (p *plan) placeServer(o *Options, a config.Address) {
	s := &p.server
	s.Name = string(p.self)
	s.ClientListen, s.ClusterListen = a.Client, a.Cluster
	s.ClientAdvertise, s.ClusterAdvertise = a.Client, a.Cluster
	client, cluster := o.given(p.self)
	if !client {
		s.ClientListen = anyHost(a.Client)
	}
	if !cluster {
		s.ClusterListen = anyHost(a.Cluster)
	}
	if o.Listen != "" {
		s.ClientListen = o.Listen
	}
	if o.ClusterListen != "" {
		s.ClusterListen = o.ClusterListen
	}
	s.Hosts = []string{p.self.Host()}
	for _, addr := range []string{a.Client, a.Cluster} {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			s.Hosts = append(s.Hosts, host)
		}
	}
}

// given says which of a node's two addresses the configuration tells, rather
// than the name of its host.
func (o *Options) given(n node.Name) (client, cluster bool) {
	host := slices.ContainsFunc(o.Config.Hosts, func(h config.Host) bool { return h.Name == n.Host() })
	client, cluster = host, host
	for _, a := range o.Config.Addresses {
		if a.Node == n {
			client, cluster = client || a.Client != "", cluster || a.Cluster != ""
		}
	}
	return client, cluster
}

// anyHost is addr on all interfaces: those of IPv4, and those of IPv6 too where
// others reach the host by it. Systems without IPv6 can't bind its wildcard.
func anyHost(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := resolveHost(host); err == nil && strings.Contains(ip, ":") {
		return net.JoinHostPort("::", port)
	}
	return net.JoinHostPort("0.0.0.0", port)
}

// resolveMax bounds the resolution of one host name.
const resolveMax = 5 * time.Second

// resolveHost lets two names of one machine count as one.
func resolveHost(host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveMax)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", fmt.Errorf("%w (say where it is with hosts, --host %s=ADDRESS or REGENT_HOSTS)", err, host)
	}
	return slices.Min(addrs), nil
}

// machineConfig is the protocol's view of the plan.
func (n *Node) machineConfig(p *parts, memory machine.Memory) machine.Config {
	c := n.opts.Config
	mc := machine.Config{
		Self: n.plan.self, Hidden: n.opts.Hidden, Agent: p.id, PID: os.Getpid(), UID: os.Getuid(),
		Groups: p.groups.Path(), Lease: n.plan.lease, Digest: n.plan.digest, Specification: n.specification(),
		Sync: machine.Sync{
			Mandatory: c.Sync.Mandatory, Optional: c.Sync.Optional, Timeout: c.Sync.Timeout, Defined: c.Sync.Defined,
		},
		FirstBoot: n.plan.firstBoot, NewCluster: n.opts.NewCluster, Memory: memory,
		Version: n.opts.Version, Since: time.Now().UnixMilli(),
	}
	for i := range c.Apps {
		mc.Apps = append(mc.Apps, n.appConfig(&c.Apps[i]))
	}
	for _, name := range n.registered() {
		mc.Apps = append(mc.Apps, n.appConfig(&config.App{Name: name, Local: true, Type: policy.Temporary}))
	}
	slices.SortFunc(mc.Apps, func(a, b machine.AppConfig) int { return strings.Compare(string(a.App), string(b.App)) })
	n.identify(&mc)
	return mc
}

// identify lets other processes of this host prove this one's end. Where that
// can't be done the record names no host, and the lease alone decides.
func (n *Node) identify(mc *machine.Config) {
	host, err := samehost.Host()
	if err == nil {
		var self samehost.Process
		self, err = samehost.Self()
		mc.Host, mc.Started = host, self.StartTime
	}
	if err != nil {
		mc.Host = policy.Host{}
		n.log.Info("no proofs by process inspection here: the lease alone decides", "cause", err)
	}
}

// registered are the apps of this program that its configuration does not
// mention: they count as loaded (B-26), as local ones.
func (n *Node) registered() []policy.App {
	var out []policy.App
	for name := range n.opts.Apps {
		if _, mentioned := n.opts.Config.App(policy.App(name)); !mentioned {
			out = append(out, policy.App(name))
		}
	}
	return out
}

func (n *Node) appConfig(a *config.App) machine.AppConfig {
	spec, _ := n.opts.Config.Spec(a.Name)
	ac := machine.AppConfig{
		App: a.Name, Spec: spec, Type: a.Type, Defined: n.defined(a),
		Restart: machine.Restart{Max: a.Restart.Max, Within: a.Restart.Within, Backoff: a.Restart.Backoff},
	}
	for _, perm := range n.opts.Config.Permissions {
		if perm.App == a.Name && !perm.Permitted {
			ac.Denied = true
		}
	}
	for _, s := range n.opts.Start {
		if s.App == a.Name {
			ac.Start = true
			if s.Type != "" {
				ac.Type = s.Type
			}
		}
	}
	return ac
}

func (n *Node) defined(a *config.App) bool {
	return len(a.Command) > 0 || n.opts.Apps[string(a.Name)] != nil
}

// readyMax is how many processes wait to become commands. When a node dies its
// apps spread; those beyond this number begin as they come.
const readyMax = 2

// nursery keeps as many processes ready as there may be commands to start.
func (n *Node) nursery(cradle osproc.Cradle) *osproc.Nursery {
	commands := 0
	for i := range n.opts.Config.Apps {
		if a := &n.opts.Config.Apps[i]; len(a.Command) > 0 && n.opts.Apps[string(a.Name)] == nil {
			commands++
		}
	}
	return osproc.NewNursery(min(commands, readyMax), cradle)
}

// runners gives each app what runs it: the Go program's own, else a command.
func (p *parts) runners(ready *osproc.Nursery) func(policy.App) (app.Runner, bool) {
	n, table := p.node, map[policy.App]app.Runner{}
	for i := range n.opts.Config.Apps {
		a := &n.opts.Config.Apps[i]
		if newApp := n.opts.Apps[string(a.Name)]; newApp != nil {
			r := app.Go{New: newApp, StopTimeout: a.Stop.Timeout, Abort: n.opts.Abort}
			if !n.plan.external {
				r.Prepare = p.grantGo
			}
			table[a.Name] = r
		} else if len(a.Command) > 0 {
			table[a.Name] = p.command(a, ready)
		}
	}
	for _, name := range n.registered() {
		table[name] = app.Go{New: n.opts.Apps[string(name)], StopTimeout: config.DefaultStopTimeout, Abort: n.opts.Abort}
	}
	return func(name policy.App) (app.Runner, bool) {
		r, ok := table[name]
		return r, ok
	}
}

func (p *parts) command(a *config.App, ready *osproc.Nursery) app.Runner {
	n, env := p.node, map[string]string{}
	for _, v := range a.Env {
		env[v.Name] = v.Value
	}
	stopSignal, _ := osproc.Signal(a.Stop.Signal) // checked by the configuration; 0 is TERM
	r := &osproc.Runner{
		Command: osproc.Command{
			Args: a.Command, Env: env, Dir: a.Dir,
			StopSignal: stopSignal, StopTimeout: a.Stop.Timeout,
		},
		Ledger: p.ledger(), Nursery: ready, Files: p.starts,
		Output: func(l osproc.Line) { n.output(Line{App: a.Name, Stderr: l.Stream == osproc.Stderr, Text: l.Text}) },
	}
	if !n.plan.external {
		r.NATS = p.grantFiles
	}
	return r
}

func (n *Node) output(l Line) {
	if n.opts.Output != nil {
		n.opts.Output(l)
		return
	}
	n.log.Info("output", "app", string(l.App), "stderr", l.Stderr, "line", l.Text)
}

func (n *Node) args(name policy.App) []byte {
	if a, ok := n.opts.Config.App(name); ok && a.Args != "" {
		return []byte(a.Args)
	}
	return nil
}

func (n *Node) phases(name policy.App) []policy.Phase {
	return n.opts.Config.Phases(name)
}
