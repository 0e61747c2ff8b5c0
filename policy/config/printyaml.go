package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// YAML prints c as one YAML file. Load of it gives an equal Config, except for
// warnings; what .config files had as unknown keys of kernel goes below
// application_env.
func (c *Config) YAML() string {
	var y yamlPrinter
	y.sync(c)
	y.distributed(c)
	y.block(0, "permissions", len(c.Permissions), func(i int) {
		y.line(1, string(c.Permissions[i].App), strconv.FormatBool(c.Permissions[i].Permitted))
	})
	y.duration(0, "net_ticktime", c.NetTicktime)
	y.block(0, "hosts", len(c.Hosts), func(i int) { y.line(1, c.Hosts[i].Name, scalar(c.Hosts[i].Addr)) })
	y.line(0, "ports", fmt.Sprintf("{client: %d, cluster: %d}", c.Ports.Client, c.Ports.Cluster))
	y.block(0, "addresses", len(c.Addresses), func(i int) { y.address(c.Addresses[i]) })
	y.duration(0, "lease", c.Lease)
	y.duration(0, "kv_outage", c.KVOutage)
	if len(c.Servers) > 0 {
		y.line(0, "servers", yamlNodes(c.Servers))
	}
	if c.Arbiter != "" {
		y.line(0, "arbiter", scalar(string(c.Arbiter)))
	}
	y.block(0, "apps", len(c.Apps), func(i int) { y.app(c, c.Apps[i]) })
	y.block(0, "application_env", len(c.Env), func(i int) {
		values := c.Env[i].Values
		y.block(1, c.Env[i].App, len(values), func(i int) { y.line(2, values[i].Key, values[i].JSON) })
	})
	return y.String()
}

type yamlPrinter struct{ strings.Builder }

func (y *yamlPrinter) line(indent int, key, val string) {
	if val != "" {
		val = " " + val
	}
	fmt.Fprintf(y, "%s%s:%s\n", strings.Repeat("  ", indent), scalar(key), val)
}

// block prints a key with n lines below it, or nothing.
func (y *yamlPrinter) block(indent int, key string, n int, item func(i int)) {
	if n == 0 {
		return
	}
	y.line(indent, key, "")
	for i := range n {
		item(i)
	}
}

func (y *yamlPrinter) duration(indent int, key string, d time.Duration) {
	if d > 0 {
		y.line(indent, key, d.String())
	}
}

func (y *yamlPrinter) sync(c *Config) {
	y.line(0, "sync", "")
	y.line(1, "mandatory", yamlNodes(c.Sync.Mandatory))
	y.line(1, "optional", yamlNodes(c.Sync.Optional))
	if c.Sync.Defined {
		y.line(1, "timeout", c.Sync.Timeout.String())
	}
}

func (y *yamlPrinter) distributed(c *Config) {
	y.block(0, "distributed", len(c.Specs), func(i int) {
		s := &c.Specs[i]
		var groups []string
		for _, g := range s.Groups {
			if len(g) == 1 {
				groups = append(groups, scalar(string(g[0])))
				continue
			}
			groups = append(groups, yamlNodes(g))
		}
		fmt.Fprintf(y, "  - {app: %s, timeout: %s, nodes: [%s]}\n", scalar(string(s.App)), s.Timeout, strings.Join(groups, ", "))
	})
}

func (y *yamlPrinter) address(a Address) {
	y.line(1, string(a.Node), "")
	if a.Client != "" {
		y.line(2, "client", scalar(a.Client))
	}
	if a.Cluster != "" {
		y.line(2, "cluster", scalar(a.Cluster))
	}
}

func (y *yamlPrinter) app(c *Config, a App) {
	y.line(1, string(a.Name), "")
	if len(a.Command) > 0 {
		y.line(2, "command", yamlList(a.Command))
	}
	y.block(2, "env", len(a.Env), func(i int) { y.line(3, a.Env[i].Name, scalar(a.Env[i].Value)) })
	if a.Dir != "" {
		y.line(2, "dir", scalar(a.Dir))
	}
	if a.Args != "" {
		y.line(2, "args", a.Args)
	}
	y.line(2, "type", string(a.Type))
	y.line(2, "stop", fmt.Sprintf("{signal: %s, timeout: %v}", a.Stop.Signal, a.Stop.Timeout))
	y.line(2, "restart", fmt.Sprintf("{max: %d, within: %v, backoff: %v}", a.Restart.Max, a.Restart.Within, a.Restart.Backoff))
	if a.StartPhases != nil {
		y.line(2, "start_phases", yamlPhases(a.StartPhases))
	}
	if len(a.Included) > 0 {
		var parts []string
		for _, part := range a.Included {
			parts = append(parts, string(part))
		}
		y.line(2, "included_applications", yamlList(parts))
	}
	y.line(2, "takeover", string(a.Takeover))
	y.line(2, "start_type", startTypeText(a.FullStart))
}

func yamlPhases(phases []policy.Phase) string {
	var parts []string
	for _, p := range phases {
		text := scalar(p.Name)
		if p.Args != "" {
			text = "{" + text + ": " + p.Args + "}"
		}
		parts = append(parts, text)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func yamlNodes(names []node.Name) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = string(n)
	}
	return yamlList(list)
}

func yamlList(list []string) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = scalar(s)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// scalar prints a string plainly where it can't be read as anything else, and
// in JSON's quotes otherwise.
func scalar(s string) string {
	plain := s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z' || s[0] == '/') &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-@./", r)
		})
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "infinity":
		plain = false
	}
	if plain {
		return s
	}
	return string(appendString(nil, s))
}
