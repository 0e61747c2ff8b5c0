package proc

import (
	"context"
	"fmt"

	"github.com/seed7529eb29/regent/policy/node"
)

// Caller is who sends and calls: a System, or a process by its Self.
type Caller interface {
	caller() (*System, *process)
}

func (s *System) caller() (*System, *process) { return s, nil }
func (p *Self) caller() (*System, *process)   { return p.s, p.p }

// mayStill fails for a process that has ended although its function goes on.
func (p *process) mayStill() error {
	if p != nil && p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return nil
}

func serialOf(p *process) uint64 {
	if p == nil {
		return 0
	}
	return p.pid.Serial
}

func pidOf(p *process) PID {
	if p == nil {
		return PID{}
	}
	return p.pid
}

// Send sends v to a process. It waits for a connection, if there is none, and
// while too much is on its way already. No error means that it is on its way,
// not that it has arrived: use Call to know.
//
// Errors: ErrNoConnection, ErrNotAllowed, ErrTooLarge, ErrPayload, ErrName,
// ErrNotRegistered for a Global, ErrClosed, the cause of ctx.
func (s *System) Send(ctx context.Context, to Dest, v any) error { return send(ctx, s, to, v) }

// Send is System.Send from this process: what it sends to one other arrives in
// the order in which it was sent.
func (p *Self) Send(ctx context.Context, to Dest, v any) error { return send(ctx, p, to, v) }

func send(ctx context.Context, by Caller, to Dest, v any) error {
	s, p := by.caller()
	if err := p.mayStill(); err != nil {
		return err
	}
	payload, err := s.codecs.encode(v)
	if err != nil {
		return err
	}
	t, err := s.resolve(ctx, to)
	switch {
	case err != nil:
		return err
	case t.conn != s.local && t.gone:
		return nil // as to any process that has ended
	case t.conn != s.local:
		return t.conn.send(ctx, &frame{kind: kindSend, from: serialOf(p), to: t.to, name: t.name, payload: payload})
	}
	if q := s.here(t); q != nil {
		s.deliver(q, Msg{pidOf(p), payload.clone()})
	} else {
		s.counts.noProcess.Add(1)
	}
	return nil
}

// Request is a call that waits for its answer. A process that ends without one
// has answered: its callers get its reason.
type Request struct {
	From PID // zero: no process
	Payload

	key  callKey
	proc *process
}

func (*Request) isMessage() {}

// Reply answers the call; only the first answer counts. It waits as Send does,
// at most until the process that was called has to end.
func (r *Request) Reply(v any) {
	if r.proc.box.answers(r.key) {
		r.proc.s.reply(r.proc.ctx, r.key, v, nil)
	}
}

// Fail answers the call with an error: the caller gets a *RemoteError with its
// text.
func (r *Request) Fail(err error) {
	if r.proc.box.answers(r.key) {
		r.proc.s.reply(r.proc.ctx, r.key, nil, &RemoteError{err.Error()})
	}
}

// Call sends a request to a process and waits for the answer (OTP:
// gen_server:call/3). Its deadline is that of ctx; without one it waits as long
// as the process and its node are there.
//
// Errors: *ExitError when the process ended first, which with NoProc is
// ErrNoProc: nothing was done; ErrNoConnection: the node is gone, it may have
// been done; ErrMailboxFull; *RemoteError; those of Send; the cause of ctx: it
// may have been done.
func Call[R any](ctx context.Context, by Caller, to Dest, v any) (R, error) {
	var r R
	payload, err := CallPayload(ctx, by, to, v)
	if err != nil {
		return r, err
	}
	err = payload.Decode(&r)
	return r, err
}

// CallPayload is Call without decoding the answer.
func CallPayload(ctx context.Context, by Caller, to Dest, v any) (Payload, error) {
	s, p := by.caller()
	if err := p.mayStill(); err != nil {
		return Payload{}, err
	}
	payload, err := s.codecs.encode(v)
	if err != nil {
		return Payload{}, err
	}
	t, err := s.resolve(ctx, to)
	switch {
	case err != nil:
		return Payload{}, err
	case t.gone:
		return Payload{}, &ExitError{NoProc}
	}
	ref := s.refs.Add(1)
	wait, err := t.conn.expect(ref)
	if err != nil {
		return Payload{}, err
	}
	if t.conn == s.local {
		s.request(callKey{s.local, ref}, s.here(t), pidOf(p), payload.clone())
	} else if err := t.conn.send(ctx, &frame{kind: kindCall, ref: ref, from: serialOf(p), to: t.to, name: t.name, payload: payload}); err != nil {
		t.conn.forget(ref)
		return Payload{}, err
	}
	a, err := s.await(ctx, p, t.conn, ref, wait)
	if err != nil {
		s.abandon(t, ref)
		return Payload{}, err
	}
	return a.payload, a.err
}

// await waits for the answer of a call; its error is that of the waiting.
func (s *System) await(ctx context.Context, p *process, c *conn, ref uint64, wait *pending) (answer, error) {
	var ended <-chan struct{}
	if p != nil {
		ended = p.ctx.Done()
	}
	select {
	case a := <-wait.done:
		return a, nil
	case <-ctx.Done():
	case <-ended:
	}
	if !c.forget(ref) {
		select {
		case a := <-wait.done: // it came meanwhile
			return a, nil
		default:
		}
	}
	if ctx.Err() != nil {
		return answer{}, context.Cause(ctx)
	}
	return answer{}, context.Cause(p.ctx)
}

// abandon tells the process that was called that nobody waits any more.
func (s *System) abandon(t target, ref uint64) {
	if t.conn != s.local {
		t.conn.push(&frame{kind: kindForget, ref: ref, to: t.to, name: t.name})
	} else if q := s.here(t); q != nil {
		q.box.answers(callKey{s.local, ref})
	}
}

// Apply runs a function on a node, in a process of its own, and waits for its
// result (OTP: erpc:call/5). When ctx ends first the function goes on.
//
// Errors: ErrNoFunction; *RemoteError, the function's own; *ExitError, its
// process was ended; otherwise as Call.
func Apply[R any](ctx context.Context, by Caller, n node.Name, function string, args any) (R, error) {
	var r R
	payload, err := ApplyPayload(ctx, by, n, function, args)
	if err != nil {
		return r, err
	}
	err = payload.Decode(&r)
	return r, err
}

// ApplyPayload is Apply without decoding the result.
func ApplyPayload(ctx context.Context, by Caller, n node.Name, function string, args any) (Payload, error) {
	a, err := by.(spawner).ask(ctx, n, &frame{kind: kindApply, name: function}, args, nil)
	return a.payload, err
}

// spawner is what both callers are.
type spawner interface {
	ask(ctx context.Context, n node.Name, f *frame, args any, before func(c *conn, ref uint64, p *pending) error) (answer, error)
}

func (s *System) ask(ctx context.Context, n node.Name, f *frame, args any, before func(*conn, uint64, *pending) error) (answer, error) {
	return ask(ctx, s, n, f, args, before)
}

func (p *Self) ask(ctx context.Context, n node.Name, f *frame, args any, before func(*conn, uint64, *pending) error) (answer, error) {
	return ask(ctx, p, n, f, args, before)
}

// ask sends a frame that is answered.
func ask(ctx context.Context, by Caller, n node.Name, f *frame, args any, before func(*conn, uint64, *pending) error) (answer, error) {
	s, p := by.caller()
	if err := p.mayStill(); err != nil {
		return answer{}, err
	}
	if err := CheckName(f.name); err != nil {
		return answer{}, err
	}
	var err error
	if f.payload, err = s.codecs.encode(args); err != nil {
		return answer{}, err
	}
	c, err := s.connect(ctx, n)
	if err != nil {
		return answer{}, err
	}
	f.ref, f.from = s.refs.Add(1), serialOf(p)
	wait, err := c.expect(f.ref)
	if err == nil && before != nil {
		err = before(c, f.ref, wait)
	}
	if err != nil {
		c.forget(f.ref)
		return answer{}, err
	}
	if c == s.local {
		f.payload = f.payload.clone()
		s.spawnHere(c, f)
	} else if err := c.send(ctx, f); err != nil {
		c.forget(f.ref)
		return answer{}, err
	}
	a, err := s.await(ctx, p, c, f.ref, wait)
	if err != nil {
		return answer{}, err
	}
	a.conn = c
	return a, a.err
}

// SpawnOption says more about a spawn.
type SpawnOption func(*spawnOptions)

type spawnOptions struct {
	link    bool
	monitor *Ref
}

// Linked links the new process with the one that spawns it (OTP: spawn_link).
func Linked() SpawnOption { return func(o *spawnOptions) { o.link = true } }

// Monitored monitors the new process and stores the reference (OTP:
// spawn_monitor).
func Monitored(ref *Ref) SpawnOption { return func(o *spawnOptions) { o.monitor = ref } }

// Spawn runs a function on a node as a new process and returns its PID, without
// waiting for its end. Links and monitors are there before the function begins.
//
// Errors: ErrNoFunction, *ExitError if the node has too many processes;
// otherwise as Call.
func (p *Self) Spawn(ctx context.Context, n node.Name, function string, args any, opts ...SpawnOption) (PID, error) {
	var o spawnOptions
	for _, opt := range opts {
		opt(&o)
	}
	return spawn(ctx, p, n, function, args, o)
}

// Spawn is Self.Spawn by nobody: without links and monitors.
func (s *System) Spawn(ctx context.Context, n node.Name, function string, args any) (PID, error) {
	return spawn(ctx, s, n, function, args, spawnOptions{})
}

func spawn(ctx context.Context, by Caller, n node.Name, function string, args any, o spawnOptions) (PID, error) {
	s, p := by.caller()
	f := &frame{kind: kindSpawn, name: function}
	if o.link {
		f.flags |= flagLink
	}
	if o.monitor != nil {
		f.flags |= flagMonitor
	}
	before := func(c *conn, ref uint64, wait *pending) error {
		if o.monitor != nil {
			*o.monitor = Ref(ref)
			if !s.watch(&watch{s: s, ref: ref, by: p, conn: c}) {
				return fmt.Errorf("%w: %s", ErrNoConnection, c.node)
			}
		}
		// The next frame may already be about the new process.
		wait.spawned = func(serial uint64) {
			pid := PID{c.node, c.life, serial}
			s.mu.Lock()
			defer s.mu.Unlock()
			if w := s.watches[ref]; w != nil {
				w.target = pid
			}
			if o.link && !p.dead {
				s.bindLink(p, pid, c)
			}
		}
		return nil
	}
	a, err := by.(spawner).ask(ctx, n, f, args, before)
	if err != nil {
		if o.monitor != nil {
			(&Self{s, p}).Demonitor(*o.monitor) // the error says it all
		}
		return PID{}, err
	}
	return PID{a.conn.node, a.conn.life, a.pid}, nil
}
