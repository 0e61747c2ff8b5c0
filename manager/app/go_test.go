package app

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed7529eb29/regent/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an Application of functions that notes the order of its callbacks.
type script struct {
	start    func(context.Context, Start) error
	run      func(context.Context) error
	phase    func(context.Context, policy.Phase) error
	prepStop func(context.Context)
	confirm  func(context.Context)
	stop     func(context.Context) ([]byte, error)

	mu    sync.Mutex
	calls []string
}

func (a *script) note(s string) { a.mu.Lock(); a.calls = append(a.calls, s); a.mu.Unlock() }

func (a *script) Start(ctx context.Context, s Start) error {
	a.note("start")
	if a.start == nil {
		return nil
	}
	return a.start(ctx, s)
}

func (a *script) Run(ctx context.Context) error {
	if a.run == nil {
		<-ctx.Done()
		a.note("run ended: " + context.Cause(ctx).Error())
		return ctx.Err()
	}
	return a.run(ctx)
}

func (a *script) StartPhase(ctx context.Context, p policy.Phase, _ Start) error {
	a.note("phase " + p.Name + " " + p.Args)
	if a.phase == nil {
		return nil
	}
	return a.phase(ctx, p)
}

func (a *script) PrepStop(ctx context.Context) {
	a.note("prep_stop")
	if a.prepStop != nil {
		a.prepStop(ctx)
	}
}

func (a *script) Confirmed(ctx context.Context) {
	a.note("confirmed")
	if a.confirm != nil {
		a.confirm(ctx)
	}
}

func (a *script) Stop(ctx context.Context) ([]byte, error) {
	a.note("stop")
	if a.stop == nil {
		return []byte("payload"), nil
	}
	return a.stop(ctx)
}

func (a *script) expect(t *testing.T, want ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.calls, want) {
		t.Errorf("callbacks\n got %q\nwant %q", a.calls, want)
	}
}

type abort struct {
	mu      sync.Mutex
	reasons []string
}

func (b *abort) call(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reasons = append(b.reasons, reason)
}

func (b *abort) count() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.reasons) }

var twoPhases = Start{App: "a", Epoch: 7, Kind: policy.StartTakeover, From: "n2@h", Phases: []policy.Phase{{Name: "init"}, {Name: "go", Args: "[1]"}}}

func begun(a Application, s Start) (Instance, *abort) {
	b := new(abort)
	return Go{New: func() Application { return a }, StopTimeout: time.Second, Abort: b.call}.Start(s), b
}

// in runs f in a bubble of virtual time.
func in(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// start, its phases in order; prep_stop, the end of the tree, stop.
func TestCallbacksComeInTheOrderOfOTP(t *testing.T) {
	in(t, func(t *testing.T) {
		var told Start
		a := &script{start: func(_ context.Context, s Start) error { told = s; return nil }}
		i, b := begun(a, twoPhases)
		if err := Await(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		if told.Epoch != 7 || told.Kind != policy.StartTakeover || told.From != "n2@h" {
			t.Errorf("Start was told %+v", told)
		}
		i.Stop()
		i.Stop()
		e := i.Exit()
		if !e.Started || !e.Normal || e.Reason != "stopped" || string(e.Payload) != "payload" || e.Err != nil {
			t.Errorf("exit %+v", e)
		}
		a.expect(t, "start", "phase init ", "phase go [1]", "prep_stop", "run ended: "+ErrStopped.Error(), "stop")
		if b.count() != 0 {
			t.Error("a polite stop must not abort")
		}
	})
}

// prep_stop and stop are called also when the top supervisor exits.
func TestEndByItself(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		err          error
		normal       bool
	}{
		{"normal", "normal", nil, true},
		{"abnormal", "boom", errors.New("boom"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &script{run: func(context.Context) error { return c.err }}
			i, _ := begun(a, Start{App: "a"})
			e := i.Exit()
			if !e.Started || e.Normal != c.normal || e.Reason != c.reason || string(e.Payload) != "payload" {
				t.Errorf("exit %+v", e)
			}
			a.expect(t, "start", "prep_stop", "stop")
		})
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	t.Run("start", func(t *testing.T) {
		a := &script{start: func(context.Context, Start) error { return boom }}
		i, _ := begun(a, twoPhases)
		if err := Await(t.Context(), i); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		if e := i.Exit(); e.Started || e.Normal {
			t.Errorf("exit %+v", e)
		}
		a.expect(t, "start")
	})
	t.Run("phase", func(t *testing.T) {
		a := &script{phase: func(context.Context, policy.Phase) error { return boom }}
		i, _ := begun(a, twoPhases)
		err := Await(t.Context(), i)
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), `start phase "init"`) {
			t.Errorf("got %v", err)
		}
		a.expect(t, "start", "phase init ", "run ended: "+err.Error())
	})
	t.Run("end in a phase", func(t *testing.T) {
		a := &script{
			run:   func(context.Context) error { return boom },
			phase: func(ctx context.Context, _ policy.Phase) error { <-ctx.Done(); return nil },
		}
		i, _ := begun(a, twoPhases)
		if err := Await(t.Context(), i); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		a.expect(t, "start", "phase init ")
	})
}

func TestPanicIsAnAbnormalExitWithItsStack(t *testing.T) {
	expect := func(t *testing.T, reason string) {
		t.Helper()
		if !strings.Contains(reason, "panic: ouch") || !strings.Contains(reason, "go_test.go") {
			t.Errorf("reason %q has no panic with a stack", reason)
		}
	}
	t.Run("start", func(t *testing.T) {
		i, _ := begun(&script{start: func(context.Context, Start) error { panic("ouch") }}, Start{})
		expect(t, i.Exit().Reason)
	})
	t.Run("phase", func(t *testing.T) {
		i, _ := begun(&script{phase: func(context.Context, policy.Phase) error { panic("ouch") }}, twoPhases)
		expect(t, i.Exit().Reason)
	})
	t.Run("run", func(t *testing.T) {
		i, _ := begun(&script{run: func(context.Context) error { panic("ouch") }}, Start{})
		if e := i.Exit(); e.Normal || !e.Started {
			t.Errorf("exit %+v", e)
		}
		expect(t, i.Exit().Reason)
	})
	t.Run("confirmed", func(t *testing.T) {
		i, _ := begun(&script{confirm: func(context.Context) { panic("ouch") }}, Start{})
		<-i.Started()
		i.Confirm()
		if e := i.Exit(); e.Normal {
			t.Errorf("exit %+v", e)
		}
		expect(t, i.Exit().Reason)
	})
	t.Run("stop", func(t *testing.T) {
		a := &script{prepStop: func(context.Context) { panic("ouch") }, stop: func(context.Context) ([]byte, error) { panic("ouch") }}
		i, _ := begun(a, Start{})
		<-i.Started()
		i.Stop()
		e := i.Exit()
		if !e.Normal || !strings.HasPrefix(e.Reason, "stopped; PrepStop: ") || !strings.Contains(e.Reason, "; Stop: ") {
			t.Errorf("exit %+v", e)
		}
		expect(t, e.Reason)
	})
}

func TestGoexitInACallbackIsAnError(t *testing.T) {
	i, _ := begun(&script{run: func(context.Context) error { runtime.Goexit(); return nil }}, Start{})
	if e := i.Exit(); e.Normal || !strings.Contains(e.Reason, "Goexit") {
		t.Errorf("exit %+v", e)
	}
}

func TestKillIsFencedAndNotAborted(t *testing.T) {
	in(t, func(t *testing.T) {
		var cause error
		a := &script{run: func(ctx context.Context) error { <-ctx.Done(); cause = context.Cause(ctx); return nil }}
		i, b := begun(a, Start{})
		<-i.Started()
		deadline := errors.New("lease over")
		i.Kill(deadline)
		e := i.Exit()
		if !errors.Is(cause, ErrFenced) || !errors.Is(cause, deadline) {
			t.Errorf("cause %v", cause)
		}
		if e.Normal || !strings.HasPrefix(e.Reason, "killed: fenced") {
			t.Errorf("exit %+v", e)
		}
		a.expect(t, "start")
		time.Sleep(time.Minute)
		if b.count() != 0 {
			t.Error("an app that returned in time was aborted")
		}
	})
}

// ignoring is a callback that doesn't care about its context.
func ignoring(until <-chan struct{}) func(context.Context) error {
	return func(context.Context) error { <-until; return nil }
}

func TestKilledAppThatDoesNotReturnAborts(t *testing.T) {
	in(t, func(t *testing.T) {
		until := make(chan struct{})
		i, b := begun(&script{run: ignoring(until)}, Start{App: "stubborn"})
		<-i.Started()
		i.Kill(ErrFenced)
		time.Sleep(KillGrace - 1)
		synctest.Wait()
		if b.count() != 0 {
			t.Error("aborted within the grace")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if b.count() != 1 || !strings.Contains(b.reasons[0], `"stubborn"`) {
			t.Errorf("aborts %q", b.reasons)
		}
		select {
		case <-i.Done():
			t.Error("Done while the app is running")
		default:
		}
		close(until)
		<-i.Done()
	})
}

func TestKillDuringStart(t *testing.T) {
	for _, c := range []struct {
		name string
		app  *script
	}{
		{"start", &script{start: func(ctx context.Context, _ Start) error { <-ctx.Done(); return ctx.Err() }}},
		{"start that succeeds all the same", &script{start: func(ctx context.Context, _ Start) error { <-ctx.Done(); return nil }}},
		{"phase", &script{phase: func(ctx context.Context, _ policy.Phase) error { <-ctx.Done(); return nil }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				i, b := begun(c.app, twoPhases)
				synctest.Wait()
				i.Kill(ErrFenced)
				e := i.Exit()
				if e.Started || !errors.Is(e.Err, ErrFenced) || b.count() != 0 {
					t.Errorf("exit %+v", e)
				}
			})
		})
	}
}

func TestAwaitKillsWhenItsContextEnds(t *testing.T) {
	in(t, func(t *testing.T) {
		i, _ := begun(&script{start: func(ctx context.Context, _ Start) error { <-ctx.Done(); return ctx.Err() }}, Start{})
		slow := errors.New("start_timeout")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, slow)
		defer cancel()
		if err := Await(ctx, i); !errors.Is(err, slow) || !errors.Is(err, ErrFenced) {
			t.Errorf("got %v", err)
		}
		select {
		case <-i.Done():
		default:
			t.Error("Await returned before the instance was gone")
		}
	})
}

func TestStopDuringStart(t *testing.T) {
	in(t, func(t *testing.T) {
		a := &script{start: func(ctx context.Context, _ Start) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond) // more than the grace of a kill, less than the stop timeout
			return nil
		}}
		i, b := begun(a, twoPhases)
		synctest.Wait()
		i.Stop()
		e := i.Exit()
		if e.Started || !errors.Is(e.Err, ErrStopped) || b.count() != 0 {
			t.Errorf("exit %+v, %d aborts", e, b.count())
		}
		a.expect(t, "start", "run ended: "+ErrStopped.Error())
	})
}

func TestStopTimeoutKills(t *testing.T) {
	until := func(ctx context.Context) { <-ctx.Done() }
	for _, c := range []struct {
		name  string
		app   func(release <-chan struct{}) *script
		abort bool
	}{
		{"run", func(r <-chan struct{}) *script { return &script{run: ignoring(r)} }, true},
		{"prep_stop", func(<-chan struct{}) *script { return &script{prepStop: until} }, false},
		{"stop", func(<-chan struct{}) *script {
			return &script{stop: func(ctx context.Context) ([]byte, error) { until(ctx); return []byte("late"), nil }}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				release := make(chan struct{})
				i, b := begun(c.app(release), Start{})
				<-i.Started()
				asked := time.Now()
				i.Stop()
				time.AfterFunc(2*time.Second, func() { close(release) })
				e := i.Exit()
				if e.Normal || !strings.Contains(e.Reason, ErrStopTimeout.Error()) || e.Payload != nil {
					t.Errorf("exit %+v", e)
				}
				if aborted := b.count() == 1; aborted != c.abort {
					t.Errorf("aborts %q", b.reasons)
				}
				if !c.abort && time.Since(asked) != time.Second {
					t.Errorf("ended after %v", time.Since(asked))
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// TestPrepareCompletesTheStart: before anything of the app exists, and not on the
// goroutine of whoever starts it.
func TestPrepareCompletesTheStart(t *testing.T) {
	var told Start
	release := make(chan struct{})
	g := Go{
		Prepare: func(s *Start) error { <-release; s.NATS = &NATS{Inbox: "in"}; return nil },
		New: func() Application {
			return &script{start: func(_ context.Context, s Start) error { told = s; return nil }}
		},
	}
	i := g.Start(Start{App: "a", Provisional: true})
	close(release)
	if err := Await(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	i.Kill(nil)
	if i.Exit(); told.NATS == nil || told.NATS.Inbox != "in" || !told.Provisional {
		t.Errorf("told %+v", told)
	}

	no := errors.New("no login")
	g = Go{Prepare: func(*Start) error { return no }, New: func() Application { t.Error("it was made"); return &script{} }}
	if e := g.Start(Start{App: "a"}).Exit(); e.Started || !errors.Is(e.Err, no) {
		t.Errorf("exit %+v", e)
	}
}

func TestConfirmOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		a := &script{confirm: func(ctx context.Context) { <-ctx.Done() }}
		i, _ := begun(a, Start{})
		<-i.Started()
		i.Confirm()
		i.Confirm()
		synctest.Wait()
		i.Stop()
		<-i.Done()
		i.Confirm()
		a.expect(t, "start", "confirmed", "prep_stop", "run ended: "+ErrStopped.Error(), "stop")
	})
}

func TestFunc(t *testing.T) {
	var got Start
	g := Go{StopTimeout: time.Minute, New: func() Application {
		return Func(func(_ context.Context, s Start) error { got = s; return nil })
	}}
	i := g.Start(Start{Epoch: 3})
	if err := Await(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if e := i.Exit(); !e.Normal || got.Epoch != 3 {
		t.Errorf("exit %+v, told %+v", e, got)
	}
}
