package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// nodeFlags are the flags of node, as text.
type nodeFlags struct {
	sname, name           string
	config                []string
	cluster               string
	cookieFile, alsoFile  string
	insecureCookie        bool
	hidden                bool
	data                  string
	listen, clusterListen string
	newCluster            bool
	hosts                 []string
	server, context       string
	login                 loginFlags
	warden                string
	http                  string
	start                 []string
	logFormat, logLevel   string
}

func (f *nodeFlags) bind(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&f.sname, "sname", "", "short node `NAME`[@host]; the host is this machine's")
	fs.StringVar(&f.name, "name", "", "long node `NAME`[@host.domain]")
	fs.StringArrayVar(&f.config, "config", nil, "configuration `FILE`, Erlang or YAML; repeatable, later ones win")
	fs.StringArrayVar(&f.start, "start", nil, "start `APP[:TYPE]` as soon as the node is up; repeatable")
	fs.StringVar(&f.cluster, "cluster", defaultCluster, "`NAME` of the cluster")
	fs.StringVar(&f.cookieFile, "cookie-file", "", "cookie `FILE` (default $REGENT_COOKIE_FILE, else ~/.regent.cookie)")
	fs.StringVar(&f.alsoFile, "also-cookie-file", "", "`FILE` with a cookie that is accepted too, while one is replaced by the other (default: the cookie file with .next added, if there is one)")
	fs.BoolVar(&f.insecureCookie, "insecure-cookie", false, "accept a cookie that is easy to guess")
	fs.BoolVar(&f.hidden, "hidden", false, "be a hidden node: in no list of nodes, and in no distributed app")
	fs.StringVar(&f.data, "data", "", "data `DIR` (default $XDG_STATE_HOME/regent/NODE)")
	fs.StringVar(&f.listen, "listen", "", "bind clients' port at `HOST:PORT`")
	fs.StringVar(&f.clusterListen, "cluster-listen", "", "bind the other nodes' port at `HOST:PORT`")
	fs.StringArrayVar(&f.hosts, "host", nil, "`NAME=ADDR`: where a node's host part is found; repeatable")
	fs.BoolVar(&f.newCluster, "new-cluster", false, "no other node of this cluster runs: don't wait for memories of an older one")
	fs.StringVar(&f.server, "server", "", "`URL` of an external NATS; none is embedded then")
	fs.StringVar(&f.context, "context", "", "nats CLI context `NAME` of an external NATS")
	f.login.bind(fs, "(default: the cookie's key)")
	fs.StringVar(&f.warden, "warden", string(manager.WardenAuto), "`MODE` of the process that ends what a killed node leaves behind: auto, off or require")
	fs.StringVar(&f.http, "http", "", "show /metrics, /healthz and /readyz at `HOST:PORT`")
	fs.StringVar(&f.logFormat, "log-format", "text", "`FORMAT` of the log: text or json")
	fs.StringVar(&f.logLevel, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
}

const defaultCluster = "default"

// options checks the flags. Errors are errors of usage.
func (f *nodeFlags) options(out, errOut io.Writer) (*NodeOptions, error) {
	o := &NodeOptions{
		Config: f.config, Cookie: CookieSource{File: f.cookieFile, Insecure: f.insecureCookie}, AlsoCookie: f.alsoFile,
		Hidden: f.hidden, DataDir: f.data, Listen: f.listen, ClusterListen: f.clusterListen,
		HTTP: f.http, NewCluster: f.newCluster,
		LogFormat: f.logFormat, Stdout: out, Stderr: errOut,
	}
	for _, step := range []func(*NodeOptions) error{f.setName, f.setCluster, f.setDataDir, f.checkAddresses, f.setHosts, f.setStart, f.setWarden, f.setLog, f.setServer} {
		if err := step(o); err != nil {
			return nil, usage("node", "%w", err)
		}
	}
	return o, nil
}

func (f *nodeFlags) setWarden(o *NodeOptions) error {
	modes := []manager.WardenMode{manager.WardenAuto, manager.WardenOff, manager.WardenRequire}
	if o.Warden = manager.WardenMode(f.warden); !slices.Contains(modes, o.Warden) {
		return fmt.Errorf("--warden: unknown mode %q: auto, off or require", f.warden)
	}
	return nil
}

func (f *nodeFlags) setName(o *NodeOptions) (err error) {
	switch {
	case f.sname == "" && f.name == "":
		return fmt.Errorf("no name: give --sname NAME or --name NAME")
	case f.sname != "" && f.name != "":
		return fmt.Errorf("--sname and --name exclude each other: a cluster is all short names or all long ones")
	case f.sname != "":
		o.Name, err = shortName(f.sname, os.Hostname)
	default:
		o.Long = true
		o.Name, err = longName(f.name, fullHostname)
	}
	return err
}

// shortName completes a name by the machine's host name up to its first dot.
func shortName(s string, hostname func() (string, error)) (node.Name, error) {
	if !strings.Contains(s, "@") {
		host, err := hostname()
		if err != nil {
			return "", fmt.Errorf("host of --sname %s: %w", s, err)
		}
		short, _, _ := strings.Cut(host, ".")
		s += "@" + short
	}
	n, err := node.Parse(s)
	if err == nil && n.Long() {
		return "", fmt.Errorf("%s is a long name: give it with --name, or a host without a dot with --sname", n)
	}
	return n, err
}

// longName completes a name by the machine's full host name.
func longName(s string, hostname func() (string, error)) (node.Name, error) {
	if !strings.Contains(s, "@") {
		host, err := hostname()
		if err != nil {
			return "", fmt.Errorf("host of --name %s: %w", s, err)
		}
		s += "@" + host
	}
	n, err := node.Parse(s)
	if err == nil && !n.Long() {
		return "", fmt.Errorf("%s is a short name: give it with --sname, or a host with a dot with --name", n)
	}
	return n, err
}

// fullHostname asks the resolver where the kernel knows only the short name.
func fullHostname() (string, error) {
	host, err := os.Hostname()
	if err != nil || strings.Contains(host, ".") {
		return host, err
	}
	full, err := net.LookupCNAME(host)
	if full = strings.TrimSuffix(full, "."); err == nil && strings.Contains(full, ".") {
		return full, nil
	}
	return "", fmt.Errorf("this machine has no full name (its name is %q): give NAME@HOST", host)
}

func (f *nodeFlags) setCluster(o *NodeOptions) (err error) {
	o.Cluster, err = bus.ParseCluster(f.cluster)
	return err
}

func (f *nodeFlags) setDataDir(o *NodeOptions) (err error) {
	if f.data == "" {
		o.DataDir, err = defaultDataDir(o.Name)
	}
	return err
}

func (f *nodeFlags) checkAddresses(*NodeOptions) error {
	for _, a := range []struct{ flag, value string }{{"--listen", f.listen}, {"--cluster-listen", f.clusterListen}, {"--http", f.http}} {
		if a.value == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return fmt.Errorf("%s %q: expected HOST:PORT", a.flag, a.value)
		}
	}
	return nil
}

func (f *nodeFlags) setHosts(o *NodeOptions) (err error) {
	o.Hosts, err = hostList(os.Getenv("REGENT_HOSTS"), f.hosts)
	return err
}

func (f *nodeFlags) setStart(o *NodeOptions) error {
	for _, s := range f.start {
		req, err := parseStart(s)
		if err != nil {
			return fmt.Errorf("--start: %w", err)
		}
		o.Start = append(o.Start, req)
	}
	return nil
}

// parseStart reads APP[:TYPE].
func parseStart(s string) (req StartReq, err error) {
	name, kind, typed := strings.Cut(s, ":")
	if req.App, err = policy.ParseApp(name); err != nil {
		return req, err
	}
	if typed {
		req.Type, err = policy.ParseRestartType(kind)
	}
	return req, err
}

func (f *nodeFlags) setLog(o *NodeOptions) error {
	if f.logFormat != "text" && f.logFormat != "json" {
		return fmt.Errorf("--log-format %q: expected text or json", f.logFormat)
	}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[f.logLevel]
	if !ok {
		return fmt.Errorf("--log-level %q: expected debug, info, warn or error", f.logLevel)
	}
	o.LogLevel = level
	return nil
}
