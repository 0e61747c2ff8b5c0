package proc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Holder is who has a global name. The zero PID: nobody. Epoch grows with every
// registration of the name and is kept when nobody has it: the fencing token of
// the name.
type Holder struct {
	PID      PID
	Epoch    uint64
	Since    uint64 // a revision at which the holder's node was known to be in this life
	Revision uint64 // of the record; 0: there is none
}

// Names keeps global names, by compare-and-set.
type Names interface {
	// Read returns the present holder.
	Read(ctx context.Context, name string) (Holder, error)

	// Write makes h the record if its revision is still h.Revision, and sets its
	// Since. It reports whether it did. ErrNoSession means that nothing was
	// written; any other error that the outcome is unknown.
	Write(ctx context.Context, name string, h Holder) (bool, error)

	// Ended reports whether the life of a holder's node is proved to have ended.
	Ended(ctx context.Context, h Holder) (bool, error)
}

// ErrNoSession: the node has no session yet, or none at the moment, and without
// one nobody could prove the end of its life.
var ErrNoSession = errors.New("the node has no session")

// ErrNoNames: this system keeps no global names.
var ErrNoNames = errors.New("no global names here")

// ErrUnknownOutcome: a write of a global name had no answer, and reading had
// none either. It may have been done or not.
var ErrUnknownOutcome = errors.New("outcome unknown")

// RegisterGlobal gives the process a name of the whole cluster and returns the
// epoch of the registration (OTP: global:register_name/2). It takes the name of
// a process that has ended, and of a node whose life is proved to have ended;
// a node that is merely silent keeps its names.
//
// Errors: ErrName, ErrNameTaken, ErrNoNames, ErrNoSession, ErrUnknownOutcome, the
// cause of ctx.
func (p *Self) RegisterGlobal(ctx context.Context, name string) (epoch uint64, err error) {
	if err := CheckName(name); err != nil {
		return 0, err
	}
	if p.s.store == nil {
		return 0, ErrNoNames
	}
	for {
		h, err := p.s.store.Read(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("global name %s: %w", name, err)
		}
		if h.PID == p.p.pid {
			return h.Epoch, nil
		}
		if !h.PID.IsZero() {
			alive, err := p.s.seemsAlive(ctx, h)
			if err != nil {
				return 0, err
			}
			if alive {
				return 0, fmt.Errorf("%w: %s, by %s", ErrNameTaken, name, h.PID)
			}
		}
		h.PID, h.Epoch = p.p.pid, h.Epoch+1
		won, err := p.s.write(ctx, name, h)
		if err != nil {
			return 0, err
		}
		if won && p.s.owns(p.p, name) {
			return h.Epoch, nil
		}
		if won {
			p.s.releaseGlobal(name, p.p.pid)
			return 0, context.Cause(p.p.ctx)
		}
	}
}

// owns notes that a process has a global name, unless it has ended.
func (s *System) owns(p *process, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.dead {
		p.globals = append(p.globals, name)
	}
	return !p.dead
}

// write settles an unknown outcome by reading.
func (s *System) write(ctx context.Context, name string, h Holder) (bool, error) {
	won, err := s.store.Write(ctx, name, h)
	for err != nil {
		if errors.Is(err, ErrNoSession) {
			return false, fmt.Errorf("global name %s: %w", name, err)
		}
		now, readErr := s.store.Read(ctx, name)
		if readErr == nil && now.Revision != h.Revision {
			return now.PID == h.PID && now.Epoch == h.Epoch, nil
		}
		// Not applied so far; it may still be. The same write again, at the same
		// revision, settles it: only one of the two can win, and both say the same.
		if ctx.Err() != nil {
			return false, fmt.Errorf("global name %s: %w: %w", name, ErrUnknownOutcome, err)
		}
		if !pause(ctx, writeAgain) {
			return false, fmt.Errorf("global name %s: %w: %w", name, ErrUnknownOutcome, err)
		}
		won, err = s.store.Write(ctx, name, h)
		if err == nil && !won {
			if now, readErr := s.store.Read(ctx, name); readErr == nil {
				return now.PID == h.PID && now.Epoch == h.Epoch, nil
			}
		}
	}
	return won, nil
}

const writeAgain = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// seemsAlive reports whether a process may still be there: only proof says that
// it is not.
func (s *System) seemsAlive(ctx context.Context, h Holder) (bool, error) {
	pid := h.PID
	if pid.Node == s.self {
		return pid.Life == s.life && s.processOf(pid.Serial, "") != nil, nil
	}
	ended, err := s.store.Ended(ctx, h)
	if err != nil {
		return true, fmt.Errorf("is %s alive: %w", pid, err)
	}
	if ended {
		return false, nil
	}
	t, err := s.resolve(ctx, pid)
	if err != nil {
		return true, nil //nolint:nilerr // silence is no proof
	}
	return !t.gone && s.answersFor(ctx, t), nil
}

// answersFor asks the node of a process whether it is there, by a monitor that
// is ended at once.
func (s *System) answersFor(ctx context.Context, t target) bool {
	p, err := s.newProcess(Mailbox{})
	if err != nil {
		return true
	}
	defer s.work.Done()
	defer s.terminate(p, Normal)
	ref := s.refs.Add(1)
	if !s.watch(&watch{s: s, ref: ref, by: p, conn: t.conn, target: PID{}}) {
		return true
	}
	t.conn.push(&frame{kind: kindMonitor, ref: ref, to: t.to})
	// The answer to the question whether it has arrived comes behind a Down.
	ctx, cancel := context.WithTimeout(ctx, s.TickTime())
	defer cancel()
	m, err := p.box.pick(ctx, nil)
	down, ok := m.(Down)
	return err != nil || !ok || down.Reason != NoProc
}

// UnregisterGlobal gives a global name back (OTP: global:unregister_name/1).
func (p *Self) UnregisterGlobal(ctx context.Context, name string) error {
	if p.s.store == nil {
		return ErrNoNames
	}
	return p.s.release(ctx, name, p.p.pid)
}

// releaseMax is how long a node tries to give a name back. Later whoever wants
// it finds that the process is gone.
const releaseMax = 10 * time.Second

// releaseGlobal gives the name of a process that has ended back, in the
// background.
func (s *System) releaseGlobal(name string, pid PID) {
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(s.life0, releaseMax)
		defer cancel()
		if err := s.release(ctx, name, pid); err != nil {
			s.log.Debug("global name not given back", "name", name, "err", err)
		}
	})
}

func (s *System) release(ctx context.Context, name string, pid PID) error {
	for {
		h, err := s.store.Read(ctx, name)
		if err != nil {
			return fmt.Errorf("global name %s: %w", name, err)
		}
		if h.PID != pid {
			return nil
		}
		h.PID = PID{}
		if won, err := s.write(ctx, name, h); err != nil || won {
			return err
		}
	}
}

// WhereisGlobal is the process with a global name (OTP: global:whereis_name/1).
// It may have ended meanwhile, as any process. Errors: ErrNotRegistered,
// ErrNoNames, those of reading.
func (s *System) WhereisGlobal(ctx context.Context, name string) (PID, error) {
	if err := CheckName(name); err != nil {
		return PID{}, err
	}
	if s.store == nil {
		return PID{}, ErrNoNames
	}
	h, err := s.store.Read(ctx, name)
	if err != nil {
		return PID{}, fmt.Errorf("global name %s: %w", name, err)
	}
	if h.PID.IsZero() {
		return PID{}, fmt.Errorf("%w: global name %s", ErrNotRegistered, name)
	}
	return h.PID, nil
}

func isNobody(err error) bool { return errors.Is(err, ErrNotRegistered) || errors.Is(err, ErrNoProc) }
