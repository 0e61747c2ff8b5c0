package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed7529eb29/regent/kv/kvtest"
	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

func TestNewNeedsAllPorts(t *testing.T) {
	inBubble(t, func(r *rig) {
		good := Options{
			Machine: machine.Config{Self: "n1@h", Lease: lease},
			Store:   r.store, Bus: r.bus, Ledger: &ledger{}, Disk: &disk{}, Prover: noProof{}, Clock: r.clock,
			Runners: func(policy.App) (app.Runner, bool) { return nil, false },
		}
		if n, err := New(good); err != nil || n.Name() != "n1@h" {
			t.Fatalf("%v, %v", n, err)
		}
		for what, breakIt := range map[string]func(*Options){
			"store": func(o *Options) { o.Store = nil }, "bus": func(o *Options) { o.Bus = nil },
			"ledger": func(o *Options) { o.Ledger = nil }, "disk": func(o *Options) { o.Disk = nil },
			"prover": func(o *Options) { o.Prover = nil }, "runners": func(o *Options) { o.Runners = nil },
			"clock": func(o *Options) { o.Clock = nil }, "name": func(o *Options) { o.Machine.Self = "" },
			"lease": func(o *Options) { o.Machine.Lease = policy.Lease{} },
		} {
			o := good
			breakIt(&o)
			if _, err := New(o); !errors.Is(err, ErrOptions) {
				t.Errorf("without %s: %v", what, err)
			}
		}
	})
}

// A life from the first start to the shutdown: what is called is answered, what
// is known is published, what runs is stopped before the session is closed.
func TestLifeOfANode(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		s := n.await(r.t, "running", n.runs)
		if s.Apps[0].Epoch != 1 || s.Session == "" || !s.Trusted {
			r.t.Errorf("status %+v", s)
		}
		told := n.apps.last().told
		if told.Node != "n1@h" || told.Epoch != 1 || told.Session != s.Session || told.Kind != policy.StartNormal {
			r.t.Errorf("the app was told %+v", told)
		}
		n.Shutdown(5)
		if e := r.ends(n, time.Second); e.Code != 5 {
			r.t.Errorf("exit %+v", e)
		}
		i := n.apps.last()
		<-i.ended
		if !errors.Is(i.cause, app.ErrStopped) {
			r.t.Errorf("the app ended by %v, not by a stop", i.cause)
		}
		cell, err := r.store.Read(r.t.Context(), policy.NodeKey("n1@h"))
		if err != nil || cell.Node.State != policy.SessionClosed {
			r.t.Errorf("session %+v, %v", cell.Node, err)
		}
		if b := r.bus.last(); b.Phase != machine.BeatLeft {
			r.t.Errorf("last words %+v", b)
		}
		want := []string{"node_up", "claimed", "app_starting", "app_started", "app_stopping", "app_stopped", "node_left"}
		got := slices.DeleteFunc(n.ledger.types(), func(s string) bool { return !slices.Contains(want, s) })
		if !slices.Equal(got, want) {
			r.t.Errorf("history %v, want %v", got, want)
		}
		if st := n.Stats(); st != (Stats{}) {
			r.t.Errorf("lost %+v", st)
		}
		if err := n.Call(r.t.Context(), machine.Command{Verb: machine.VerbStart, App: myapp}); !errors.Is(err, ErrEnded) {
			r.t.Errorf("a call to a node that has ended: %v", err)
		}
		<-n.Done()
	})
}

func TestEndOfContextIsAGracefulStop(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		n.stop()
		if e := r.ends(n, time.Second); e.Code != 0 {
			r.t.Errorf("exit %+v", e)
		}
		if i := n.apps.last(); !errors.Is(i.cause, app.ErrStopped) {
			r.t.Errorf("the app ended by %v", i.cause)
		}
	})
}

// A store that is gone does not keep a node that was told to stop.
func TestStopWithoutStore(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		r.store.Down(true)
		n.ledger.mu.Lock()
		n.ledger.down = true
		n.ledger.mu.Unlock()
		n.stop()
		begin := time.Now()
		if e := r.ends(n, time.Minute); e.Code != 0 {
			r.t.Errorf("exit %+v", e)
		}
		if d := time.Since(begin); d > 2*lease.Request+lastWords+lookEvery {
			r.t.Errorf("took %v", d)
		}
		if st := n.Stats(); st.LinesLost == 0 {
			r.t.Error("lines that are not in the ledger were not counted")
		}
	})
}

func TestHistoryWaitsForTheStoreInOrder(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.ledger.mu.Lock()
		n.ledger.refuse = 5
		n.ledger.mu.Unlock()
		for i := range 3 {
			n.Note(machine.History{Type: "config", Detail: fmt.Sprint(i)})
		}
		time.Sleep(6 * historyAgain)
		n.stop()
		r.ends(n, time.Second)
		var details strings.Builder
		for _, h := range n.ledger.lines {
			if h.Type == "config" {
				details.WriteString(h.Detail)
			}
		}
		if details.String() != "012" || n.Stats().LinesLost != 0 {
			r.t.Errorf("config lines %q, lost %d", details.String(), n.Stats().LinesLost)
		}
		n.Note(machine.History{Type: "config"}) // after the end: to nobody, and no panic
	})
}

func TestHistoryIsBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h", func(o *Options) { o.Logger = nil })
		n.ledger.mu.Lock()
		n.ledger.down = true
		n.ledger.mu.Unlock()
		for range 3 {
			for range historyMax {
				n.Note(machine.History{Type: "config"})
			}
			synctest.Wait()
		}
		if st := n.Stats(); st.LinesLost < 2*historyMax || st.LinesLost > 2*historyMax+2 || st.LinesWaiting != historyMax {
			r.t.Errorf("%+v", st)
		}
		n.ledger.mu.Lock()
		n.ledger.down = false
		n.ledger.mu.Unlock()
		time.Sleep(2 * (historyTry + historyAgain))
		n.Note(machine.History{Type: "config", Detail: "after"})
		synctest.Wait()
		lines := n.ledger.lines
		last := lines[len(lines)-1]
		if st := n.Stats(); last.Detail != "after" || last.Lost != st.LinesLost || st.LinesWaiting != 0 {
			r.t.Errorf("after the outage %+v, %+v", last, st)
		}
		for i, l := range lines[:len(lines)-1] {
			if l.N != uint64(i+1) || l.Lost != 0 || l.At == 0 || l.Wall == 0 || l.Life == "" {
				r.t.Fatalf("line %d is %+v", i, l)
			}
		}
		if last.N != uint64(len(lines))+last.Lost {
			r.t.Errorf("number %d after %d lines and %d lost ones", last.N, len(lines)-1, last.Lost)
		}
	})
}

// A log that nobody reads does not keep lines out of the ledger.
func TestHistoryPassesAStuckLog(t *testing.T) {
	inBubble(t, func(r *rig) {
		stuck := make(chan struct{})
		n := r.boot("n1@h", func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(blocked(stuck), nil)) })
		for range 2 * logMax {
			n.Note(machine.History{Type: "config"})
		}
		time.Sleep(time.Second)
		if st := n.Stats(); st.LinesWaiting != 0 || st.LinesLost != 0 || st.LinesUnsaid == 0 {
			r.t.Errorf("%+v", st)
		}
		close(stuck)
	})
}

// blocked is a writer that waits for the end of its channel.
type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}

func TestCallEndsWithItsContext(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n2@h") // waits for n1@h, the better node, which is there but not asked
		r.boot("n1@h")
		n.await(r.t, "both up", func(s *machine.Status) bool { return len(s.Nodes) == 2 && s.Session != "" })
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(r.t.Context(), 5*time.Second, cause)
		defer cancel()
		err := n.Call(ctx, machine.Command{Verb: machine.VerbStart, App: myapp})
		if !errors.Is(err, cause) {
			r.t.Errorf("call: %v", err)
		}
		n.calls.Range(func(id, _ any) bool { r.t.Errorf("call %v is still kept", id); return true })
		// What was asked for goes on: the other node is started, and both take part.
		r.nodes["n1@h"].startApp(r.t)
		s := n.await(r.t, "runs on n1", r.nodes["n1@h"].runs)
		if len(s.Apps[0].StartedOn) != 2 {
			r.t.Errorf("started on %v", s.Apps[0].StartedOn)
		}
	})
}

// Callers who left are not waited for, whatever is answered and how often.
func TestAnswersToNobody(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.await(r.t, "up", func(s *machine.Status) bool { return s.Session != "" })
		answer := make(chan *machine.Refusal, 1)
		n.calls.Store(machine.CallID(77), answer)
		for range 3 {
			n.reply(machine.Reply{ID: 77})
			n.reply(machine.Reply{ID: 78})
		}
		synctest.Wait()
		if len(answer) != 1 {
			r.t.Errorf("%d answers", len(answer))
		}
	})
}

func TestCallsAreRefusedInWords(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		err := n.Call(r.t.Context(), machine.Command{Verb: machine.VerbStop, App: "other"})
		if refusal, ok := errors.AsType[*machine.Refusal](err); !ok || refusal.Kind != machine.RefuseNotLoaded {
			r.t.Errorf("stop of an unknown app: %v", err)
		}
		n.startApp(r.t)
		err = n.Call(r.t.Context(), machine.Command{Verb: machine.VerbStart, App: myapp})
		if refusal, ok := errors.AsType[*machine.Refusal](err); !ok || refusal.Kind != machine.RefuseAlreadyStarted {
			r.t.Errorf("second start: %v", err)
		}
	})
}

// An answer that was given counts even if the node has ended since.
func TestAnswerBeforeTheEndCounts(t *testing.T) {
	for range 100 { // both channels are ready; which one select takes is chance
		n := &Agent{inbox: newInbox(), done: make(chan struct{})}
		n.callSeq.Store(0)
		go func() {
			for {
				if answer, ok := n.calls.Load(machine.CallID(1)); ok {
					answer.(chan *machine.Refusal) <- nil
					close(n.done)
					return
				}
			}
		}()
		if err := n.Call(t.Context(), machine.Command{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing is registered before the disk has the bucket's identity, and a disk
// that is full is asked again.
func TestDiskFailureIsTriedAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h", func(o *Options) { o.Disk.(*disk).full = true })
		n.await(r.t, "says so", func(s *machine.Status) bool {
			return len(s.Waiting) == 1 && strings.Contains(s.Waiting[0], "data directory")
		})
		time.Sleep(3 * time.Second)
		if s := n.Status(); s.Session != "" {
			r.t.Errorf("session %q without memory", s.Session)
		}
		n.disk.set(func(d *disk) { d.full = false })
		n.startApp(r.t)
		n.disk.set(func(d *disk) {
			for i := range len(d.at) - 1 {
				if pause := d.at[i+1].Sub(d.at[i]); i < 4 && pause < 400*time.Millisecond {
					r.t.Errorf("tried again after %v", pause)
				}
			}
			if last := d.saved[len(d.saved)-1]; last.Apps[0].Allotted != 1 {
				r.t.Errorf("epoch 1 runs, on disk is %+v", last)
			}
		})
	})
}

func TestOvertakenMemoryIsNotWaitedFor(t *testing.T) {
	n := &Agent{disk: make(chan machine.Remember, 1)}
	for i := range machine.RequestID(100) {
		n.remember(machine.Remember{Req: i})
	}
	if r := <-n.disk; r.Req != 99 {
		t.Errorf("kept request %d", r.Req)
	}
}

// A bus that holds heartbeats up must not hold up the loop: its deadline would
// pass with the app running.
func TestStuckBusDoesNotDelayTheFence(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		stuck := make(chan struct{})
		r.bus.set(func(b *bus) { b.stuck = stuck })
		time.Sleep(10 * time.Second)
		i := n.apps.last()
		if n.Stats().BeatsUnsent == 0 || !n.runs(n.Status()) {
			r.t.Errorf("stats %+v, status %+v", n.Stats(), n.Status())
		}
		begin := time.Now()
		r.store.Down(true)
		<-i.ended
		if d := i.end.Sub(begin); d > lease.Fence() || d < lease.Fence()-lease.Renew || !errors.Is(i.cause, app.ErrFenced) {
			r.t.Errorf("fenced after %v by %v, the fence is %v", d, i.cause, lease.Fence())
		}
		n.stop()
		if e := r.ends(n, 5*time.Second); e.Code != 0 {
			r.t.Errorf("exit %+v", e)
		}
		close(stuck)
	})
}

// blockedLog is a log whose reader has stopped to read.
type blockedLog struct {
	slog.Handler
	stuck chan struct{}
}

func (l blockedLog) Handle(context.Context, slog.Record) error { <-l.stuck; return nil }

func TestBlockedLogDoesNotDelayTheFence(t *testing.T) {
	inBubble(t, func(r *rig) {
		log := blockedLog{slog.NewTextHandler(io.Discard, nil), make(chan struct{})}
		n := r.boot("n1@h", func(o *Options) { o.Logger = slog.New(log) })
		n.startApp(r.t)
		begin := time.Now()
		r.store.Down(true)
		i := n.apps.last()
		<-i.ended
		if d := i.end.Sub(begin); d > lease.Fence() {
			r.t.Errorf("fenced after %v, the fence is %v", d, lease.Fence())
		}
		close(log.stuck)
	})
}

// A store that fails at once is not asked as fast as the processor can.
func TestRefusedConnectionsAreNoBusyLoop(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		var writes atomic.Int64
		r.store.Script(func(policy.Write) kvtest.Fault { writes.Add(1); return kvtest.FaultNoRequest })
		time.Sleep(time.Second)
		if w := writes.Load(); w == 0 || w > int64(time.Second/unknownPause) {
			r.t.Errorf("%d writes in a second", w)
		}
	})
}

func TestBusWithoutConnection(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bus.down = true
		n := r.boot("n1@h")
		n.startApp(r.t)
	})
}

// Fenced while the store was away, the node comes back with another session
// and another epoch by itself.
func TestRejoinsAfterAFence(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		before := n.Status()
		r.store.Down(true)
		<-n.apps.last().ended
		n.await(r.t, "no session", func(s *machine.Status) bool { return s.Session == "" })
		r.store.Down(false)
		s := n.await(r.t, "runs again", func(s *machine.Status) bool { return n.runs(s) && s.Session != "" })
		if s.Session == before.Session || s.Apps[0].Epoch <= before.Apps[0].Epoch || n.apps.count() != 2 {
			r.t.Errorf("before %+v, now %+v", before, s)
		}
	})
}

// A host that is resumed after a suspend longer than the lease has Go timers
// that know nothing of it: the loop must look at the clock soon.
func TestSuspendIsSeenWithinTheLatenessOfTimers(t *testing.T) {
	// At some of these moments a heartbeat is due soon, which wakes the loop.
	for offset := time.Duration(0); offset < lease.Heartbeat; offset += lease.Heartbeat / 8 {
		inBubble(t, func(r *rig) {
			n := r.boot("n1@h")
			n.startApp(r.t)
			time.Sleep(time.Second + offset)
			i := n.apps.last()
			r.clock.boot.Add(int64(time.Minute))
			begin := time.Now()
			<-i.ended
			if d := i.end.Sub(begin); d > lease.Late || !errors.Is(i.cause, app.ErrFenced) {
				r.t.Errorf("ended after %v by %v", d, i.cause)
			}
			n.await(r.t, "runs again", func(s *machine.Status) bool { return n.runs(s) && s.Apps[0].Epoch == 2 })
		})
	}
}

// A paused VM advances neither clock and is then set right.
func TestWallClockJumpFences(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h")
		n.startApp(r.t)
		r.clock.wall.Add(-int64(time.Hour)) // set back: nothing
		time.Sleep(time.Second)
		if n.apps.count() != 1 || !n.runs(n.Status()) {
			r.t.Fatalf("status after a clock set back: %+v", n.Status())
		}
		r.clock.wall.Add(int64(time.Minute))
		i := n.apps.last()
		select {
		case <-i.ended:
		case <-time.After(time.Minute):
			r.t.Fatal("runs on")
		}
		if !errors.Is(i.cause, app.ErrFenced) {
			r.t.Errorf("ended by %v", i.cause)
		}
	})
}

// The kernel has its orders before an app runs, moves its deadline with every
// renewal, and is told when nothing runs any more.
func TestLastResortIsArmedBeforeAnythingRuns(t *testing.T) {
	inBubble(t, func(r *rig) {
		last := &lastResort{}
		r.start = func(*manual) {
			if at := last.armed(); at <= r.clock.Now() {
				r.t.Errorf("an app starts at %v with the last resort armed for %v", r.clock.Now(), at)
			}
		}
		n := r.boot("n1@h", func(o *Options) { o.Last = last })
		n.await(r.t, "up", func(s *machine.Status) bool { return s.Session != "" })
		if at := last.armed(); at != 0 {
			r.t.Errorf("armed for %v with nothing to end", at)
		}
		n.startApp(r.t)
		first := last.armed()
		time.Sleep(10 * time.Second)
		left := last.armed().Sub(r.clock.Now())
		if moved := last.armed().Sub(first); moved < 9*time.Second || left > lease.Fence()+lease.Late {
			r.t.Errorf("moved by %v, %v ahead", moved, left)
		}
		n.stop()
		r.ends(n, 5*time.Second)
		if at := last.armed(); at != 0 {
			r.t.Errorf("armed for %v after the end", at)
		}
	})
}

// Runs are forgotten one by one, also those that nobody was told to stop.
func TestCrashLoopLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(r *rig) {
		crashes := 0
		r.start = func(m *manual) {
			if crashes++; crashes <= 50 {
				m.quit <- errors.New("crash")
			}
		}
		n := r.boot("n1@h", func(o *Options) {
			o.Machine.Apps[0].Restart = machine.Restart{Max: 1000, Within: time.Hour, Backoff: time.Millisecond}
		})
		n.startApp(r.t)
		for n.apps.count() < 51 {
			time.Sleep(time.Second)
		}
		n.await(r.t, "runs", n.runs)
		n.stop()
		r.ends(n, 5*time.Second)
		if len(n.Agent.runs) != 0 {
			r.t.Errorf("%d runs are left", len(n.Agent.runs))
		}
	})
}

func TestFailedStartSaysWhy(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start = func(m *manual) { m.fail = errors.New("no database") }
		n := r.boot("n1@h")
		err := n.Call(r.t.Context(), machine.Command{Verb: machine.VerbStart, App: myapp})
		if refusal, ok := errors.AsType[*machine.Refusal](err); !ok || refusal.Kind != machine.RefuseFailed || !strings.Contains(refusal.Reason, "no database") {
			r.t.Errorf("start: %v", err)
		}
	})
}

func TestAppWithoutRunner(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.boot("n1@h", func(o *Options) {
			o.Runners = func(policy.App) (app.Runner, bool) { return nil, false }
		})
		err := n.Call(r.t.Context(), machine.Command{Verb: machine.VerbStart, App: myapp})
		if err == nil || !strings.Contains(err.Error(), "neither a command nor a registered app") {
			r.t.Errorf("start: %v", err)
		}
	})
}

// What an app says must fit into a record.
func TestWhatAppsSayIsLimited(t *testing.T) {
	inBubble(t, func(r *rig) {
		long := strings.Repeat("ä", 1<<20)
		r.start = func(m *manual) { m.hands = []byte(long) }
		n := r.boot("n1@h")
		n.startApp(r.t)
		n.apps.last().quit <- errors.New(long)
		n.await(r.t, "ended", func(s *machine.Status) bool { return s.Apps[0].State == machine.AppStopped })
		cell, err := r.store.Read(r.t.Context(), policy.AppKey(myapp))
		if err != nil || len(cell.App.Payload) != 0 || len(cell.App.Error) > 2*reasonMax {
			r.t.Errorf("payload of %d, error of %d bytes, %v", len(cell.App.Payload), len(cell.App.Error), err)
		}
		n.stop()
		r.ends(n, time.Second)
		for _, h := range n.ledger.lines {
			if len(h.Detail) > reasonMax+len("…") {
				r.t.Errorf("%s: detail of %d bytes", h.Type, len(h.Detail))
			}
		}
	})
}

func TestHandOverReachesTheNextInstance(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start = func(m *manual) { m.hands = []byte("state") }
		n1, n2 := r.boot("n1@h"), r.boot("n2@h")
		var wg sync.WaitGroup
		for _, n := range r.nodes {
			wg.Go(func() { n.startApp(r.t) })
		}
		wg.Wait()
		n2.await(r.t, "runs on n1", n1.runs)
		if err := n2.Call(r.t.Context(), machine.Command{Verb: machine.VerbTakeover, App: myapp}); err != nil {
			r.t.Fatal(err)
		}
		old, told := n1.apps.last(), n2.apps.last().told
		if told.Kind != policy.StartTakeover || told.From != "n1@h" || string(told.Payload) != "state" {
			r.t.Errorf("the new instance was told %+v", told)
		}
		if old.end.After(n2.apps.last().begin) {
			r.t.Error("the new one began before the old one had ended")
		}
	})
}

func TestViolationCarriesTheDump(t *testing.T) {
	defer func() {
		v, ok := recover().(error)
		if !ok || !errors.Is(v, machine.ErrInvariant) {
			t.Fatalf("panic: %v", v)
		}
		for _, want := range []string{"two of them", "machine.Disconnected", "n2@h", "Session:s-1"} {
			if !strings.Contains(v.Error(), want) {
				t.Errorf("no %q in %s", want, v)
			}
		}
	}()
	status := func() machine.Status { return machine.Status{Session: "s-1"} }
	mustHold(nil, machine.Tick{}, status)
	mustHold(fmt.Errorf("%w: two of them", machine.ErrInvariant), machine.Disconnected{Node: "n2@h"}, status)
}

func TestInboxDropsHeartbeatsOnly(t *testing.T) {
	b := newInbox()
	for range beatsMax + 10 {
		b.post(machine.Heard{})
	}
	b.post(machine.Tick{})
	if evs := b.take(); len(evs) != beatsMax+1 || b.lost() != 10 {
		t.Errorf("%d events, %d lost", len(evs), b.lost())
	}
	b.post(machine.Heard{})
	if evs := b.take(); len(evs) != 1 || b.lost() != 10 {
		t.Errorf("after take: %d events, %d lost", len(evs), b.lost())
	}
	b.close()
	b.post(machine.Tick{})
	if evs := b.take(); len(evs) != 0 {
		t.Errorf("after close: %d events", len(evs))
	}
}

// A wake-up is never lost: whoever takes after it was woken finds what was
// posted, and whatever is posted later wakes again.
func TestInboxWakes(t *testing.T) {
	const posts = 1000
	b := newInbox()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range posts {
				b.post(machine.Tick{})
			}
		})
	}
	for taken := 0; taken < 4*posts; {
		select {
		case <-b.wake:
			taken += len(b.take())
		case <-time.After(10 * time.Second):
			t.Fatalf("asleep with %d of %d taken", taken, 4*posts)
		}
	}
	wg.Wait()
}
