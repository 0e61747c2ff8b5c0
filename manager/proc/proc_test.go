package proc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

const (
	n1 = node.Name("n1@h")
	n2 = node.Name("n2@h")
	n3 = node.Name("n3@h")
)

// adder answers calls with the sum of the numbers it was sent.
func adder(ctx context.Context, self *Self) error {
	sum := 0
	for {
		m, err := self.Receive(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case Msg:
			n, err := As[int](m.Payload)
			if err != nil {
				return err
			}
			sum += n
		case *Request:
			m.Reply(sum)
		}
	}
}

func TestSendAndCall(t *testing.T) {
	for _, where := range []node.Name{n1, n2} {
		t.Run(string(where), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a := f.start(n1)
				b := map[node.Name]*System{n1: a, n2: f.start(n2)}[where]
				pid := spawned(t, b, "adder", adder)
				hand(t, a, func(ctx context.Context, self *Self) {
					for i := range 100 {
						to := []Dest{pid, Name{"adder", where}}[i%2]
						if err := self.Send(ctx, to, i); err != nil {
							t.Error(err)
						}
					}
					if sum, err := Call[int](ctx, self, pid, nil); err != nil || sum != 4950 {
						t.Errorf("sum %d, %v", sum, err)
					}
				})
			})
		})
	}
}

func TestCallErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		ctx := t.Context()
		dead := spawned(t, b, "", func(context.Context, *Self) error { return nil })
		time.Sleep(time.Second)
		mute := spawned(t, b, "mute", sleeper)
		failing := spawned(t, b, "", func(ctx context.Context, self *Self) error {
			m, err := self.Receive(ctx)
			if err != nil {
				return err
			}
			_ = m
			return errors.New("broken")
		})
		if err := b.Handle("no", Function(func(context.Context, *Self, string) (string, error) { return "", errors.New("I refuse") }), Mailbox{}); err != nil {
			t.Fatal(err)
		}
		if err := b.Handle("bad", Function(func(context.Context, *Self, int) (string, error) { panic("ouch") }), Mailbox{}); err != nil {
			t.Fatal(err)
		}
		former := PID{n2, "life-of-before", mute.Serial}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		call := func(ctx context.Context, to Dest) error { _, err := Call[int](ctx, a, to, 1); return err }
		apply := func(n node.Name, f string, arg any) error { _, err := Apply[string](ctx, a, n, f, arg); return err }
		for _, c := range []struct {
			what string
			got  error
			want func(error) bool
		}{
			{"dead process", call(ctx, dead), is(ErrNoProc)},
			{"dead name", call(ctx, Name{"nobody", n2}), is(ErrNoProc)},
			{"dead name here", call(ctx, Name{Name: "nobody"}), is(ErrNoProc)},
			{"process of a former life", call(ctx, former), is(ErrNoProc)},
			{"process that ends first", call(ctx, failing), exits("broken")},
			{"deadline", call(short, mute), is(context.DeadlineExceeded)},
			{"node that is not there", call(ctx, Name{"x", "nowhere@h"}), is(ErrNoConnection)},
			{"zero PID", call(ctx, PID{}), is(ErrNoProc)},
			{"bad name", call(ctx, Name{"a b", n2}), is(ErrName)},
			{"no function", apply(n2, "nothing", ""), is(ErrNoFunction)},
			{"function fails", apply(n2, "no", ""), func(err error) bool { e, ok := errors.AsType[*RemoteError](err); return ok && e.Text == "I refuse" }},
			{"bad argument", apply(n2, "no", 7), func(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "bad argument") }},
			{"panic", apply(n2, "bad", 7), exits("panic: ouch")},
			{"too large", a.Send(ctx, mute, strings.Repeat("x", 1<<20)), is(ErrTooLarge)},
			{"not encodable", a.Send(ctx, mute, func() {}), is(ErrPayload)},
		} {
			if !c.want(c.got) {
				t.Errorf("%s: %v", c.what, c.got)
			}
		}
		if _, err := Apply[string](ctx, a, n2, FunctionEcho, "still there"); err != nil {
			t.Errorf("after all that: %v", err)
		}
	})
}

func is(want error) func(error) bool { return func(got error) bool { return errors.Is(got, want) } }

func exits(r Reason) func(error) bool {
	return func(got error) bool { e, ok := errors.AsType[*ExitError](got); return ok && e.Reason == r }
}

func TestBuiltIn(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, _ := f.start(n1), f.start(n2)
		ctx := t.Context()
		if v, err := Apply[[]int](ctx, a, n2, FunctionEcho, []int{1, 2}); err != nil || !slices.Equal(v, []int{1, 2}) {
			t.Errorf("echo: %v, %v", v, err)
		}
		if v, err := Apply[string](ctx, a, n2, FunctionNode, nil); err != nil || v != string(n2) {
			t.Errorf("node: %v, %v", v, err)
		}
		for _, v := range []any{"hello", 7, Raw("bytes")} {
			if err := a.Send(ctx, Name{InboxName, n2}, v); err != nil {
				t.Error(err)
			}
		}
		got, err := Apply[[]InboxEntry](ctx, a, n2, FunctionInbox, nil)
		if err != nil || len(got) != 3 || string(got[0].Value) != `"hello"` || string(got[1].Value) != "7" || string(got[2].Value) != `"bytes"` {
			t.Errorf("inbox: %s, %v", got, err)
		}
	})
}

func TestMonitorReasons(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		systems := map[node.Name]*System{n1: f.start(n1), n2: f.start(n2), n3: f.start(n3)}
		for _, where := range []node.Name{n1, n2} {
			b := systems[where]
			release := make(chan struct{})
			ends := func(err error) PID {
				return spawned(t, b, "", func(context.Context, *Self) error { <-release; return err })
			}
			normal, failing, killed := ends(nil), ends(errors.New("broken")), spawned(t, b, "", sleeper)
			hand(t, systems[n1], func(ctx context.Context, self *Self) {
				want := map[Ref]Reason{
					self.Monitor(ctx, normal):                     Normal,
					self.Monitor(ctx, failing):                    "broken",
					self.Monitor(ctx, killed):                     Killed,
					self.Monitor(ctx, Name{"nobody", where}):      NoProc,
					self.Monitor(ctx, PID{where, "former", 1}):    NoProc,
					self.Monitor(ctx, Name{"x", "nowhere@h"}):     NoConnection,
					self.Monitor(ctx, Name{"bad name", where}):    NoConnection,
					self.Monitor(ctx, PID{where, b.life, 999999}): NoProc,
				}
				not := self.Monitor(ctx, normal)
				self.Demonitor(not)
				downs := func(n int) {
					for range n {
						d := next[Down](t, ctx, self)
						if want[d.Ref] != d.Reason {
							t.Errorf("%v on %s: %s, expected %q", d.Target, where, d.Reason, want[d.Ref])
						}
						delete(want, d.Ref)
					}
				}
				downs(5) // what is not there; the monitors of the three that live came before the last of these
				close(release)
				if err := self.Exit(ctx, killed, Kill); err != nil {
					t.Error(err)
				}
				downs(3)
				nothing(t, ctx, self)
			})
		}
	})
}

// TestDownWhenNodeDies: kill -9, a cut and Disconnect all end in noconnection
// within the tick time, for monitors, links and calls.
func TestDownWhenNodeDies(t *testing.T) {
	for _, how := range []string{"killed", "cut", "disconnected", "stopped"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a, b := f.start(n1), f.start(n2)
				defer f.beats()()
				pid := spawned(t, b, "", sleeper)
				hand(t, a, func(ctx context.Context, self *Self) {
					self.TrapExit(true)
					self.Monitor(ctx, pid)
					self.Link(ctx, pid)
					call := make(chan error, 1)
					go func() { _, err := Call[int](ctx, a, pid, 1); call <- err }()
					time.Sleep(time.Second)
					begun := time.Now()
					switch how {
					case "killed":
						f.kill(n2)
					case "cut":
						f.cut(n1, n2, true)
					case "disconnected":
						a.Disconnect(n2)
					case "stopped":
						f.mu.Lock()
						p := f.ports[n2]
						f.mu.Unlock()
						p.stop()
					}
					exit := next[ExitSignal](t, ctx, self)
					down := next[Down](t, ctx, self)
					want := NoConnection
					if how == "stopped" {
						want = Shutdown
					}
					if exit.Reason != want || exit.From != pid || down.Reason != want || down.Target != pid {
						t.Errorf("%+v %+v", exit, down)
					}
					if err := <-call; want == NoConnection && !errors.Is(err, ErrNoConnection) || err == nil {
						t.Errorf("call: %v", err)
					}
					if took := time.Since(begun); took > time.Second {
						t.Errorf("took %v", took)
					}
				})
			})
		})
	}
}

func TestLinks(t *testing.T) {
	for _, where := range []node.Name{n1, n2} {
		t.Run(string(where), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a := f.start(n1)
				b := map[node.Name]*System{n1: a, n2: f.start(n2)}[where]
				linked := func(self *Self, ctx context.Context, then func(ctx context.Context, self *Self) error) PID {
					return spawned(t, b, "", func(ctx context.Context, other *Self) error {
						other.Link(ctx, self.PID())
						return then(ctx, other)
					})
				}
				fails := func(context.Context, *Self) error { return errors.New("broken") }
				hand(t, a, func(ctx context.Context, self *Self) {
					self.TrapExit(true)
					pid := linked(self, ctx, fails)
					if m := next[ExitSignal](t, ctx, self); m.From != pid || m.Reason != "broken" {
						t.Errorf("%+v", m)
					}
					pid = linked(self, ctx, func(context.Context, *Self) error { return nil })
					if m := next[ExitSignal](t, ctx, self); m.From != pid || m.Reason != Normal {
						t.Errorf("%+v", m)
					}
					self.Link(ctx, pid) // gone by now
					if m := next[ExitSignal](t, ctx, self); m.Reason != NoProc {
						t.Errorf("%+v", m)
					}
					unlinked := spawned(t, b, "", sleeper)
					self.Link(ctx, unlinked)
					self.Unlink(unlinked)
					_ = self.Exit(ctx, unlinked, "enough")
					nothing(t, ctx, self)
				})
				// Who doesn't trap ends with the reason; a chain of them too.
				last := spawned(t, a, "", sleeper)
				middle := spawned(t, b, "", func(ctx context.Context, self *Self) error {
					self.Link(ctx, last)
					return sleeper(ctx, self)
				})
				hand(t, a, func(ctx context.Context, self *Self) {
					ref := self.Monitor(ctx, last)
					time.Sleep(time.Second)
					if err := self.Exit(ctx, middle, "domino"); err != nil {
						t.Error(err)
					}
					if d := next[Down](t, ctx, self); d.Ref != ref || d.Reason != "domino" {
						t.Errorf("%+v", d)
					}
				})
			})
		})
	}
}

func TestExitSignals(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		trapped := make(chan Message, 8)
		trapper := spawned(t, b, "", func(ctx context.Context, self *Self) error {
			self.TrapExit(true)
			for {
				m, err := self.Receive(ctx)
				if err != nil {
					return err
				}
				trapped <- m
			}
		})
		time.Sleep(time.Second)
		hand(t, a, func(ctx context.Context, self *Self) {
			self.Monitor(ctx, trapper)
			for _, r := range []Reason{"please", Normal} {
				if err := self.Exit(ctx, trapper, r); err != nil {
					t.Error(err)
				}
				if m, ok := (<-trapped).(ExitSignal); !ok || m.Reason != r || m.From != self.PID() {
					t.Errorf("%+v", m)
				}
			}
			_ = self.Exit(ctx, trapper, Kill)
			if d := next[Down](t, ctx, self); d.Reason != Killed {
				t.Errorf("%+v", d)
			}
			_ = self.Exit(ctx, self.PID(), Normal)
			if _, err := self.Receive(ctx); !exits(Normal)(err) {
				t.Errorf("exit(self(), normal): %v", err)
			}
		})
	})
}

func TestSpawn(t *testing.T) {
	for _, where := range []node.Name{n1, n2} {
		t.Run(string(where), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fabric) {
				a := f.start(n1)
				b := map[node.Name]*System{n1: a, n2: f.start(n2)}[where]
				if err := b.Handle("sleeper", Server(sleeper), Mailbox{}); err != nil {
					t.Fatal(err)
				}
				if err := b.Handle("sleeper", Server(sleeper), Mailbox{}); !errors.Is(err, ErrNameTaken) {
					t.Errorf("second time: %v", err)
				}
				// Whoever ends at once has told its links and monitors all the same.
				fails := func(context.Context, *Self, Payload) (any, error) { return nil, &ExitError{"at once"} }
				if err := b.Handle("fails", fails, Mailbox{}); err != nil {
					t.Fatal(err)
				}
				hand(t, a, func(ctx context.Context, self *Self) {
					self.TrapExit(true)
					for range 20 {
						var ref Ref
						pid, err := self.Spawn(ctx, where, "fails", nil, Linked(), Monitored(&ref))
						if err != nil {
							t.Error(err)
						}
						e, d := next[ExitSignal](t, ctx, self), next[Down](t, ctx, self)
						if e.From != pid || e.Reason != "at once" || d.Ref != ref || d.Target != pid || d.Reason != "at once" {
							t.Errorf("%v: %+v, %+v", pid, e, d)
						}
					}
					if _, err := self.Spawn(ctx, where, "nothing", nil, Linked(), Monitored(new(Ref))); !errors.Is(err, ErrNoFunction) {
						t.Errorf("%v", err)
					}
					nothing(t, ctx, self)
					pid, err := a.Spawn(ctx, where, "sleeper", nil)
					if err != nil || pid.Node != where || pid.Life != b.life {
						t.Errorf("%v, %v", pid, err)
					}
				})
			})
		})
	}
}

// TestLinkedSpawnEndsWithParent: the process that spawns is watched from the
// first moment too.
func TestLinkedSpawnEndsWithParent(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		ended := make(chan error, 1)
		if err := b.Handle("child", Server(func(ctx context.Context, self *Self) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return context.Cause(ctx)
		}), Mailbox{}); err != nil {
			t.Fatal(err)
		}
		spawned(t, a, "", func(ctx context.Context, self *Self) error {
			if _, err := self.Spawn(ctx, n2, "child", nil, Linked()); err != nil {
				return err
			}
			return errors.New("parent failed")
		})
		if err := <-ended; !exits("parent failed")(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestSelectiveReceive(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		hand(t, a, func(ctx context.Context, self *Self) {
			for i := range 10 {
				_ = self.Send(ctx, self.PID(), i)
			}
			value := func(m Message) int { v, _ := As[int](m.(Msg).Payload); return v }
			var got []int
			for range 5 {
				m, err := self.ReceiveIf(ctx, func(m Message) bool { return value(m)%2 == 1 })
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, value(m))
			}
			later := make(chan struct{})
			go func() { time.Sleep(time.Second); _ = a.Send(ctx, self.PID(), 100); close(later) }()
			m, err := self.ReceiveIf(ctx, func(m Message) bool { return value(m) == 100 })
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, value(m))
			<-later
			for range 5 {
				got = append(got, value(next[Msg](t, ctx, self)))
			}
			if want := []int{1, 3, 5, 7, 9, 100, 0, 2, 4, 6, 8}; !slices.Equal(got, want) {
				t.Errorf("got %v", got)
			}
			ended, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := self.Receive(ended); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
}

func TestMailboxPolicies(t *testing.T) {
	for _, c := range []struct {
		full Full
		want []int
	}{
		{FullDropNew, []int{0, 1, 2, 3}},
		{FullDropOld, []int{6, 7, 8, 9}},
		{FullExit, nil},
	} {
		inBubble(t, func(t *testing.T, f *fabric) {
			a, b := f.start(n1), f.start(n2)
			var got []int
			ready := make(chan struct{})
			err := b.Handle("slow", Server(func(ctx context.Context, self *Self) error {
				<-ready
				for {
					m, err := self.Receive(ctx)
					if err != nil {
						return err
					}
					if m, ok := m.(Msg); ok {
						v, _ := As[int](m.Payload)
						got = append(got, v)
					}
				}
			}), Mailbox{Messages: 4, Full: c.full})
			if err != nil {
				t.Fatal(err)
			}
			hand(t, a, func(ctx context.Context, self *Self) {
				var ref Ref
				pid, err := self.Spawn(ctx, n2, "slow", nil, Monitored(&ref))
				if err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					_ = self.Send(ctx, pid, i)
				}
				if c.full == FullExit {
					if d := next[Down](t, ctx, self); d.Reason != MailboxFull {
						t.Errorf("%+v", d)
					}
				} else {
					short, cancel := context.WithTimeout(ctx, time.Second)
					_, err = Call[int](short, self, pid, 1)
					cancel()
					if full := errors.Is(err, ErrMailboxFull); full != (c.full == FullDropNew) {
						t.Errorf("policy %d: call: %v", c.full, err)
					}
				}
			})
			close(ready)
			time.Sleep(time.Second)
			synctest.Wait()
			if c.full == FullDropOld {
				c.want = c.want[1:] // the call took the place of one more
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("policy %d: got %v, expected %v", c.full, got, c.want)
			}
			if c.full != FullExit && b.Stats().Dropped == 0 {
				t.Errorf("policy %d: nothing counted", c.full)
			}
		})
	}
}

func TestLocalNames(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		pid := spawned(t, a, "server", sleeper)
		hand(t, a, func(ctx context.Context, self *Self) {
			if got, ok := a.Whereis("server"); !ok || got != pid {
				t.Errorf("whereis: %v %v", got, ok)
			}
			if err := self.Register("server"); !errors.Is(err, ErrNameTaken) {
				t.Errorf("register: %v", err)
			}
			if self.Unregister("server") {
				t.Error("unregistered somebody else's name")
			}
			self.Monitor(ctx, Name{Name: "server"})
			_ = self.Exit(ctx, pid, Kill)
			if d := next[Down](t, ctx, self); d.Reason != Killed || d.Target != (Name{Name: "server"}) {
				t.Errorf("%+v", d)
			}
			if _, ok := a.Whereis("server"); ok {
				t.Error("a dead process has a name")
			}
			if err := self.Register("server"); err != nil {
				t.Error(err)
			}
			if !self.Unregister("server") {
				t.Error("not unregistered")
			}
		})
	})
}

// TestCodecs: bytes as they are, another codec by name, and one that the
// receiver doesn't know.
func TestCodecs(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1, func(o *Options) { o.Codec = upper{} })
		f.start(n2, func(o *Options) { o.Codecs = []Codec{upper{}} })
		f.start(n3)
		ctx := t.Context()
		if v, err := Apply[Raw](ctx, a, n3, FunctionEcho, Raw{0, 1, 255}); err != nil || !slices.Equal(v, Raw{0, 1, 255}) {
			t.Errorf("raw: %v %v", v, err)
		}
		if v, err := Apply[string](ctx, a, n2, FunctionEcho, "abc"); err != nil || v != "ABC" {
			t.Errorf("own codec: %v %v", v, err)
		}
		hand(t, f.ports[n3].s, func(ctx context.Context, self *Self) {
			if err := a.Send(ctx, self.PID(), "abc"); err != nil {
				t.Error(err)
			}
			if _, err := As[string](next[Msg](t, ctx, self).Payload); !errors.Is(err, ErrPayload) {
				t.Errorf("unknown codec: %v", err)
			}
		})
	})
}

type upper struct{}

func (upper) Name() string                 { return "upper" }
func (upper) Encode(v any) ([]byte, error) { return []byte(strings.ToUpper(v.(string))), nil }
func (upper) Decode(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

// TestSenderKeepsItsBytes: what a sender changes afterwards was sent before.
func TestSenderKeepsItsBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		hand(t, a, func(ctx context.Context, self *Self) {
			b := Raw("before")
			_ = self.Send(ctx, self.PID(), b)
			copy(b, "after!")
			if got, _ := As[Raw](next[Msg](t, ctx, self).Payload); string(got) != "before" {
				t.Errorf("got %s", got)
			}
		})
	})
}

// TestWindow: whoever sends faster than is read waits, and nothing is lost.
func TestWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a, b := f.start(n1), f.start(n2)
		f.setFaults(faults{delay: 10 * time.Millisecond})
		if err := b.Handle("count", Server(adder), Mailbox{Messages: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		hand(t, a, func(ctx context.Context, self *Self) {
			pid, err := self.Spawn(ctx, n2, "count", nil)
			if err != nil {
				t.Fatal(err)
			}
			const n = 3 * windowFrames
			for range n {
				if err := self.Send(ctx, pid, 1); err != nil {
					t.Fatal(err)
				}
				if owed := a.connTo(n2).owes(); owed > windowFrames {
					t.Fatalf("%d on their way", owed)
				}
			}
			if sum, err := Call[int](ctx, self, pid, nil); err != nil || sum != n {
				t.Errorf("%d of %d, %v", sum, n, err)
			}
			// With nobody at the other end a sender waits no longer than ctx.
			f.cut(n1, n2, true)
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			for err == nil {
				err = self.Send(short, pid, 1)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
}

func (s *System) connTo(n node.Name) *conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.peers[n].conn
}

func (c *conn) owes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.number - c.acked
}
