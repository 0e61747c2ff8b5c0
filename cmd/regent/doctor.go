package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/cmd/regent/doctor"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// doctorFlags say what is looked at.
type doctorFlags struct {
	target
	config      []string
	sname, name string
	hosts       []string
	data        string
	json        bool
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [--config FILE --sname NAME]",
		Short: "Check this machine and the cluster, and say what to do",
		Long: `Looks at the cookie, the clock, what ends a dead node's apps, the data
directory; with --config at the configuration, the lease and the ports; and at
the cluster, if there is one: quorum, the bucket's settings, whether a write is
acknowledged. On an external NATS it asks for each right on the list of
docs/deploy.md: those of a node with --sname or --name, else those of the command
line; nothing is done with them.

It ends with 0 if nothing failed, else with 1. Warnings are not failures.`,
		Example: `  regent doctor
  regent doctor --config cluster.yaml --sname node1
  regent doctor --server nats://nats.example:4222 --creds node.creds --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.bind(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.config, "config", nil, "configuration `FILE` of the node; repeatable, later ones win")
	fs.StringVar(&f.sname, "sname", "", "short node `NAME`[@host] of the node")
	fs.StringVar(&f.name, "name", "", "long node `NAME`[@host.domain] of the node")
	fs.StringArrayVar(&f.hosts, "host", nil, "`NAME=ADDR`: where a node's host part is found; repeatable")
	fs.StringVar(&f.data, "data", "", "data `DIR` of the node (default $XDG_STATE_HOME/regent/NODE)")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f *doctorFlags) run(cmd *cobra.Command) error {
	self, err := f.self()
	if err != nil {
		return err
	}
	hosts, err := hostList(os.Getenv("REGENT_HOSTS"), f.hosts)
	if err != nil {
		return usage("doctor", "%w", err)
	}
	ctx := cmd.Context()
	checks := f.cookie()
	seen := f.lookAtCluster(ctx)
	checks = append(checks, doctor.Clock(seen.ahead, seen.clock)...)
	checks = append(checks, doctor.Warden())
	if self != "" || f.data != "" {
		checks = append(checks, f.dataDir(self))
	}
	checks = append(checks, f.configuration(ctx, self, hosts, seen.external)...)
	checks = append(checks, seen.checks...)
	if seen.external && seen.reached {
		checks = append(checks, f.permissions(ctx, self))
	}
	report := doctor.NewReport(checks)
	if f.json {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		err = printChecks(cmd.OutOrStdout(), report)
	}
	if err == nil && !report.OK {
		err = &ExitError{Code: exitFailed, What: "doctor", Err: errors.New("something failed: see above")}
	}
	return err
}

func (f *doctorFlags) self() (node.Name, error) {
	if f.sname == "" && f.name == "" {
		return "", nil
	}
	var o NodeOptions
	if err := (&nodeFlags{sname: f.sname, name: f.name}).setName(&o); err != nil {
		return "", usage("doctor", "%w", err)
	}
	return o.Name, nil
}

func printChecks(w io.Writer, r doctor.Report) error {
	for _, c := range r.Checks {
		if _, err := fmt.Fprintf(w, "%-8s %s: %s\n", c.Result, c.Name, oneLine(c.Detail)); err != nil {
			return err
		}
		if c.Hint != "" {
			if _, err := fmt.Fprintf(w, "%-8s hint: %s\n", "", oneLine(c.Hint)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cookie looks at the file without making one.
func (f *doctorFlags) cookie() []doctor.Check {
	const name = "cookie"
	s := CookieSource{File: f.cookieFile}
	c, err := s.LoadExisting()
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.login().Shows():
		return []doctor.Check{{Name: name, Result: doctor.Skipped, Detail: "there is none; credentials were given"}}
	case errors.Is(err, cred.ErrCookieWeak):
		return []doctor.Check{{Name: name, Result: doctor.Failed, Detail: err.Error(), Hint: "make one with: regent cookie init"}}
	case err != nil:
		check := doctor.Check{Name: name, Result: doctor.Failed, Detail: err.Error()}
		if e, ok := errors.AsType[*ExitError](err); ok {
			check.Hint = e.Hint
		}
		return []doctor.Check{check}
	}
	path, err := s.path()
	if err != nil || path == "" {
		path = "the environment"
	}
	return []doctor.Check{{Name: name, Result: doctor.OK, Detail: "fingerprint " + c.Fingerprint() + ", from " + path}}
}

func (f *doctorFlags) dataDir(self node.Name) doctor.Check {
	dir := f.data
	if dir == "" {
		var err error
		if dir, err = defaultDataDir(self); err != nil {
			return doctor.Check{Name: "data directory", Result: doctor.Failed, Detail: err.Error(), Hint: "name one with --data"}
		}
	}
	return doctor.DataDir(dir)
}

func (f *doctorFlags) configuration(ctx context.Context, self node.Name, hosts []config.Host, external bool) []doctor.Check {
	const name = "configuration"
	if len(f.config) == 0 {
		return []doctor.Check{{Name: name, Result: doctor.Skipped, Detail: "no --config was given"}}
	}
	c, err := config.Load(os.ReadFile, f.config...)
	if err == nil && self != "" {
		err = c.CheckNode(self, false)
	}
	if err != nil {
		return []doctor.Check{{Name: name, Result: doctor.Failed, Detail: err.Error(), Hint: "see: regent config check FILE"}}
	}
	c.OverrideHosts(hosts...)
	checks := doctor.Config(c, self, external)
	if external {
		return checks
	}
	voters, err := c.Voters(self)
	if err != nil {
		return checks
	}
	addresses, err := c.PortMap(self, resolved)
	if err != nil {
		return append(checks, doctor.Check{Name: "ports", Result: doctor.Failed, Detail: err.Error(), Hint: "say where hosts are with hosts, --host or REGENT_HOSTS"})
	}
	local, _ := nodefile.List() // without them the ports are looked at as of a node that does not run
	here := slices.ContainsFunc(local, func(file nodefile.File) bool { return file.Node == self })
	return append(checks, doctor.Ports(ctx, addresses, voters, self, here)...)
}

// resolved lets two names of one machine count as one, as nodes do.
func resolved(host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	addrs, err := net.LookupHost(host)
	if err != nil {
		return "", err
	}
	return slices.Min(addrs), nil
}

// seen is what can be seen of a cluster from here.
type seen struct {
	checks   []doctor.Check
	reached  bool
	external bool          // its servers are somebody else's, as far as is known
	ahead    time.Duration // of the server's wall clock, if clock
	clock    bool
}

// lookAtCluster looks at the nodes and at the bucket.
func (f *doctorFlags) lookAtCluster(ctx context.Context) seen {
	named := f.server != "" || f.context != ""
	c, err := f.open(ctx, io.Discard)
	if err != nil {
		return seen{checks: []doctor.Check{f.unreachable(named, err)}, external: named}
	}
	defer c.close()
	bind, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	s, bindErr := kv.Bind(bind, c.nc, kv.Options{Cluster: string(c.link.cluster), APIPrefix: c.apiPrefix, Node: clientName, WaitFor: reachMax})
	got := seen{reached: true, checks: []doctor.Check{doctor.Server(c.nc.ConnectedServerName(), c.nc.ConnectedServerVersion())}}
	if bindErr == nil {
		if now, err := s.ServerTime(bind); err == nil {
			got.ahead, got.clock = time.Since(now), true
		}
	}
	doc, err := c.status(ctx)
	switch {
	case err == nil:
		got.external = doc.Quorum.Mode == status.External
		got.checks = append(got.checks, doctor.Cluster(doc)...)
		got.checks = append(got.checks, doctor.Copies(doc, c.behind(ctx, doc))...)
	default:
		got.external = named
		got.checks = append(got.checks, doctor.Check{Name: "nodes", Result: doctor.Warning, Detail: "none answers", Hint: "NATS is there: start nodes"})
	}
	got.checks = append(got.checks, doctor.Bucket(bind, s, bindErr)...)
	return got
}

// behind asks each node that is up what its own copy of the records lacks; only
// the node itself knows. Who does not answer is in none of the lists.
func (c *client) behind(ctx context.Context, doc *status.Document) map[node.Name]string {
	var mu sync.Mutex
	var asked sync.WaitGroup
	said := map[node.Name]string{}
	for _, n := range doc.Nodes {
		if n.State != machine.NodeUp && n.State != machine.NodeSyncing {
			continue
		}
		asked.Go(func() {
			if own, err := c.statusOf(ctx, n.Name); err == nil {
				mu.Lock()
				defer mu.Unlock()
				said[n.Name] = own.Quorum.Behind
			}
		})
	}
	asked.Wait()
	return said
}

// permissions asks an external NATS for the rights that these credentials should
// have: those of a node where one was named, else those of the command line.
func (f *doctorFlags) permissions(ctx context.Context, self node.Name) doctor.Check {
	c, err := f.open(ctx, io.Discard)
	if err != nil {
		return doctor.Check{Name: "permissions", Result: doctor.Failed, Detail: err.Error()}
	}
	role := cred.ClientRole
	if self != "" {
		role = cred.NodeRole
	}
	need := cred.Least(role, string(c.link.cluster), c.apiPrefix, c.nc.Opts.InboxPrefix)
	ctx, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	return doctor.Permissions(ctx, c.nc, self, c.link.cluster, need, c.close)
}

// unreachable: nothing on this machine is no failure where nothing was named.
func (f *doctorFlags) unreachable(named bool, err error) doctor.Check {
	check := doctor.Check{Name: "cluster", Result: doctor.Failed, Detail: err.Error()}
	if e, ok := errors.AsType[*ExitError](err); ok {
		check.Hint = e.Hint
		if !named && e.Code == exitNoCluster {
			check.Result = doctor.Skipped
		}
	}
	return check
}
