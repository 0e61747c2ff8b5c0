// Package manager is a regent node: what cmd/regent runs, and what a Go program
// embeds to be a node itself.
//
// The common case needs this package alone:
//
//	cfg, err := manager.LoadConfig("cluster.yaml")
//	…
//	n, err := manager.New(manager.Options{
//		Name:   "node1@host1",
//		Config: cfg,
//		Cookie: cookie,
//		Apps:   map[string]func() manager.Application{"myapp": newMyApp},
//		Start:  []manager.StartRequest{{App: "myapp"}},
//	})
//	…
//	exit := n.Run(ctx) // until ctx ends
//
// Three such programs with one configuration and one cookie are a cluster: each
// runs a NATS server inside if the configuration makes it a voter, they agree
// through JetStream, and myapp runs on exactly one of them. examples/embedded is
// such a program. One that starts and moves apps by itself waits for Connected
// first, then calls StartApp, StopApp, Takeover, Permit, Load and so on: the calls of
// OTP's application module, of which docs/semantics.md has a table. ApplyConfig
// and LoadDistributed change the specification of a running cluster.
//
// What an app writes to can refuse an instance that should have ended by its
// epoch; docs/fencing.md says when that is needed, and how. Start.NATS lets an
// app use the cluster's NATS for it, with rights of its own.
//
// Node.Processes is how programs of different nodes talk: Erlang's processes and
// messages, see package manager/proc. They decide nothing about apps.
//
// This package puts the parts together and is the only one below cmd that
// imports all of them: the pure core (manager/machine) in its loop
// (manager/agent), the processes (manager/proc), the adapters (bus, kv,
// embedded), the runners (manager/app, manager/osproc) and the proof by process
// inspection (manager/samehost).
//
// What is promised: of an app that is not set to overlap, at most one instance
// runs in the whole cluster, through crashes, pauses and partitions, as long as
// clocks run at the same rate to one in a thousand. What is not: that one
// always runs. Without a majority of voters nothing starts, and what runs stops
// at its deadline.
package manager
