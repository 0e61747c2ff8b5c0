package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/manager"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// NodeOptions are what a command line says about a node. The configuration
// files are not read yet.
type NodeOptions struct {
	Name    node.Name
	Long    bool     // a long name was asked for
	Config  []string // files, later ones win
	Cluster bus.Cluster
	Cookie  CookieSource

	AlsoCookie string // file; "": none
	Hidden     bool

	DataDir       string
	Listen        string // HOST:PORT for clients; "": from the configuration
	ClusterListen string // HOST:PORT for routes; "": from the configuration
	HTTP          string // HOST:PORT for metrics and health; "": nowhere
	NewCluster    bool   // no other node of this cluster runs
	Hosts         []config.Host

	External external // an external NATS; without URL: embedded
	Warden   manager.WardenMode

	Start []StartReq
	Eval  []EvalCall

	Params []Param // of erl: over the files

	LogFormat string // text or json
	LogLevel  slog.Level
	Stdout    io.Writer // output of the apps
	Stderr    io.Writer // log
}

// StartReq is an app to start as soon as the node is up.
type StartReq struct {
	App  policy.App
	Type policy.RestartType // "": as the app's definition says
}

// Load reads the configuration and checks that this node can belong to it. Its
// errors are errors of usage, with places in the files.
func (o *NodeOptions) Load() (*config.Config, error) {
	c, err := loadConfig(o.Config, o.Params)
	if err != nil {
		return nil, &ExitError{Code: exitUsage, What: "configuration", Err: err}
	}
	c.OverrideHosts(o.Hosts...)
	if err := c.CheckNode(o.Name, o.Hidden); err != nil {
		return nil, &ExitError{Code: exitUsage, What: "configuration", Err: err}
	}
	return c, nil
}

// Logger writes to Stderr as LogFormat and LogLevel say.
func (o *NodeOptions) Logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.LogLevel}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(o.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(o.Stderr, opts))
}

// defaultDataDir is $XDG_STATE_HOME/regent/NODE.
func defaultDataDir(n node.Name) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // the XDG specification: relative ones are ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("data directory: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "regent", string(n)), nil
}

// parseHost reads NAME=ADDR, as --host and REGENT_HOSTS have it.
func parseHost(s string) (config.Host, error) {
	name, addr, ok := strings.Cut(strings.TrimSpace(s), "=")
	if !ok || name == "" || addr == "" {
		return config.Host{}, fmt.Errorf("invalid host %q: expected NAME=ADDR", s)
	}
	return config.Host{Name: name, Addr: addr}, nil
}

// hostList joins REGENT_HOSTS (NAME=ADDR,…) and --host, which wins.
func hostList(env string, flags []string) ([]config.Host, error) {
	var hosts []config.Host
	for part := range strings.SplitSeq(env, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		h, err := parseHost(part)
		if err != nil {
			return nil, fmt.Errorf("REGENT_HOSTS: %w", err)
		}
		hosts = append(hosts, h)
	}
	for _, f := range flags {
		h, err := parseHost(f)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}
