package manager

import (
	"encoding/json"

	"github.com/seed7529eb29/regent/policy"
)

// WhichApplications lists the apps that run on this node (OTP:
// application:which_applications/0): a distributed app is listed only where it
// runs. Sorted by name; nothing before the node is connected. Like View
// it knows what calls of this node have done, and what others did some 20 ms
// later.
func (n *Node) WhichApplications() []policy.App {
	for _, s := range n.View().Nodes {
		if s.Name == n.plan.self {
			return s.Running
		}
	}
	return nil
}

// LoadedApplications lists the apps that are described here (OTP:
// application:loaded_applications/0): configured, registered, or loaded at run
// time (B-26). Sorted by name.
func (n *Node) LoadedApplications() []policy.App {
	var out []policy.App
	for _, a := range n.View().Apps {
		out = append(out, a.Name)
	}
	return out
}

// GetEnv is a parameter of an application, as JSON (OTP:
// application:get_env/2): what its own section of the configuration says.
func (n *Node) GetEnv(a policy.App, key string) (value json.RawMessage, ok bool) {
	values, _ := n.opts.Config.Section(string(a))
	for _, v := range values {
		if v.Key == key {
			return json.RawMessage(v.JSON), true
		}
	}
	return nil, false
}
