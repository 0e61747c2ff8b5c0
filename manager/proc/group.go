package proc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// Process groups, as OTP's pg: named sets of processes of all visible nodes.
// Each node says which of its own processes are in which group, to every node
// that comes and at every change; what it said is forgotten when the connection
// with it ends, and said anew over the next. So after a partition all nodes
// that see each other come to the same members.

// Joined tells a process that monitors a group who has come into it.
type Joined struct {
	Group   string
	Members []PID
}

// Left tells it who has gone.
type Left struct {
	Group   string
	Members []PID
}

func (Joined) isMessage() {}
func (Left) isMessage()   {}

// groups is the view of one system. Its mutex is never held while something is
// sent or delivered.
type groups struct {
	mu     sync.Mutex
	own    map[string][]uint64            // serials; one that joined twice is there twice
	others map[node.Name]map[string][]PID // what other nodes have said
	heard  map[node.Name]*conn            // over which connection
	watch  map[string]map[*process]int    // who monitors a group
	order  sync.Mutex                     // own changes are said in the order in which they happen
}

func (g *groups) init() {
	g.own = map[string][]uint64{}
	g.others = map[node.Name]map[string][]PID{}
	g.heard = map[node.Name]*conn{}
	g.watch = map[string]map[*process]int{}
}

// Join makes the process a member of a group; a process that joins twice has to
// leave twice. Errors wrap ErrName.
func (p *Self) Join(group string) error {
	if err := CheckName(group); err != nil {
		return err
	}
	s, g := p.s, &p.s.groups
	g.order.Lock()
	defer g.order.Unlock()
	if p.p.ctx.Err() != nil {
		return context.Cause(p.p.ctx)
	}
	g.mu.Lock()
	if members := g.own[group]; len(members) >= listMax {
		g.mu.Unlock()
		return fmt.Errorf("group %s: this node has %d members in it already", group, listMax)
	}
	g.own[group] = append(g.own[group], p.p.pid.Serial)
	g.mu.Unlock()
	g.say(s, &frame{kind: kindGroup, name: group, list: []uint64{p.p.pid.Serial}})
	g.told(s, Joined{group, []PID{p.p.pid}})
	return nil
}

// Leave ends a membership, and reports whether there was one.
func (p *Self) Leave(group string) bool {
	g := &p.s.groups
	g.order.Lock()
	defer g.order.Unlock()
	return g.leave(p.s, group, p.p.pid, 1) > 0
}

// leave removes up to most memberships of a process and says so.
func (g *groups) leave(s *System, group string, pid PID, most int) int {
	var gone []uint64
	g.mu.Lock()
	members := g.own[group]
	for len(gone) < most {
		i := slices.Index(members, pid.Serial)
		if i < 0 {
			break
		}
		members = slices.Delete(members, i, i+1)
		gone = append(gone, pid.Serial)
	}
	if len(members) == 0 {
		delete(g.own, group)
	} else {
		g.own[group] = members
	}
	g.mu.Unlock()
	if len(gone) > 0 {
		g.say(s, &frame{kind: kindGroup, flags: flagLeave, name: group, list: gone})
		g.told(s, Left{group, slices.Repeat([]PID{pid}, len(gone))})
	}
	return len(gone)
}

// processGone ends all memberships of a process.
func (g *groups) processGone(s *System, pid PID) {
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	var in []string
	for name, members := range g.own {
		if slices.Contains(members, pid.Serial) {
			in = append(in, name)
		}
	}
	for name, by := range g.watch {
		for p := range by {
			if p.pid == pid {
				delete(by, p)
			}
		}
		if len(by) == 0 {
			delete(g.watch, name)
		}
	}
	g.mu.Unlock()
	for _, name := range in {
		g.leave(s, name, pid, listMax)
	}
}

// Members are the processes of a group on all nodes, as far as this one knows,
// sorted; one that joined twice is there twice (OTP: pg:get_members/1).
func (s *System) Members(group string) []PID {
	g := &s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.localMembers(s, group)
	for _, groups := range g.others {
		list = append(list, groups[group]...)
	}
	slices.SortFunc(list, comparePIDs)
	return list
}

// LocalMembers are those of this node (OTP: pg:get_local_members/1).
func (s *System) LocalMembers(group string) []PID {
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	return s.groups.localMembers(s, group)
}

func (g *groups) localMembers(s *System, group string) []PID {
	return s.pids(s.self, s.life, g.own[group])
}

func (s *System) pids(n node.Name, life Life, serials []uint64) []PID {
	list := make([]PID, 0, len(serials))
	for _, serial := range serials {
		list = append(list, PID{n, life, serial})
	}
	return list
}

func comparePIDs(a, b PID) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Life, b.Life), cmp.Compare(a.Serial, b.Serial))
}

// Groups are the names of the groups that have members, sorted (OTP:
// pg:which_groups/0).
func (s *System) Groups() []string {
	g := &s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for name := range g.own {
		list = append(list, name)
	}
	for _, groups := range g.others {
		for name := range groups {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// MonitorGroup has the process told by Joined and Left of who comes into a
// group and goes, and returns who is in it now (OTP: pg:monitor/1).
func (p *Self) MonitorGroup(group string) []PID {
	g := &p.s.groups
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	if g.watch[group] == nil {
		g.watch[group] = map[*process]int{}
	}
	g.watch[group][p.p]++
	g.mu.Unlock()
	return p.s.Members(group)
}

// DemonitorGroup ends that.
func (p *Self) DemonitorGroup(group string) {
	g := &p.s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.watch[group], p.p)
}

// told gives an event to the processes that monitor the group. The holder of
// order calls it, so that they see the changes as they happened.
func (g *groups) told(s *System, m Message) {
	name := ""
	switch m := m.(type) {
	case Joined:
		name = m.Group
	case Left:
		name = m.Group
	}
	g.mu.Lock()
	var to []*process
	for p := range g.watch[name] {
		to = append(to, p)
	}
	g.mu.Unlock()
	for _, p := range to {
		s.deliver(p, m)
	}
}

// say tells all visible nodes of a change here. Those without a connection are
// told everything when they have one.
func (g *groups) say(s *System, f *frame) {
	s.mu.RLock()
	var conns []*conn
	var lonely []node.Name
	for n, p := range s.peers {
		switch {
		case !p.up || p.upType != Visible:
		case p.conn == nil:
			lonely = append(lonely, n)
		case p.conn.greetedGroups.Load():
			conns = append(conns, p.conn)
		}
	}
	closed := s.closed
	s.mu.RUnlock()
	for _, c := range conns {
		again := *f
		c.push(&again)
	}
	if closed {
		return
	}
	for _, n := range lonely {
		_, _ = s.dialing(n) // what comes of it is seen when it is up
	}
}

// nodeUp makes sure that a visible node hears of the groups here.
func (g *groups) nodeUp(s *System, m NodeUp) {
	g.mu.Lock()
	none := len(g.own) == 0
	g.mu.Unlock()
	if m.Type == Visible && !none {
		_, _ = s.dialing(m.Node) // likewise
	}
}

// remindEvery is the pause between two attempts to reach a node that is seen by
// its heartbeats only. It may not want to talk to this one.
const remindEvery = 5 * time.Second

// remind is called now and then: a node that is seen by its heartbeats and has
// lost its connection needs another to hear of the groups.
func (g *groups) remind(s *System, now time.Time) {
	g.mu.Lock()
	none := len(g.own) == 0
	g.mu.Unlock()
	if none {
		return
	}
	s.mu.Lock()
	var lonely []node.Name
	for n, p := range s.peers {
		if p.up && p.upType == Visible && p.conn == nil && s.mayTalk(n) && !now.Before(p.remindAt) {
			p.remindAt = now.Add(remindEvery)
			lonely = append(lonely, n)
		}
	}
	s.mu.Unlock()
	for _, n := range lonely {
		_, _ = s.dialing(n) // what comes of it is seen when it is up
	}
}

// greetGroups says everything over a new connection.
func (s *System) greetGroups(c *conn) {
	s.mu.RLock()
	hidden := c.hidden
	s.mu.RUnlock()
	if hidden {
		return
	}
	g := &s.groups
	g.order.Lock()
	defer g.order.Unlock()
	if c.greetedGroups.Swap(true) {
		return
	}
	g.mu.Lock()
	frames := []*frame{{kind: kindGroup, flags: flagWhole}}
	for name, members := range g.own {
		frames = append(frames, &frame{kind: kindGroup, name: name, list: slices.Clone(members)})
	}
	g.mu.Unlock()
	for _, f := range frames {
		c.push(f)
	}
}

// onFrame hears what another node says of its own processes.
func (g *groups) onFrame(s *System, c *conn, f *frame) {
	g.order.Lock()
	defer g.order.Unlock()
	switch {
	case f.flags&flagWhole != 0:
		g.forget(s, c.node)
		g.mu.Lock()
		g.heard[c.node], g.others[c.node] = c, map[string][]PID{}
		g.mu.Unlock()
	case CheckName(f.name) != nil:
	case f.flags&flagLeave != 0:
		g.remove(s, c, f)
	default:
		g.add(s, c, f)
	}
}

// groupsMax bounds the groups of one other node: names come from outside.
const groupsMax = 65_536

func (g *groups) add(s *System, c *conn, f *frame) {
	pids := s.pids(c.node, c.life, f.list)
	g.mu.Lock()
	of := g.others[c.node]
	known := g.heard[c.node] == c && (len(of) < groupsMax || of[f.name] != nil) && len(of[f.name])+len(pids) <= 16*listMax
	if known {
		of[f.name] = append(of[f.name], pids...)
	}
	g.mu.Unlock()
	if known && len(pids) > 0 {
		g.told(s, Joined{f.name, pids})
	}
}

func (g *groups) remove(s *System, c *conn, f *frame) {
	var gone []PID
	g.mu.Lock()
	if of := g.others[c.node]; g.heard[c.node] == c {
		for _, pid := range s.pids(c.node, c.life, f.list) {
			if i := slices.Index(of[f.name], pid); i >= 0 {
				of[f.name] = slices.Delete(of[f.name], i, i+1)
				gone = append(gone, pid)
			}
		}
		if len(of[f.name]) == 0 {
			delete(of, f.name)
		}
	}
	g.mu.Unlock()
	if len(gone) > 0 {
		g.told(s, Left{f.name, gone})
	}
}

// nodeGone forgets what was said over a connection that has ended.
func (g *groups) nodeGone(s *System, n node.Name, c *conn) {
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	ours := g.heard[n] == c
	g.mu.Unlock()
	if ours {
		g.forget(s, n)
	}
}

func (g *groups) forget(s *System, n node.Name) {
	g.mu.Lock()
	of := g.others[n]
	delete(g.others, n)
	delete(g.heard, n)
	g.mu.Unlock()
	for name, pids := range of {
		g.told(s, Left{name, pids})
	}
}
