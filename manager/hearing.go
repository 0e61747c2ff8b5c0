package manager

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// strangersMax bounds the nodes that no configuration names and that are
// listened to nevertheless, such as hidden ones. The core remembers every node
// it ever heard of, and names come from outside.
const strangersMax = 256

// hearing is what of the heartbeats reaches the core: those of the nodes of the
// configuration and of a limited number of others, and only what they say of
// apps that this node knows. Its methods are called from one goroutine.
type hearing struct {
	nodes     map[node.Name]bool
	apps      map[policy.App]bool
	strangers map[node.Name]bool
	status    func() *machine.Status // knows apps that were described since
	told      bool                   // that there are too many of them
	log       *slog.Logger
}

func newHearing(c *config.Config, status func() *machine.Status, log *slog.Logger) *hearing {
	h := &hearing{nodes: map[node.Name]bool{}, apps: map[policy.App]bool{}, strangers: map[node.Name]bool{}, status: status, log: log}
	for _, n := range c.Nodes() {
		h.nodes[n] = true
	}
	for i := range c.Apps {
		h.apps[c.Apps[i].Name] = true
	}
	return h
}

// take reports whether b is to be heard, and leaves out what nobody here needs.
func (h *hearing) take(b machine.Beat) (machine.Beat, bool) {
	if !h.nodes[b.Node] && !h.admit(b.Node) {
		return b, false
	}
	b.Apps = h.known(b.Apps)
	return b, true
}

// known makes a new list, so that nothing holds on to the long one.
func (h *hearing) known(apps []machine.AppBeat) []machine.AppBeat {
	var known []machine.AppBeat
	for _, a := range apps {
		if h.apps[a.App] || h.described(a.App) {
			known = append(known, a)
		}
	}
	return known
}

// described: the app came with a specification at run time.
func (h *hearing) described(app policy.App) bool {
	_, found := slices.BinarySearchFunc(h.status().Apps, app, func(a machine.AppStatus, name policy.App) int {
		return strings.Compare(string(a.Name), string(name))
	})
	return found
}

func (h *hearing) admit(n node.Name) bool {
	if h.strangers[n] || len(h.strangers) < strangersMax {
		h.strangers[n] = true
		return true
	}
	if !h.told {
		h.told = true
		h.log.Warn("too many nodes that are not in the configuration: further ones are not listened to", "node", n)
	}
	return false
}
