package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// incident is one thing that happens to a small cluster.
type incident struct {
	name string
	do   func(*World)
}

// Three nodes, 1 to 3 in order of priority.
func killed(i int) incident {
	return incident{fmt.Sprint("kill ", i), func(w *World) {
		if a := w.agents[i-1]; a.life != 0 {
			w.crash(a)
		}
	}}
}

func returned(i int) incident {
	return incident{fmt.Sprint("return ", i), func(w *World) { w.boot(w.agents[i-1]) }}
}

func told(verb machine.Verb, i int, change ...func(*machine.Command)) incident {
	return incident{fmt.Sprint(verb, " ", i), func(w *World) {
		for j, s := range w.Knobs.Specs {
			c := machine.Command{Verb: verb, App: s.App}
			for _, f := range change {
				f(&c)
			}
			if verb == machine.VerbTakeover {
				w.moved[j] = true
			}
			w.command(w.agents[i-1], c)
		}
	}}
}

func permittedTo(c *machine.Command) { c.Permitted = true }

func allowed(i int) incident {
	in := told(machine.VerbPermit, i, permittedTo)
	in.name = fmt.Sprint("permit ", i)
	return in
}

func denied(i int) incident {
	in := told(machine.VerbPermit, i)
	in.name = fmt.Sprint("deny ", i)
	return in
}

func cutOff(i int) incident {
	return incident{fmt.Sprint("cut ", i), func(w *World) {
		a := w.agents[i-1]
		w.cutStore(a, true, true, true)
		for _, o := range w.agents {
			a.cut[o.index], o.cut[i-1] = o != a, o != a
		}
	}}
}

func healed() incident { return incident{"heal", (*World).healNet} }

// small is a calm cluster of three nodes on hosts of their own.
func small(apps int, takeover policy.TakeoverMode, timeout time.Duration) *Knobs {
	k := &Knobs{Busy: 1, Audit: time.Second, Round: time.Hour}
	l := policy.NewLease(2*time.Second, 0)
	l.Heartbeat = 250 * time.Millisecond
	for i := range 3 {
		k.Nodes = append(k.Nodes, node.Name(fmt.Sprintf("n%d@sim", i+1)))
		k.Hosts, k.Leases = append(k.Hosts, i), append(k.Leases, l)
		k.AutoStart = append(k.AutoStart, make([]bool, apps))
		for j := range apps {
			k.AutoStart[i][j] = true
		}
	}
	for i := range apps {
		groups := [][]node.Name{{k.Nodes[0]}, {k.Nodes[1]}, {k.Nodes[2]}}
		if i == 1 {
			groups = [][]node.Name{{k.Nodes[2]}, {k.Nodes[0], k.Nodes[1]}}
		}
		k.Specs = append(k.Specs, &policy.Spec{
			App: policy.App([]string{"red", "sea"}[i]), Takeover: takeover, Timeout: policy.Timeout(timeout), Groups: groups,
		})
		k.Apps = append(k.Apps, AppKnobs{Type: policy.Temporary, StartMax: 100 * time.Millisecond, StopMax: 100 * time.Millisecond})
	}
	return k
}

// startSmall boots all nodes of a calm cluster and lets it come to rest.
func startSmall(k *Knobs) *World {
	w := New(1, k)
	for _, a := range w.agents {
		w.boot(a)
	}
	w.runUntil(settled(k))
	return w
}

// settled is the longest that a small cluster may take to come to rest.
func settled(k *Knobs) time.Duration {
	return 3*k.leaseMax() + time.Duration(k.Specs[0].Timeout) + time.Second
}

// order lets incidents happen one after another, and then demands that the
// healed cluster comes to rest. The invariants are checked at every step.
func order(k *Knobs, gap time.Duration, incidents []incident) error {
	w := startSmall(k)
	for _, in := range incidents {
		in.do(w)
		w.runUntil(w.now + gap)
	}
	w.healNet()
	for _, a := range w.agents {
		w.boot(a)
	}
	w.runUntil(w.now + settled(k))
	if why := w.unsettled(restLeave); why != "" {
		w.check.Fail("I5/I6", "%s", why)
	}
	if w.check.Err() == nil {
		w.quiet(restLeave)
	}
	if v := w.check.Err(); v != nil {
		return fmt.Errorf("%v at %v", v, w.now)
	}
	return nil
}

// permutations calls f with every order of the incidents.
func permutations(ins []incident, f func([]incident)) {
	var turn func(n int)
	turn = func(n int) {
		if n == 1 {
			f(ins)
			return
		}
		for i := range n {
			turn(n - 1)
			j := i
			if n%2 == 1 {
				j = 0
			}
			ins[j], ins[n-1] = ins[n-1], ins[j]
		}
	}
	turn(len(ins))
}

// sequences calls f with every sequence of n incidents, repetitions included.
func sequences(alphabet []incident, n int, f func([]incident)) {
	ins := make([]incident, n)
	var fill func(i int)
	fill = func(i int) {
		if i == n {
			f(ins)
			return
		}
		for _, in := range alphabet {
			ins[i] = in
			fill(i + 1)
		}
	}
	fill(0)
}

// TestAllOrders: what happens to a small cluster may happen in any order, and
// amid anything that is still under way.
func TestAllOrders(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds")
	}
	count := 0
	try := func(k *Knobs, gap time.Duration) func([]incident) {
		return func(ins []incident) {
			count++
			if err := order(k, gap, ins); err != nil {
				var names []string
				for _, in := range ins {
					names = append(names, in.name)
				}
				t.Errorf("%s, %v apart: %v\n%s", strings.Join(names, ", "), gap, err, k.Describe())
			}
		}
	}
	orders := []incident{
		killed(1), returned(1), told(machine.VerbTakeover, 3), cutOff(2), denied(3), allowed(3),
	}
	alphabet := []incident{
		killed(1), killed(2), returned(1), told(machine.VerbStart, 1), told(machine.VerbStop, 1),
		told(machine.VerbTakeover, 2), denied(1), allowed(1), cutOff(1), healed(),
	}
	for _, mode := range []policy.TakeoverMode{policy.Exclusive, policy.Overlap} {
		permutations(orders, try(small(1, mode, 0), 130*time.Millisecond))
		permutations(orders[:5], try(small(2, mode, time.Second), 700*time.Millisecond))
		sequences(alphabet, 3, try(small(1, mode, 0), 300*time.Millisecond))
		sequences(alphabet, 2, try(small(2, mode, time.Second), 3*time.Second))
	}
	t.Logf("%d orders", count)
}
