package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/policy"
)

// whole is an app with parts, whose phases are noted with its own.
type whole struct {
	*script
	parts map[policy.App]*part
}

func (w whole) Included(name policy.App) PhaseStarter {
	if p := w.parts[name]; p != nil {
		return p
	}
	return nil
}

type part struct {
	of  *script
	err error
}

func (p *part) StartPhase(_ context.Context, phase policy.Phase, s Start) error {
	p.of.note(strings.Join(strings.Fields("phase "+phase.String()+" "+phase.Args+" "+string(s.Kind)+" "+string(s.From)), " "))
	return p.err
}

// mute is an app without start phases of its own.
type mute struct{ Application }

// the phases of included apps are called in turn with the app's own, on
// these apps, with the same start type.
func TestPhasesOfParts(t *testing.T) {
	phased := func(phases ...policy.Phase) Start {
		return Start{App: "a", Kind: policy.StartFailover, From: "n2@h", Phases: phases}
	}
	all := phased(policy.Phase{Name: "init"}, policy.Phase{Name: "init", Of: "in", Args: "1"}, policy.Phase{Name: "go"}, policy.Phase{Name: "go", Of: "other"})
	started := func(t *testing.T, a Application, s Start) (Instance, error) {
		t.Helper()
		i, _ := begun(a, s)
		t.Cleanup(func() { i.Stop(); <-i.Done() })
		return i, Await(t.Context(), i)
	}
	t.Run("in order", func(t *testing.T) {
		s := &script{}
		_, err := started(t, whole{s, map[policy.App]*part{"in": {of: s}, "other": {of: s}}}, all)
		if err != nil {
			t.Fatal(err)
		}
		s.expect(t, "start", "phase init ", "phase in:init 1 failover n2@h", "phase go ", "phase other:go failover n2@h")
	})
	boom := errors.New("boom")
	t.Run("one fails: so does the start, and nothing follows", func(t *testing.T) {
		s := &script{}
		i, err := started(t, whole{s, map[policy.App]*part{"in": {of: s, err: boom}}}, all)
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), `start phase "in:init"`) || i.Exit().Started {
			t.Errorf("%v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Contains(s.calls, "phase in:init 1 failover n2@h") || slices.Contains(s.calls, "phase go ") {
			t.Errorf("callbacks %q", s.calls)
		}
	})
	t.Run("no such part", func(t *testing.T) {
		for _, a := range []Application{whole{&script{}, nil}, &script{}} {
			if _, err := started(t, a, phased(policy.Phase{Name: "init", Of: "in"})); err == nil || !strings.Contains(err.Error(), `start phase "in:init": a has no part in`) {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("Included panics", func(t *testing.T) {
		if _, err := started(t, panics{&script{}}, phased(policy.Phase{Name: "init", Of: "in"})); err == nil || !strings.Contains(err.Error(), "panic: ouch") {
			t.Errorf("%v", err)
		}
	})
	t.Run("an app without phases of its own", func(t *testing.T) {
		s := &script{}
		if _, err := started(t, mute{s}, phased(policy.Phase{Name: "init"})); err != nil {
			t.Error(err)
		}
		s.expect(t, "start")
	})
}

type panics struct{ *script }

func (panics) Included(policy.App) PhaseStarter { panic("ouch") }
