package machine

import (
	"errors"
	"fmt"
)

// ErrInvariant is wrapped by every error of Check: a bug, not a failure.
var ErrInvariant = errors.New("invariant violated")

// Check tests what must hold after every Step.
func (m *Machine) Check() error {
	for _, a := range m.apps {
		if err := m.checkApp(a); err != nil {
			return fmt.Errorf("%w: app %s: %w", ErrInvariant, a.App, err)
		}
	}
	return nil
}

func (m *Machine) checkApp(a *app) error {
	r, c := a.run, a.claim
	switch {
	case a.Spec == nil || r == nil:
		return nil
	case m.runs[r.id] != a:
		return errors.New("its run is not registered")
	case r.killed:
		return nil
	case m.session.id == "" && m.life != lifeOver:
		return errors.New("it runs without a session")
	case m.life != lifeOver && m.now >= m.session.deadline:
		return errors.New("it runs past the deadline of its session")
	case c == nil || c.nonce != r.nonce:
		return errors.New("it runs without its claim")
	case c.session != m.session.id:
		return errors.New("its claim is of another session")
	case a.durable < c.epoch && c.begun && r.epoch == c.epoch:
		return errors.New("its epoch was not made durable before its start")
	}
	return nil
}
