package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// expectNodes compares what a system says of its nodes.
func expectNodes(t *testing.T, s *System, typ NodeType, want ...node.Name) {
	t.Helper()
	synctest.Wait()
	if got := s.Nodes(typ); !slices.Equal(got, want) {
		t.Errorf("nodes(%s) on %s: %v, expected %v", typ, s.self, got, want)
	}
}

// TestVisibility pins A-70: visible nodes see one another, hidden ones are seen
// by those they talk to, at both ends as hidden, and are passed on to nobody.
func TestVisibility(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		c := f.start(n3, func(o *Options) { o.Hidden = true })
		defer f.beats(n3)()
		time.Sleep(time.Second)
		expectNodes(t, a, Visible, n2)
		expectNodes(t, b, Visible, n1)
		expectNodes(t, a, Hidden)
		expectNodes(t, c, Connected)
		if err := c.Connect(t.Context(), n1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expectNodes(t, a, Visible, n2)
		expectNodes(t, a, Hidden, n3)
		expectNodes(t, a, Connected, n2, n3)
		expectNodes(t, b, Connected, n1)
		expectNodes(t, c, Visible)
		expectNodes(t, c, Hidden, n1)
		expectNodes(t, a, This, n1)
		f.kill(n2)
		f.kill(n3)
		time.Sleep(3 * time.Second)
		expectNodes(t, a, Connected)
		expectNodes(t, a, Known, n1, n2, n3)
	})
}

// TestMonitorNodes pins A-71: only visible nodes unless asked for, once for each
// call, with type and reason.
func TestMonitorNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		defer f.beats(n3)()
		hand(t, a, func(ctx context.Context, self *Self) {
			self.MonitorNodes(Visible, true)
			self.MonitorNodes(Visible, true)
			b := f.start(n2)
			for range 2 {
				if m := next[NodeUp](t, ctx, self); m != (NodeUp{n2, b.life, Visible}) {
					t.Errorf("%+v", m)
				}
			}
			c := f.start(n3, func(o *Options) { o.Hidden = true })
			if err := c.Connect(ctx, n1); err != nil {
				t.Error(err)
			}
			nothing(t, ctx, self)
			self.MonitorNodes(Visible, false)
			self.MonitorNodes(Hidden, true)
			f.kill(n2)
			if m := next[NodeDown](t, ctx, self); m != (NodeDown{n2, b.life, Visible, TickTimeout}) {
				t.Errorf("%+v", m)
			}
			f.cut(n1, n3, true)
			if m := next[NodeDown](t, ctx, self); m != (NodeDown{n3, c.life, Hidden, TickTimeout}) {
				t.Errorf("%+v", m)
			}
			b = f.start(n2)
			next[NodeUp](t, ctx, self)
			a.Heard(Beat{Node: n2, Life: b.life, Leaving: true})
			if m := next[NodeDown](t, ctx, self); m.Reason != ConnectionClosed {
				t.Errorf("%+v", m)
			}
			// Its heartbeats go on, as after a false alarm.
			next[NodeUp](t, ctx, self)
			f.kill(n2)
			a.Lost(n2)
			if m := next[NodeDown](t, ctx, self); m.Reason != ConnectionClosed {
				t.Errorf("a lost node that nobody listens for: %+v", m)
			}
			first := f.start(n2)
			next[NodeUp](t, ctx, self)
			f.kill(n2)
			second := f.start(n2)
			if m := next[NodeDown](t, ctx, self); m.Life != first.life {
				t.Errorf("%+v", m)
			}
			if m := next[NodeUp](t, ctx, self); m.Life != second.life {
				t.Errorf("%+v", m)
			}
		})
	})
}

// TestDisconnect pins A-69: both sides see a NodeDown, with their own reasons;
// heartbeats don't bring the node back, a message does.
func TestDisconnect(t *testing.T) {
	for _, talked := range []bool{false, true} {
		t.Run(fmt.Sprintf("talked=%v", talked), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a, b := f.start(n1), f.start(n2)
				defer f.beats()()
				time.Sleep(time.Second)
				if a.Disconnect("n9@h") || a.Disconnect(n1) {
					t.Error("disconnected from a node that is not there")
				}
				if talked {
					if err := a.Connect(t.Context(), n2); err != nil {
						t.Fatal(err)
					}
				}
				seen := make(chan NodeDown, 2)
				for _, s := range []*System{a, b} {
					ready := make(chan struct{})
					go hand(t, s, func(ctx context.Context, self *Self) {
						self.MonitorNodes(Visible, true)
						close(ready)
						seen <- next[NodeDown](t, ctx, self)
					})
					<-ready
				}
				if !a.Disconnect(n2) {
					t.Error("not connected")
				}
				for range 2 {
					m := <-seen
					want := map[node.Name]NodeDownReason{n2: Disconnect, n1: ConnectionClosed}[m.Node]
					if m.Reason != want {
						t.Errorf("%+v, expected %s", m, want)
					}
				}
				time.Sleep(5 * time.Second)
				expectNodes(t, a, Connected)
				expectNodes(t, b, Connected)
				if _, err := Apply[string](t.Context(), b, n1, FunctionNode, nil); err != nil {
					t.Error(err)
				}
				expectNodes(t, a, Visible, n2)
				expectNodes(t, b, Visible, n1)
			})
		})
	}
}

// TestAllow pins A-73: only those listed, in both directions; it adds up;
// existing connections stay.
func TestAllow(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b, c := f.start(n1), f.start(n2), f.start(n3)
		ctx := t.Context()
		if _, ok := a.Allowed(); ok {
			t.Error("a list where there is none")
		}
		if err := a.Connect(ctx, n3); err != nil {
			t.Fatal(err)
		}
		if err := a.Allow("n8@h"); err != nil {
			t.Fatal(err)
		}
		if err := a.Allow("no name"); err == nil {
			t.Error("a bad name was allowed")
		}
		if err := a.Connect(ctx, n2); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("outgoing: %v", err)
		}
		if err := b.Connect(ctx, n1); !errors.Is(err, ErrNotAllowed) || !errors.Is(err, ErrNoConnection) {
			t.Errorf("incoming: %v", err)
		}
		if _, err := Apply[string](ctx, c, n1, FunctionNode, nil); err != nil {
			t.Errorf("existing connection: %v", err)
		}
		if err := a.Allow(n2); err != nil {
			t.Fatal(err)
		}
		if err := b.Connect(ctx, n1); err != nil {
			t.Errorf("after allow: %v", err)
		}
		if list, ok := a.Allowed(); !ok || !slices.Equal(list, []node.Name{n2, "n8@h"}) {
			t.Errorf("%v %v", list, ok)
		}
	})
}

// TestBothConnectAtOnce: one connection comes of it, and messages of both sides
// arrive.
func TestBothConnectAtOnce(t *testing.T) {
	for seed := range 20 {
		inBubble(t, func(t *testing.T, f *fabric) {
			a, b := f.start(n1), f.start(n2)
			f.rng = rand.New(rand.NewPCG(uint64(seed), 0))
			f.setFaults(faults{delay: 20 * time.Millisecond})
			done := make(chan error, 2)
			for s, to := range map[*System]node.Name{a: n2, b: n1} {
				go func() { _, err := Apply[string](t.Context(), s, to, FunctionNode, nil); done <- err }()
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
			time.Sleep(10 * time.Second)
			if a.Stats().Connections != 1 || b.Stats().Connections != 1 || a.Stats().Lost+b.Stats().Lost > 0 {
				t.Errorf("seed %d: %+v %+v", seed, a.Stats(), b.Stats())
			}
			if _, err := Apply[string](t.Context(), a, n2, FunctionNode, nil); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// TestGroups: join, leave, members, local members, monitors, the end of a
// member and of its node.
func TestGroups(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		hidden := f.start(n3, func(o *Options) { o.Hidden = true })
		defer f.beats(n3)()
		time.Sleep(time.Second)
		if err := hidden.Connect(t.Context(), n1); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		member := func(ctx context.Context, self *Self) error {
			if err := self.Join("g"); err != nil {
				return err
			}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		hand(t, a, func(ctx context.Context, self *Self) {
			if m := self.MonitorGroup("g"); len(m) != 0 {
				t.Errorf("%v", m)
			}
			far := spawned(t, b, "", member)
			if m := next[Joined](t, ctx, self); m.Group != "g" || !slices.Equal(m.Members, []PID{far}) {
				t.Errorf("%+v", m)
			}
			if err := self.Join("g"); err != nil {
				t.Error(err)
			}
			_ = self.Join("g")
			next[Joined](t, ctx, self)
			next[Joined](t, ctx, self)
			time.Sleep(time.Second)
			for _, s := range []*System{a, b} {
				if m := s.Members("g"); !slices.Equal(m, []PID{self.PID(), self.PID(), far}) {
					t.Errorf("members on %s: %v", s.self, m)
				}
			}
			if m := hidden.Members("g"); len(m) != 0 {
				t.Errorf("a hidden node hears of groups: %v", m)
			}
			if m := a.LocalMembers("g"); len(m) != 2 {
				t.Errorf("local: %v", m)
			}
			first, second, third := self.Leave("g"), self.Leave("g"), self.Leave("g")
			if !first || !second || third {
				t.Errorf("leave: %v, %v, %v", first, second, third)
			}
			next[Left](t, ctx, self)
			next[Left](t, ctx, self)
			close(release)
			if m := next[Left](t, ctx, self); !slices.Equal(m.Members, []PID{far}) {
				t.Errorf("%+v", m)
			}
			release = make(chan struct{})
			far = spawned(t, b, "", member)
			next[Joined](t, ctx, self)
			f.kill(n2)
			if m := next[Left](t, ctx, self); !slices.Equal(m.Members, []PID{far}) {
				t.Errorf("%+v", m)
			}
			if g := a.Groups(); len(g) != 0 {
				t.Errorf("groups: %v", g)
			}
			if err := self.Join("bad name"); !errors.Is(err, ErrName) {
				t.Errorf("%v", err)
			}
		})
	})
}

// TestGroupsConvergeAfterPartition: what was joined and left on both sides of
// a cut is the same everywhere some time after it.
func TestGroupsConvergeAfterPartition(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		systems := []*System{f.start(n1), f.start(n2), f.start(n3)}
		defer f.beats()()
		time.Sleep(time.Second)
		leave := make(chan struct{})
		for _, s := range systems {
			spawned(t, s, "", func(ctx context.Context, self *Self) error {
				if err := self.Join("early"); err != nil {
					return err
				}
				<-leave
				self.Leave("early")
				if err := self.Join("late"); err != nil {
					return err
				}
				return sleeper(ctx, self)
			})
		}
		time.Sleep(2 * time.Second)
		if m := systems[0].Members("early"); len(m) != 3 {
			t.Errorf("before: %v", m)
		}
		f.cut(n1, n2, true)
		f.cut(n1, n3, true)
		time.Sleep(5 * time.Second)
		close(leave)
		time.Sleep(5 * time.Second)
		if m := systems[0].Members("late"); len(m) != 1 {
			t.Errorf("during the cut: %v", m)
		}
		f.setFaults(faults{lose: 100, repeat: 100, reorder: 100, delay: 50 * time.Millisecond})
		f.cut(n1, n2, false)
		f.cut(n1, n3, false)
		time.Sleep(10 * time.Second)
		f.setFaults(faults{})
		time.Sleep(10 * time.Second)
		for _, s := range systems {
			if m, early := s.Members("late"), s.Members("early"); len(m) != 3 || len(early) != 0 {
				t.Errorf("%s: late %v, early %v", s.self, m, early)
			}
		}
	})
}

// TestTickTime pins A-74: a silent connection is over after 0.75 to 1.25 of the
// tick time; a node whose heartbeats end is gone after the suspicion, however long
// that is.
func TestTickTime(t *testing.T) {
	for _, tick := range []time.Duration{2 * time.Second, 8 * time.Second, 45 * time.Second} {
		t.Run(tick.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a := f.start(n1, func(o *Options) { o.TickTime = tick })
				c := f.start(n3, func(o *Options) { o.Hidden = true })
				if err := c.Connect(t.Context(), n1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)    // of the bubble: n1 knows of it too
				a.Heard(Beat{Node: n2, Life: "once"}) // and never again
				begin := time.Now()
				hand(t, a, func(ctx context.Context, self *Self) {
					self.MonitorNodes(Visible, true)
					self.MonitorNodes(Hidden, true)
					if m := next[NodeDown](t, ctx, self); m != (NodeDown{n2, "once", Visible, TickTimeout}) || time.Since(begin) > 1100*time.Millisecond {
						t.Errorf("%+v after %v", m, time.Since(begin))
					}
					f.cut(n1, n3, true)
					begin = time.Now()
					m := next[NodeDown](t, ctx, self)
					if took := time.Since(begin); m != (NodeDown{n3, c.life, Hidden, TickTimeout}) || took < tick*3/4 || took > tick*5/4 {
						t.Errorf("%+v after %v", m, took)
					}
				})
			})
		})
	}
}
