package arch

import (
	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/osproc"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// The adapters and runners fit the ports that the core has declared. They don't
// know the ports; this is where it would be seen that they have drifted apart.
var (
	_ agent.Store = (*kv.Store)(nil)
	_ agent.Bus   = (*bus.Bus)(nil)

	_ app.Runner = (*osproc.Runner)(nil)
	_ app.Runner = app.Go{}

	_ osproc.Ledger = (*samehost.Groups)(nil)
)

// What the conformance suite asks of a store is what the node asks of it.
var (
	_ kvtest.Store = agent.Store(nil)
	_ agent.Store  = kvtest.Store(nil)
)
