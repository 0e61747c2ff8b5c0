//go:build !linux

package osproc

import "os"

// Nursery keeps nothing on this system: a child is its command at once.
type Nursery struct{}

// NewNursery returns nil.
func NewNursery(int, Cradle) *Nursery { return nil }

// Close does nothing.
func (n *Nursery) Close() {}

func (n *Nursery) birth(p plan) (*born, error) { return bear(p, nil, nothing) }

func (n *Nursery) bear(p plan, free func()) (*born, error) { return bear(p, nil, free) }

func spawnFor(p plan, stdio []*os.File, _ Cradle) (*child, error) { return spawn(p, stdio) }
