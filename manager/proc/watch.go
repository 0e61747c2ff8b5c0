package proc

import (
	"context"
)

// Ref tells one monitor from the others of a node.
type Ref uint64

// Down says that a monitored process has ended (OTP: {'DOWN', …}), or that it
// can't be seen any more: NoConnection.
type Down struct {
	Ref    Ref
	Target Dest // as it was given to Monitor
	Reason Reason
}

func (Down) isMessage() {}

// watch is a monitor, at who watches. System.mu guards target.
type watch struct {
	s      *System
	ref    uint64
	by     *process
	target Dest
	conn   *conn
}

// fire tells that the monitored process has ended. Whoever calls it has taken
// the watch out of the system's table.
func (w *watch) fire(r Reason) {
	w.s.mu.RLock()
	target := w.target
	w.s.mu.RUnlock()
	w.s.deliver(w.by, Down{Ref(w.ref), target, r})
}

// watch enters w. It reports false if the connection has ended.
func (s *System) watch(w *watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.by.dead || w.conn != s.local && w.conn.watches == nil {
		return false
	}
	s.watches[w.ref] = w
	w.by.watching[w.ref] = struct{}{}
	if w.conn != s.local {
		w.conn.watches[w.ref] = struct{}{}
	}
	return true
}

// unwatch takes a monitor of p out of the table; nil: there was none.
func (s *System) unwatch(p *process, ref uint64) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[ref]
	if w == nil || w.by != p {
		return nil
	}
	s.dropWatch(w)
	return w
}

// dropWatch is for holders of mu.
func (s *System) dropWatch(w *watch) {
	delete(s.watches, w.ref)
	delete(w.by.watching, w.ref)
	delete(w.conn.watches, w.ref)
}

// unwatchAll is unwatch for all monitors of a process that has ended; those of
// other nodes are returned. It is for holders of mu.
func (s *System) unwatchAll(p *process) (remote []*watch) {
	for ref := range p.watching {
		w := s.watches[ref]
		if w == nil {
			continue
		}
		s.dropWatch(w)
		if w.conn != s.local {
			remote = append(remote, w)
		} else if pid, ok := w.target.(PID); ok && s.procs[pid.Serial] != nil {
			delete(s.procs[pid.Serial].watchers, callKey{s.local, ref})
		}
	}
	return remote
}

// Monitor watches a process: when it ends a Down comes, with its reason; with
// NoProc at once if there is none, and with NoConnection when its node can't be
// reached (OTP: monitor/2). It waits for a connection, at most until ctx ends,
// which is a NoConnection too.
func (p *Self) Monitor(ctx context.Context, to Dest) Ref {
	s := p.s
	ref := s.refs.Add(1)
	w := &watch{s: s, ref: ref, by: p.p, target: to}
	t, err := s.resolve(ctx, to)
	switch w.conn = t.conn; {
	case err != nil:
		s.deliver(p.p, Down{Ref(ref), to, reasonWithout(err)})
	case t.gone:
		s.deliver(p.p, Down{Ref(ref), to, NoProc})
	case t.conn == s.local:
		s.monitorHere(w, t)
	case !s.watch(w):
		s.deliver(p.p, Down{Ref(ref), to, NoConnection})
	default:
		t.conn.push(&frame{kind: kindMonitor, ref: ref, to: t.to, name: t.name})
	}
	return Ref(ref)
}

// reasonWithout is the reason of a Down for a destination that could not be
// found.
func reasonWithout(err error) Reason {
	if isNobody(err) {
		return NoProc
	}
	return NoConnection
}

func (s *System) monitorHere(w *watch, t target) {
	q := s.here(t)
	s.watch(w)
	s.mu.Lock()
	alive := q != nil && !q.dead
	if alive {
		q.watchers[callKey{s.local, w.ref}] = struct{}{}
	}
	s.mu.Unlock()
	if !alive && s.unwatch(w.by, w.ref) != nil {
		w.fire(NoProc)
	}
}

// Demonitor ends a monitor; with it ends a Down that waits in the mailbox (OTP:
// demonitor(Ref, [flush])).
func (p *Self) Demonitor(ref Ref) {
	if w := p.s.unwatch(p.p, uint64(ref)); w != nil {
		if w.conn != p.s.local {
			w.conn.push(&frame{kind: kindUnwatch, ref: w.ref})
			return
		}
		p.s.forgetWatcher(callKey{p.s.local, w.ref})
		return
	}
	var after uint64
	p.p.box.tryPick(func(m Message) bool { d, ok := m.(Down); return ok && d.Ref == ref }, &after)
}

// forgetWatcher looks for who is watched: a name may have changed hands.
func (s *System) forgetWatcher(key callKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.procs {
		delete(q.watchers, key)
	}
}

// sendDown tells one watcher of a process that has ended.
func (s *System) sendDown(key callKey, reason Reason) {
	if key.conn != s.local {
		key.conn.push(&frame{kind: kindDown, ref: key.ref, text: string(reason)})
		return
	}
	s.mu.Lock()
	w := s.watches[key.ref]
	if w != nil {
		s.dropWatch(w)
	}
	s.mu.Unlock()
	if w != nil {
		w.fire(reason)
	}
}

func (s *System) onMonitor(c *conn, f *frame) {
	key := callKey{c, f.ref}
	s.mu.Lock()
	q := s.procs[f.to]
	if f.to == 0 {
		q = s.names[f.name]
	}
	if q != nil && c.watched != nil {
		q.watchers[key] = struct{}{}
		c.watched[f.ref] = q
	}
	s.mu.Unlock()
	if q == nil {
		s.sendDown(key, NoProc)
	}
}

func (s *System) onUnwatch(c *conn, f *frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := c.watched[f.ref]; q != nil {
		delete(c.watched, f.ref)
		delete(q.watchers, callKey{c, f.ref})
	}
}

func (s *System) onDown(c *conn, f *frame) {
	s.mu.Lock()
	w := s.watches[f.ref]
	if w == nil || w.conn != c {
		s.mu.Unlock()
		return
	}
	s.dropWatch(w)
	s.mu.Unlock()
	w.fire(cleanReason(Reason(f.text)))
}

// Link ties two processes together: when one ends with another reason than
// Normal, so does the other, unless it traps exits (OTP: link/1). If there is
// no such process or no connection, that is an exit signal too.
func (p *Self) Link(ctx context.Context, other PID) {
	s := p.s
	if other == p.p.pid {
		return
	}
	t, err := s.resolve(ctx, other)
	if err != nil || t.gone {
		reason := NoProc
		if err != nil {
			reason = reasonWithout(err)
		}
		s.exitSignal(p.p, other, reason, false)
		return
	}
	s.mu.Lock()
	_, linked := p.p.links[other]
	q := s.procs[t.to]
	bound := true
	if !linked && !p.p.dead && (t.conn != s.local || q != nil) {
		if bound = s.bindLink(p.p, other, t.conn); bound && t.conn == s.local {
			q.links[p.p.pid] = s.local
		}
	}
	s.mu.Unlock()
	switch {
	case linked:
	case t.conn == s.local && q == nil:
		s.exitSignal(p.p, other, NoProc, false)
	case !bound:
		s.exitSignal(p.p, other, NoConnection, false)
	case t.conn != s.local:
		t.conn.push(&frame{kind: kindLink, from: p.p.pid.Serial, to: t.to})
	}
}

// Unlink ends a link.
func (p *Self) Unlink(other PID) {
	s := p.s
	s.mu.Lock()
	c := s.dropLink(p.p, other)
	if c == s.local {
		if q := s.procs[other.Serial]; q != nil {
			delete(q.links, p.p.pid)
		}
	}
	s.mu.Unlock()
	if c != nil && c != s.local {
		c.push(&frame{kind: kindUnlink, from: p.p.pid.Serial, to: other.Serial})
	}
}

// dropLink is for holders of mu. It returns the connection of the link; nil:
// there was none.
func (s *System) dropLink(p *process, other PID) *conn {
	c := p.links[other]
	delete(p.links, other)
	if c != nil && c != s.local {
		delete(c.links, link{p.pid.Serial, other.Serial})
	}
	return c
}

func (s *System) onLink(c *conn, f *frame) {
	s.mu.Lock()
	p := s.procs[f.to]
	if p != nil && f.from != 0 {
		s.bindLink(p, c.sender(f), c)
	}
	s.mu.Unlock()
	if p == nil {
		c.push(&frame{kind: kindExit, from: f.to, to: f.from, text: string(NoProc)})
	}
}

func (s *System) onUnlink(c *conn, f *frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.procs[f.to]; p != nil {
		s.dropLink(p, c.sender(f))
	}
}

func (s *System) onExit(c *conn, f *frame) {
	direct, from := f.flags&flagDirect != 0, c.sender(f)
	s.mu.Lock()
	p := s.procs[f.to]
	linked := p != nil && !direct && s.dropLink(p, from) != nil
	s.mu.Unlock()
	if p != nil && (direct || linked) {
		s.exitSignal(p, from, cleanReason(Reason(f.text)), direct)
	}
}

// Exit asks a process to end with a reason (OTP: exit/2). One that traps exits
// gets it as a message, unless it is Kill. Normal does nothing to another
// process. The errors are those of Send.
func (p *Self) Exit(ctx context.Context, to PID, reason Reason) error {
	return exit(ctx, p, to, reason)
}

// Exit is Self.Exit by nobody.
func (s *System) Exit(ctx context.Context, to PID, reason Reason) error {
	return exit(ctx, s, to, reason)
}

func exit(ctx context.Context, by Caller, to PID, reason Reason) error {
	s, p := by.caller()
	t, err := s.resolve(ctx, to)
	reason = cleanReason(reason)
	switch {
	case err != nil:
		return err
	case t.gone:
		return nil
	case t.conn != s.local:
		return t.conn.send(ctx, &frame{kind: kindExit, flags: flagDirect, from: serialOf(p), to: t.to, text: string(reason)})
	}
	q := s.here(t)
	if q != nil && q == p && reason == Normal {
		s.terminate(q, Normal)
	} else if q != nil {
		s.exitSignal(q, pidOf(p), reason, true)
	}
	return nil
}

// MonitorNodes has the process told of nodes that come and go: Visible,
// Hidden or, for both, Connected. Each call counts: after two, everything is
// told twice, and it takes two calls with on false to end it (OTP:
// net_kernel:monitor_nodes/2).
func (p *Self) MonitorNodes(t NodeType, on bool) {
	types := []NodeType{t}
	if t == Connected {
		types = []NodeType{Visible, Hidden}
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.p.dead {
		return
	}
	counts := s.observers[p.p]
	if counts == nil {
		counts = map[NodeType]int{}
		s.observers[p.p] = counts
	}
	for _, t := range types {
		if on {
			counts[t]++
		} else if counts[t] > 0 {
			counts[t]--
		}
	}
}
