// Package trace is what was seen of a cluster from outside: which processes ran
// when, what the store held, what clients of the store were answered. It is
// written by package stagehand and by the harness, and read by the checkers.
//
// All instants are of CLOCK_BOOTTIME, which is one clock for all namespaces of a
// machine and goes on through everything that the harness does to them.
package trace

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Instant is a reading of CLOCK_BOOTTIME in nanoseconds; 0 is none.
type Instant int64

// Add is the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub is the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Hello is what a process of an app says first, on a socket of the recorder.
type Hello struct {
	At       Instant `json:"at"` // its first instruction that is its own
	Instance string  `json:"instance"`
	Role     Role    `json:"role"`
	App      string  `json:"app"`
	Node     string  `json:"node"`
	Session  string  `json:"session"`
	Epoch    uint64  `json:"epoch"`
	Start    string  `json:"start"` // normal, failover or takeover
	From     string  `json:"from"`
}

// Role is the place of a process in the tree of its app.
type Role string

// Roles: the leader is what the node executes, the child is the leader's.
const (
	Leader Role = "leader"
	Child  Role = "child"
)

// Line is one line of the recorder: a process said hello, or is gone.
type Line struct {
	At    Instant `json:"at"`
	Proc  int     `json:"proc"` // counts processes; pids may come again
	PID   int     `json:"pid"`  // as the harness sees it
	Hello *Hello  `json:"hello,omitempty"`
	// Tick is, of one that is gone, when it last executed.
	Tick Instant `json:"tick,omitempty"`
}

// Instance is one execution of an app with all its processes.
type Instance struct {
	Hello // of the leader, or of the first process seen
	Procs []Process
}

// Process is one process of an instance.
type Process struct {
	Proc, PID int
	Role      Role
	Begin     Instant
	End       Instant // 0: alive
	Tick      Instant
}

// Begin is when the first process began.
func (in *Instance) Begin() Instant {
	least := in.Procs[0].Begin
	for _, p := range in.Procs {
		least = min(least, p.Begin)
	}
	return least
}

// End is when the last process was gone; 0 while one is alive.
func (in *Instance) End() Instant {
	var last Instant
	for _, p := range in.Procs {
		if p.End == 0 {
			return 0
		}
		last = max(last, p.End)
	}
	return last
}

// Alive reports whether a process was alive at t.
func (in *Instance) Alive(t Instant) bool {
	end := in.End()
	return in.Begin() <= t && (end == 0 || t < end)
}

// Leading is the process that the node executed, if it was seen.
func (in *Instance) Leading() (Process, bool) {
	i := slices.IndexFunc(in.Procs, func(p Process) bool { return p.Role == Leader })
	if i < 0 {
		return Process{}, false
	}
	return in.Procs[i], true
}

func (in *Instance) String() string {
	return fmt.Sprintf("%s on %s (%s, epoch %d)", in.App, in.Node, in.Start, in.Epoch)
}

// Cast puts the recorder's lines together, one after the other.
type Cast struct {
	all      []*Instance
	instance map[string]*Instance
	proc     map[int]*Instance
}

// Add takes the next line.
func (c *Cast) Add(l Line) {
	if c.instance == nil {
		c.instance, c.proc = map[string]*Instance{}, map[int]*Instance{}
	}
	if l.Hello != nil {
		c.begun(l)
		return
	}
	in := c.proc[l.Proc]
	if in == nil {
		return
	}
	for i := range in.Procs {
		if p := &in.Procs[i]; p.Proc == l.Proc {
			p.End, p.Tick = l.At, l.Tick
		}
	}
}

func (c *Cast) begun(l Line) {
	in := c.instance[l.Hello.Instance]
	if in == nil {
		in = &Instance{Hello: *l.Hello}
		c.instance[l.Hello.Instance] = in
		c.all = append(c.all, in)
	}
	if l.Hello.Role == Leader {
		in.Hello = *l.Hello
	}
	c.proc[l.Proc] = in
	in.Procs = append(in.Procs, Process{Proc: l.Proc, PID: l.PID, Role: l.Hello.Role, Begin: l.Hello.At})
}

// All are the instances in the order of their begin.
func (c *Cast) All() []*Instance {
	slices.SortStableFunc(c.all, func(a, b *Instance) int { return cmp.Compare(a.Begin(), b.Begin()) })
	return c.all
}

// Record is one revision of a record of the store.
type Record struct {
	Bucket int     // counts buckets: revisions begin again in a new one
	Rev    uint64  // within it
	At     Instant // stored, by the clock of the server that led then
	Key    string
	Node   *NodeRecord
	App    *AppRecord
}

// NodeRecord is what the checkers read of a node's lease.
type NodeRecord struct {
	Name    string `json:"name"`
	Session string `json:"session"`
	State   string `json:"state"`
	Seq     uint64 `json:"seq"`
	TTL     string `json:"ttl"`
	Agent   string `json:"agent"`
}

// Live is the state of a lease that nobody has ended.
const Live = "live"

// AppRecord is what the checkers read of an ownership record.
type AppRecord struct {
	App     string `json:"app"`
	Owner   string `json:"owner"`
	Epoch   uint64 `json:"epoch"`
	Session string `json:"session"`
	SRev    uint64 `json:"srev"`
	Phase   string `json:"phase"`
	Want    string `json:"want"`
	High    uint64 `json:"high"`
	Next    *Slot  `json:"next"`
	Prev    *Slot  `json:"prev"`
}

// Slot is a right beside the owner's.
type Slot struct {
	Node    string `json:"node"`
	Session string `json:"session"`
	Epoch   uint64 `json:"epoch"`
}

// Op is one compare-and-set of a client of the store, from the call to the
// answer. Values are unique.
type Op struct {
	Client       int
	Expect, New  string
	Rev          uint64 // at which Expect was read; for people
	Call, Return Instant
	Outcome      Outcome
}

// Outcome of an Op.
type Outcome int

// Outcomes.
const (
	OK Outcome = iota
	Refused
	Unknown // it may have been applied, or may yet be
)

func (o Outcome) String() string { return [...]string{"ok", "refused", "unknown"}[o] }
