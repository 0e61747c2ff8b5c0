package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// ErrTwoVoters is behind the error of a configuration whose JetStream servers
// would be two: the loss of either stops both.
var ErrTwoVoters = errors.New("two voters")

// Voters lists the nodes that run JetStream, as self sees them, sorted:
// servers, else the first 1, 3 or 5 nodes named in distributed, else of the
// sync lists and self; and the arbiter besides. The error is a Diagnostic,
// ErrTwoVoters where that is why.
func (c *Config) Voters(self node.Name) ([]node.Name, error) {
	voters, at := c.Servers, c.at.servers
	if len(voters) == 0 {
		voters, at = c.defaultVoters(self)
	}
	voters = slices.Clone(voters)
	if c.Arbiter != "" {
		voters, at = append(voters, c.Arbiter), c.at.arbiter
	}
	voters = sortedSet(voters)
	if len(voters) == 2 {
		return nil, twoVoters(at, voters)
	}
	return voters, nil
}

func (c *Config) defaultVoters(self node.Name) ([]node.Name, Position) {
	names, at := c.DistributedNodes(), c.at.distributed
	if len(names) == 0 {
		names, at = c.unlisted(self), Position{}
	}
	odd := 0
	if c.Arbiter != "" {
		names = slices.DeleteFunc(names, func(n node.Name) bool { return n == c.Arbiter })
		odd = 1 // the arbiter makes the number odd
	}
	for _, n := range []int{5, 3} {
		if len(names) >= n-odd {
			return names[:n-odd], at
		}
	}
	if len(names) == 2 {
		return names, at
	}
	return names[:min(1, len(names))], at
}

// unlisted are the nodes when nothing is distributed: those of the sync lists,
// where a node doesn't name itself, and self.
func (c *Config) unlisted(self node.Name) []node.Name {
	names := slices.Concat(c.Sync.Mandatory, c.Sync.Optional)
	if self != "" {
		names = append(names, self)
	}
	return sortedSet(names)
}

func twoVoters(at Position, voters []node.Name) Diagnostic {
	return Diagnostic{
		Position: at,
		Message:  fmt.Sprintf("two voters, %s and %s: the loss of either would stop both", voters[0], voters[1]),
		Hint:     "add arbiter: NODE on a third host, name one or three nodes in servers, or use an external NATS",
		cause:    ErrTwoVoters,
	}
}

// CheckNode says whether a node of this name can belong to the configuration:
// its name must be of the same kind as the others, and a hidden node can't be
// in a list of distributed. The error is a Diagnostic.
func (c *Config) CheckNode(self node.Name, hidden bool) error {
	for _, n := range c.at.nodes {
		if n.value.Long() != self.Long() {
			return Diagnostic{
				Position: n.at,
				Message:  fmt.Sprintf("%s is a %s name, but this node's, %s, is a %s one", n.value, length(n.value), self, length(self)),
				Hint:     "a cluster is all short names (--sname) or all long ones (--name)",
			}
		}
	}
	i := slices.IndexFunc(c.at.nodes, func(n located[node.Name]) bool { return n.value == self })
	if hidden && i >= 0 && slices.Contains(c.DistributedNodes(), self) {
		return Diagnostic{
			Position: c.at.nodes[i].at,
			Message:  fmt.Sprintf("%s is hidden and can't be in distributed", self),
			Hint:     "start it without --hidden, or take it out of the list",
		}
	}
	return nil
}

// PortMap tells where each node of the configuration is reached, sorted by
// name: on every host the nodes, in the order of their names, have the client
// and cluster ports counted up from the bases; addresses go before that. self
// has a place too where nothing is distributed, since it isn't in its own sync
// lists. resolve turns a host (of hosts, or of a node's name) into an address,
// so that two names of one machine count as one; nil takes it as it is.
func (c *Config) PortMap(self node.Name, resolve func(host string) (string, error)) ([]Address, error) {
	nodes := c.Nodes()
	if len(c.Specs) == 0 && len(c.Servers) == 0 && self != "" {
		nodes = sortedSet(append(nodes, self))
	}
	next := map[string]int{}
	var out []Address
	for _, n := range nodes {
		host := c.host(n.Host())
		place := host
		if resolve != nil {
			var err error
			if place, err = resolve(host); err != nil {
				return nil, fmt.Errorf("resolve host %q of %s: %w", host, n, err)
			}
		}
		a, err := c.address(n, host, next[place])
		if err != nil {
			return nil, err
		}
		next[place]++
		out = append(out, a)
	}
	return out, collision(out)
}

// host is the address of a node's host part.
func (c *Config) host(name string) string {
	i := slices.IndexFunc(c.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return name
	}
	return c.Hosts[i].Addr
}

// address is that of the i-th node of a host.
func (c *Config) address(n node.Name, host string, i int) (Address, error) {
	if c.Ports.Client+i > 65535 || c.Ports.Cluster+i > 65535 {
		return Address{}, fmt.Errorf("no port left for %s: %d nodes on host %s from %d and %d", n, i+1, host, c.Ports.Client, c.Ports.Cluster)
	}
	a := Address{n, joinPort(host, c.Ports.Client+i), joinPort(host, c.Ports.Cluster+i)}
	for _, said := range c.Addresses {
		if said.Node == n && said.Client != "" {
			a.Client = said.Client
		}
		if said.Node == n && said.Cluster != "" {
			a.Cluster = said.Cluster
		}
	}
	return a, nil
}

func joinPort(host string, port int) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// collision refuses a map in which two servers share an address.
func collision(addresses []Address) error {
	owner := map[string]node.Name{}
	for _, a := range addresses {
		for _, addr := range []string{a.Client, a.Cluster} {
			if other, taken := owner[addr]; taken {
				return fmt.Errorf("%s and %s would both use %s: move the bases in ports apart, or change addresses", other, a.Node, addr)
			}
			owner[addr] = a.Node
		}
	}
	return nil
}

// Timing is the lease: what the configuration says over the default of the
// mode. The error, a Diagnostic at lease or kv_outage, says why the two don't
// fit together.
func (c *Config) Timing(external bool) (policy.Lease, error) {
	ttl, outage := policy.EmbeddedTTL, policy.EmbeddedKVOutage
	if external {
		ttl, outage = policy.ExternalTTL, policy.ExternalKVOutage
	}
	at := c.at.kvOutage
	if c.Lease > 0 {
		ttl, at = c.Lease, c.at.lease
	}
	if c.KVOutage > 0 {
		outage = c.KVOutage
	}
	l := policy.NewLease(ttl, outage)
	if err := l.Validate(); err != nil {
		return policy.Lease{}, Diagnostic{Position: at, Message: err.Error(), cause: err}
	}
	return l, nil
}

// Digest is policy's digest of what the configuration says.
func (c *Config) Digest(cluster string, voters []node.Name) string {
	return policy.Digest(cluster, voters, c.Specs)
}
