package doctor

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// Config looks at what the files say for a node: self may be empty.
func Config(c *config.Config, self node.Name, external bool) []Check {
	checks := []Check{ok("configuration", "apps %d, nodes %s", len(c.Apps), names(c.Nodes()))}
	for _, w := range c.Warnings {
		checks = append(checks, warning("configuration", w.Hint, "%s: %s", w.Position, w.Message))
	}
	l, err := c.Timing(external)
	if err != nil {
		checks = append(checks, failed("lease", "raise lease or lower kv_outage", "%v", err))
	} else {
		checks = append(checks, ok("lease", "%v: a lost host's apps start elsewhere at most %v after its last sign of life, or after their Timeout", l.TTL, l.FailoverMax()))
	}
	if self != "" && !slices.Contains(c.Nodes(), self) {
		checks = append(checks, warning("name", "start it with a name of the list if it shall run apps", "%s is in no list of the configuration", self))
	}
	if external {
		return checks
	}
	voters, err := c.Voters(self)
	if err != nil {
		return append(checks, failed("voters", "see the hint of: regent config check", "%v", err))
	}
	return append(checks, ok("voters", "%s", names(voters)))
}

func names(nodes []node.Name) string {
	var all []string
	for _, n := range nodes {
		all = append(all, string(n))
	}
	return strings.Join(all, ", ")
}

// dialMax is for one port.
const dialMax = time.Second

// Ports looks whether the ports of the voters answer, and whether self's own
// are free or its own. here says that self runs on this machine.
func Ports(ctx context.Context, addresses []config.Address, voters []node.Name, self node.Name, here bool) []Check {
	checks := make([]Check, len(addresses))
	var wg sync.WaitGroup
	for i, a := range addresses {
		if !slices.Contains(voters, a.Node) {
			continue
		}
		wg.Go(func() {
			if a.Node == self && !here {
				checks[i] = ownPorts(a)
			} else {
				checks[i] = peerPorts(ctx, a)
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(checks, func(c Check) bool { return c.Name == "" })
}

func ownPorts(a config.Address) Check {
	name := "ports of " + string(a.Node)
	for _, addr := range []string{a.Client, a.Cluster} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return failed(name, "give HOST:PORT", "%v", err)
		}
		l, err := net.Listen("tcp", ":"+port)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return failed(name, "another program has it; choose other bases with ports, or stop it", "%s is taken", addr)
		case err != nil:
			return failed(name, "let this user bind it, or choose another", "%v", err)
		}
		_ = l.Close()
	}
	return ok(name, "%s and %s are free", a.Client, a.Cluster)
}

func peerPorts(ctx context.Context, a config.Address) Check {
	name := "ports of " + string(a.Node)
	d := net.Dialer{Timeout: dialMax}
	for _, addr := range []string{a.Client, a.Cluster} {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return warning(name, "start it, or let its ports through the firewall", "%s does not answer (%v)", addr, err)
		}
		_ = c.Close()
	}
	return ok(name, "%s and %s answer", a.Client, a.Cluster)
}
