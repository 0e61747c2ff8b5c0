package machine

import (
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// disk is what this node remembers over restarts, and how much of it is
// durable.
type disk struct {
	wanted  Memory
	durable Memory
	changed bool
	open    RequestID // the Remember under way
	sent    Memory
	again   Instant // after a write that failed
	broken  bool
}

// diskAgain is the pause after a failed write of the memory.
const diskAgain = 500 * time.Millisecond

func (d *disk) recall(mem Memory) {
	d.wanted, d.durable = mem, mem
	d.wanted.Apps = slices.Clone(mem.Apps)
	d.wanted.Permits = slices.Clone(mem.Permits)
}

// recallApp gives an app what is remembered of it.
func (d *disk) recallApp(a *app) {
	for _, am := range d.durable.Apps {
		if am.App == a.App {
			a.seen, a.allotted, a.durable = am.Seen, max(am.Allotted, am.Seen), max(am.Allotted, am.Seen)
		}
	}
	for _, pm := range d.durable.Permits {
		if pm.App == a.App {
			a.permitted = pm.Permitted
		}
	}
}

// remembers reports whether an earlier life left a memory of some bucket.
func (d *disk) remembers() bool { return d.durable.Identity != "" }

func (d *disk) trust(id policy.Identity, seq policy.Revision) {
	if d.wanted.Identity != id {
		d.changed = true
		d.wanted.Longest = 0 // what ran by leases of the one before is over
	}
	d.wanted.Identity, d.wanted.Seq = id, seq
}

// note remembers the epochs of one app.
func (d *disk) note(app policy.App, seen, allotted policy.Epoch) {
	i, found := slices.BinarySearchFunc(d.wanted.Apps, app, func(am AppMemory, app policy.App) int {
		return strings.Compare(string(am.App), string(app))
	})
	am := AppMemory{App: app, Seen: seen, Allotted: allotted}
	if !found {
		d.wanted.Apps = slices.Insert(d.wanted.Apps, i, am)
		d.changed = true
		return
	}
	if d.wanted.Apps[i] != am {
		d.wanted.Apps[i] = am
		d.changed = true
	}
}

// noteLease keeps how long a lease may be in this bucket. It is on disk, too, as
// the bucket may be lost while this node is down.
func (m *Machine) noteLease(ttl time.Duration) {
	m.longest = max(m.longest, ttl)
	if d := &m.disk; ttl > max(m.cfg.Lease.TTL, d.wanted.Longest) {
		d.wanted.Longest, d.changed = ttl, true
		m.touch()
	}
}

// notePermit remembers a persisted permission of this node.
func (d *disk) notePermit(p PermitMemory) {
	i, found := slices.BinarySearchFunc(d.wanted.Permits, p.App, func(pm PermitMemory, app policy.App) int {
		return strings.Compare(string(pm.App), string(app))
	})
	switch {
	case !found:
		d.wanted.Permits = slices.Insert(d.wanted.Permits, i, p)
	case d.wanted.Permits[i] == p:
		return
	default:
		d.wanted.Permits[i] = p
	}
	d.changed = true
}

// decideMemory keeps the disk up to date: one write at a time, each with all.
func (m *Machine) decideMemory() {
	d := &m.disk
	if !d.changed || d.open != 0 || !m.passed(d.again) {
		return
	}
	d.changed = false
	d.sent = d.wanted
	d.sent.Seq = m.bucket.seq
	d.sent.Apps = slices.Clone(d.wanted.Apps)
	d.sent.Permits = slices.Clone(d.wanted.Permits)
	m.requestSeq++
	d.open = m.requestSeq
	m.do(Remember{Req: d.open, Memory: d.sent})
}

func (m *Machine) remembered(ev Remembered) {
	d := &m.disk
	if ev.Req != d.open {
		return
	}
	d.open = 0
	d.broken = !ev.OK
	m.touch()
	if !ev.OK {
		d.changed = true
		d.again = m.now.Add(diskAgain)
		return
	}
	d.durable = d.sent
	for _, am := range d.durable.Apps {
		if a := m.appOf[am.App]; a != nil {
			a.durable = max(a.durable, am.Allotted)
		}
	}
}
