package proc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// Func is what a process runs. It returns when its context ends. A process that
// was spawned ends with the error as its reason; Apply gives the result, or the
// error, to its caller.
type Func func(ctx context.Context, self *Self, args Payload) (any, error)

// Function makes a Func of a function with typed arguments and result. What
// can't be decoded into A is an error of the call.
func Function[A, R any](f func(ctx context.Context, self *Self, args A) (R, error)) Func {
	return func(ctx context.Context, self *Self, args Payload) (any, error) {
		a, err := As[A](args)
		if err != nil {
			return nil, fmt.Errorf("bad argument: %w", err)
		}
		return f(ctx, self, a)
	}
}

// Server makes a Func that spawns run until it returns or its context ends.
func Server(run func(ctx context.Context, self *Self) error) Func {
	return func(ctx context.Context, self *Self, _ Payload) (any, error) { return nil, run(ctx, self) }
}

// function is a registered Func.
type function struct {
	run     Func
	mailbox Mailbox
}

// process is a function that runs. System.mu guards what has no other guard.
type process struct {
	s      *System
	pid    PID
	box    *mailbox
	ctx    context.Context
	cancel context.CancelCauseFunc
	trap   atomic.Bool

	dead     bool
	names    []string
	globals  []string
	links    map[PID]*conn
	watchers map[callKey]struct{}
	watching map[uint64]struct{}
}

// callKey is a call or a monitor of a process here: where it comes from, and
// its number there.
type callKey struct {
	conn *conn
	ref  uint64
}

// processesMax bounds the processes of a system, as in Erlang.
const processesMax = 262_144

// errSystemLimit: there are too many processes.
var errSystemLimit = &ExitError{"system_limit"}

// Handle registers a function under a name, by which processes of all nodes can
// spawn and apply it. The mailbox says how much a process of it holds; the zero
// Mailbox is that of the system. Errors wrap ErrName, or ErrNameTaken.
func (s *System) Handle(name string, f Func, m Mailbox) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.functions[name]; taken {
		return fmt.Errorf("%w: function %s", ErrNameTaken, name)
	}
	if m == (Mailbox{}) {
		m = s.mailbox
	}
	s.functions[name] = function{f, m}
	return nil
}

// Go runs a function of this program as a process of this node.
func (s *System) Go(run func(ctx context.Context, self *Self) error) (PID, error) {
	p, err := s.newProcess(s.mailbox)
	if err != nil {
		return PID{}, err
	}
	s.start(p, Server(run), Payload{}, nil)
	return p.pid, nil
}

func (s *System) newProcess(m Mailbox) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case len(s.procs) >= processesMax:
		return nil, errSystemLimit
	}
	s.serial++
	p := &process{
		s: s, pid: PID{s.self, s.life, s.serial}, box: newMailbox(m, &s.counts.dropped),
		links: map[PID]*conn{}, watchers: map[callKey]struct{}{}, watching: map[uint64]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancelCause(s.life0)
	s.procs[s.serial] = p
	s.work.Add(1)
	return p, nil
}

// start runs the function of a process; key, if any, is the call that its
// result answers.
func (s *System) start(p *process, f Func, args Payload, key *callKey) {
	go func() {
		defer s.work.Done()
		defer p.cancel(nil)
		result, err := s.run(p, f, args)
		if key != nil && p.box.answers(*key) {
			s.reply(p.ctx, *key, result, err)
		}
		s.terminate(p, reasonOf(err))
	}()
}

// run turns a panic into an error; its stack goes to the log.
func (s *System) run(p *process, f Func, args Payload) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a process", "pid", p.pid.String(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = &ExitError{cleanReason(Reason(fmt.Sprintf("panic: %v", r)))}
		}
	}()
	return f(p.ctx, &Self{s, p}, args)
}

// reply answers a call with a value or an error.
func (s *System) reply(ctx context.Context, key callKey, v any, err error) {
	var payload Payload
	if err == nil {
		payload, err = s.codecs.encode(v)
	}
	if err == nil && key.conn == s.local {
		s.local.answer(key.ref, answer{payload: payload.clone()})
		return
	}
	if err == nil {
		err = key.conn.send(ctx, &frame{kind: kindReply, ref: key.ref, payload: payload})
		if !errors.Is(err, ErrTooLarge) {
			return // sent; or the connection has ended, and the call with it
		}
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		s.failCall(key, failExit, string(exit.Reason))
		return
	}
	s.failCall(key, failError, string(cleanReason(Reason(err.Error()))))
}

// onSpawn runs a function for another node.
func (s *System) onSpawn(c *conn, f *frame) { s.spawnHere(c, f) }

func (s *System) spawnHere(c *conn, f *frame) {
	key := callKey{c, f.ref}
	s.mu.RLock()
	fn, ok := s.functions[f.name]
	s.mu.RUnlock()
	if !ok {
		s.failCall(key, failNoFunction, f.name)
		return
	}
	p, err := s.newProcess(fn.mailbox)
	if err != nil {
		s.failCall(key, failExit, string(reasonOf(err)))
		return
	}
	if f.kind == kindApply {
		p.box.owe(key)
		s.start(p, fn.run, f.payload, &key)
		return
	}
	s.mu.Lock()
	if from := c.sender(f); f.flags&flagLink != 0 && !from.IsZero() {
		s.bindLink(p, from, c)
	}
	if f.flags&flagMonitor != 0 {
		p.watchers[key] = struct{}{}
		if c != s.local && c.watched != nil {
			c.watched[f.ref] = p
		}
	}
	s.mu.Unlock()
	if c == s.local {
		s.local.answer(f.ref, answer{pid: p.pid.Serial})
	} else {
		c.push(&frame{kind: kindSpawned, ref: f.ref, to: p.pid.Serial})
	}
	s.start(p, fn.run, f.payload, nil)
}

// terminate ends a process for everybody, whether or not its function has
// returned. The first reason counts.
func (s *System) terminate(p *process, reason Reason) {
	s.mu.Lock()
	if p.dead {
		s.mu.Unlock()
		return
	}
	p.dead = true
	delete(s.procs, p.pid.Serial)
	for _, n := range p.names {
		delete(s.names, n)
	}
	delete(s.observers, p)
	links, watchers := p.links, p.watchers
	p.links, p.watchers = nil, nil
	for pid, c := range links {
		if c == s.local {
			if q := s.procs[pid.Serial]; q != nil {
				delete(q.links, p.pid)
			}
		} else if c.links != nil {
			delete(c.links, link{p.pid.Serial, pid.Serial})
		}
	}
	for key := range watchers {
		delete(key.conn.watched, key.ref)
	}
	unwatch := s.unwatchAll(p)
	globals := p.globals
	s.mu.Unlock()

	p.cancel(&ExitError{reason})
	for _, key := range p.box.close() {
		s.failCall(key, failExit, string(reason))
	}
	for pid, c := range links {
		if c != s.local {
			c.push(&frame{kind: kindExit, from: p.pid.Serial, to: pid.Serial, text: string(reason)})
		} else if q := s.processOf(pid.Serial, ""); q != nil {
			s.exitSignal(q, p.pid, reason, false)
		}
	}
	for key := range watchers {
		s.sendDown(key, reason)
	}
	for _, w := range unwatch {
		w.conn.push(&frame{kind: kindUnwatch, ref: w.ref})
	}
	s.groups.processGone(s, p.pid)
	for _, name := range globals {
		s.releaseGlobal(name, p.pid)
	}
}

// exitSignal is what a process does when a linked one has ended, or somebody
// wants it to end.
func (s *System) exitSignal(p *process, from PID, reason Reason, direct bool) {
	switch {
	case direct && reason == Kill:
		s.terminate(p, Killed)
	case p.trap.Load():
		s.deliver(p, ExitSignal{from, reason})
	case reason == Normal:
	default:
		s.terminate(p, reason)
	}
}

// ExitSignal tells a process that traps exits that one linked to it has ended,
// or that somebody has asked it to end (OTP: {'EXIT', From, Reason}).
type ExitSignal struct {
	From   PID
	Reason Reason
}

func (ExitSignal) isMessage() {}

// Self is a process's own hands: only its function uses it.
type Self struct {
	s *System
	p *process
}

// PID is the process itself (OTP: self/0).
func (p *Self) PID() PID { return p.p.pid }

// System is where the process runs.
func (p *Self) System() *System { return p.s }

// Receive takes the oldest message, and waits for one. The error is the cause
// of ctx, or an *ExitError when the process was told to end.
func (p *Self) Receive(ctx context.Context) (Message, error) { return p.ReceiveIf(ctx, nil) }

// ReceiveIf takes the oldest message that matches, and leaves the others where
// they are (OTP: selective receive).
func (p *Self) ReceiveIf(ctx context.Context, match func(Message) bool) (Message, error) {
	if ctx == p.p.ctx {
		return p.p.box.pick(ctx, match)
	}
	ctx, cancel := p.bound(ctx)
	defer cancel()
	return p.p.box.pick(ctx, match)
}

// bound ends a context with the process.
func (p *Self) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.p.ctx, func() { cancel(context.Cause(p.p.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Waiting is how many messages wait, and Dropped how many found no room.
func (p *Self) Waiting() (waiting int, dropped uint64) { return p.p.box.stats() }

// TrapExit says whether the end of linked processes comes as an ExitSignal,
// instead of ending this one too (OTP: process_flag(trap_exit, Bool)).
func (p *Self) TrapExit(trap bool) { p.p.trap.Store(trap) }

// Register gives the process a name on its node. Errors wrap ErrName,
// ErrNameTaken or ErrClosed.
func (p *Self) Register(name string) error { return p.s.register(name, p.p) }

// Unregister takes the name away, and reports whether the process had it.
func (p *Self) Unregister(name string) bool { return p.s.unregister(name, p.p) }

func (s *System) register(name string, p *process) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.dead:
		return ErrNoProc
	case s.names[name] != nil:
		return fmt.Errorf("%w: %s", ErrNameTaken, name)
	}
	s.names[name] = p
	p.names = append(p.names, name)
	return nil
}

func (s *System) unregister(name string, p *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] != p {
		return false
	}
	delete(s.names, name)
	return true
}

// Whereis is the process with a local name (OTP: whereis/1).
func (s *System) Whereis(name string) (PID, bool) {
	if p := s.processOf(0, name); p != nil {
		return p.pid, true
	}
	return PID{}, false
}

// target is a destination that is resolved to a connection and a process or
// name on its other side.
type target struct {
	conn *conn
	to   uint64
	name string
	gone bool // a process of a former life
}

// resolve finds whom a message is for.
func (s *System) resolve(ctx context.Context, to Dest) (target, error) {
	switch d := to.(type) {
	case Global:
		pid, err := s.WhereisGlobal(ctx, string(d))
		if err != nil {
			return target{}, err
		}
		return s.resolve(ctx, pid)
	case Name:
		if err := CheckName(d.Name); err != nil {
			return target{}, err
		}
		c, err := s.connect(ctx, d.Node)
		return target{conn: c, name: d.Name}, err
	case PID:
		if d.IsZero() {
			return target{}, fmt.Errorf("%w: %w", ErrNoProc, ErrPID)
		}
		c, err := s.connect(ctx, d.Node)
		if err != nil {
			return target{}, err
		}
		return target{conn: c, to: d.Serial, gone: d.Life != c.life}, nil
	}
	return target{}, fmt.Errorf("%w: %T is no destination", ErrNoProc, to)
}

func (s *System) here(t target) *process {
	if t.gone {
		return nil
	}
	return s.processOf(t.to, t.name)
}

// bindLink is for holders of mu. It reports false if the connection has ended.
func (s *System) bindLink(p *process, other PID, c *conn) bool {
	if c != s.local {
		if c.links == nil {
			return false
		}
		c.links[link{p.pid.Serial, other.Serial}] = struct{}{}
	}
	p.links[other] = c
	return true
}
