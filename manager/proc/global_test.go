package proc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy/node"
)

// memoryNames keeps names as the bucket does, with faults on request.
type memoryNames struct {
	mu      sync.Mutex
	records map[string]Holder
	ended   map[Life]bool
	writes  int
	unknown func(n int) (applied, lost bool) // the n-th write has no answer
}

func newMemoryNames() *memoryNames {
	return &memoryNames{records: map[string]Holder{}, ended: map[Life]bool{}}
}

func (m *memoryNames) Read(_ context.Context, name string) (Holder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[name], nil
}

var errNoAnswer = errors.New("no answer")

func (m *memoryNames) Write(_ context.Context, name string, h Holder) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	applied, lost := true, false
	if m.unknown != nil {
		applied, lost = m.unknown(m.writes)
	}
	won := m.records[name].Revision == h.Revision
	if won && applied {
		h.Revision++
		m.records[name] = h
	}
	if lost {
		return false, errNoAnswer
	}
	return won, nil
}

func (m *memoryNames) Ended(_ context.Context, h Holder) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended[h.PID.Life], nil
}

func withNames(m *memoryNames) func(*Options) { return func(o *Options) { o.Names = m } }

func TestGlobalNames(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		names := newMemoryNames()
		a, b := f.start(n1, withNames(names)), f.start(n2, withNames(names))
		registered := make(chan uint64)
		register := func(ctx context.Context, self *Self) error {
			epoch, err := self.RegisterGlobal(ctx, "leader")
			if err != nil {
				return err
			}
			registered <- epoch
			return adder(ctx, self)
		}
		first := spawned(t, b, "", register)
		if e := <-registered; e != 1 {
			t.Errorf("epoch %d", e)
		}
		hand(t, a, func(ctx context.Context, self *Self) {
			if pid, err := a.WhereisGlobal(ctx, "leader"); err != nil || pid != first {
				t.Errorf("%v %v", pid, err)
			}
			if _, err := self.RegisterGlobal(ctx, "leader"); !errors.Is(err, ErrNameTaken) {
				t.Errorf("%v", err)
			}
			_ = self.Send(ctx, Global("leader"), 41)
			if v, err := Call[int](ctx, self, Global("leader"), nil); err != nil || v != 41 {
				t.Errorf("%v %v", v, err)
			}
			if err := self.Send(ctx, Global("nobody"), 1); !errors.Is(err, ErrNotRegistered) {
				t.Errorf("%v", err)
			}
			self.Monitor(ctx, Global("nobody"))
			if d := next[Down](t, ctx, self); d.Reason != NoProc {
				t.Errorf("%+v", d)
			}
			// Its node is silent: no proof, no new holder.
			f.cut(n1, n2, true)
			time.Sleep(5 * time.Second)
			if _, err := self.RegisterGlobal(ctx, "leader"); !errors.Is(err, ErrNameTaken) {
				t.Errorf("%v", err)
			}
			// Its life is proved to have ended.
			names.mu.Lock()
			names.ended[b.life] = true
			names.mu.Unlock()
			if e, err := self.RegisterGlobal(ctx, "leader"); err != nil || e != 2 {
				t.Errorf("%v %v", e, err)
			}
			if e, err := self.RegisterGlobal(ctx, "leader"); err != nil || e != 2 {
				t.Errorf("again: %v %v", e, err)
			}
			f.cut(n1, n2, false)
		})
		// The holder has ended, and its node gives the name back; the epoch stays.
		time.Sleep(2 * time.Second)
		if _, err := a.WhereisGlobal(t.Context(), "leader"); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("%v", err)
		}
		second := spawned(t, a, "", register)
		if e := <-registered; e != 3 {
			t.Errorf("epoch %d", e)
		}
		_ = a.Exit(t.Context(), second, Kill)
	})
}

// TestGlobalNameOfDeadProcess: its node lives and could not give the name back;
// who wants it asks that node.
func TestGlobalNameOfDeadProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		names := newMemoryNames()
		a, b := f.start(n1, withNames(names)), f.start(n2, withNames(names))
		names.records["x"] = Holder{PID: PID{n2, b.life, 777}, Epoch: 5, Revision: 9}
		names.records["y"] = Holder{PID: PID{n2, "life-of-before", 1}, Epoch: 5, Revision: 9}
		hand(t, a, func(ctx context.Context, self *Self) {
			for _, name := range []string{"x", "y"} {
				if e, err := self.RegisterGlobal(ctx, name); err != nil || e != 6 {
					t.Errorf("%s: %v %v", name, e, err)
				}
			}
		})
	})
}

// TestGlobalNamesUnknownOutcome: a write without an answer is settled, whether
// it was applied or not; and of many that want one name one gets it.
func TestGlobalNamesUnknownOutcome(t *testing.T) {
	for applied := range 2 {
		inBubble(t, func(t *testing.T, f *fabric) {
			names := newMemoryNames()
			names.unknown = func(n int) (bool, bool) { return n > 1 || applied == 1, n == 1 }
			a := f.start(n1, withNames(names))
			hand(t, a, func(ctx context.Context, self *Self) {
				if e, err := self.RegisterGlobal(ctx, "x"); err != nil || e != 1 {
					t.Errorf("%v %v", e, err)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T, f *fabric) {
		names := newMemoryNames()
		names.unknown = func(n int) (bool, bool) { return n%3 > 0, n%2 == 0 }
		results := make(chan error, 20)
		for _, n := range []node.Name{n1, n2} {
			s := f.start(n, withNames(names))
			for range 10 {
				spawned(t, s, "", func(ctx context.Context, self *Self) error {
					_, err := self.RegisterGlobal(ctx, "x")
					results <- err
					return sleeper(ctx, self)
				})
			}
		}
		won := 0
		for range 20 {
			switch err := <-results; {
			case err == nil:
				won++
			case !errors.Is(err, ErrNameTaken):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d have the name", won)
		}
	})
}

func TestNoGlobalNames(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fabric) {
		a := f.start(n1)
		hand(t, a, func(ctx context.Context, self *Self) {
			if _, err := self.RegisterGlobal(ctx, "x"); !errors.Is(err, ErrNoNames) {
				t.Errorf("%v", err)
			}
		})
	})
}
