package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// A metamorphic test needs no expected result: it changes what must not matter,
// and demands the same life, event by event.

// metamorphicLives is how many lives each relation is tried on, half an hour
// each.
const metamorphicLives, metamorphicHours = 25, 0.5

// sameLives lives each seed as it is and with a change.
func sameLives(t *testing.T, change func(*Knobs) (changed bool), disturb func(*World)) {
	t.Helper()
	changed := 0
	for seed := uint64(1); seed <= metamorphicLives; seed++ {
		plain := New(seed, NewKnobs(seed))
		was := plain.Live(metamorphicHours)
		k := NewKnobs(seed)
		if change(k) {
			changed++
		}
		w := New(seed, k)
		disturb(w)
		now := w.Live(metamorphicHours)
		if plain.Hash() != w.Hash() || plain.Stats != w.Stats || (was == nil) != (now == nil) {
			t.Errorf("seed %d: another life: %x, %v\n%+v\nwas %x, %v\n%+v", seed, w.Hash(), now, w.Stats, plain.Hash(), was, plain.Stats)
		}
	}
	if changed == 0 {
		t.Error("nothing was changed")
	}
}

func undisturbed(*World) {}

// Only the order of names means anything.
func TestNamesMeanNothing(t *testing.T) {
	names := []node.Name{"a@b", "arthur@x.example", "b@a", "zaphod-2@h", "zaphod_3@h", "zz@h", "zzz@h"}
	apps := []policy.App{"heart", "of", "zgold"}
	sameLives(t, func(k *Knobs) bool {
		other := map[node.Name]node.Name{}
		for i, n := range k.Nodes {
			other[n] = names[i]
		}
		rename := func(ns []node.Name) {
			for i := range ns {
				ns[i] = other[ns[i]]
			}
		}
		rename(k.Nodes)
		rename(k.Sync.Mandatory)
		rename(k.Sync.Optional)
		for i, s := range k.Specs {
			s.App = apps[min(i, len(apps)-1)]
			for _, g := range s.Groups {
				rename(g)
			}
		}
		return true
	}, undisturbed)
}

// The nodes of a tuple are equals: the order in which they are written down
// says nothing.
func TestTuplesAreSets(t *testing.T) {
	sameLives(t, func(k *Knobs) (changed bool) {
		for _, s := range k.Specs {
			for _, g := range s.Groups {
				slices.Reverse(g)
				changed = changed || len(g) > 1
			}
		}
		return changed
	}, undisturbed)
}

// Every answer, change of a record, obituary, proof, certificate and hint may come
// twice: the second changes nothing.
func TestTwiceIsOnce(t *testing.T) {
	sameLives(t, func(*Knobs) bool { return true }, func(w *World) { w.twice = true })
}

// What runs where depends on what was said, not on how heartbeats carry it: in
// full each time, or a brief one before each full one. The lives differ in
// their details, so that it is the places that are compared, whenever the
// cluster has come to rest.
func TestHeartbeatsMayBeCutAnyhow(t *testing.T) {
	for _, mode := range []policy.TakeoverMode{policy.Exclusive, policy.Overlap} {
		for seed := range uint64(40) {
			plain := places(seed, mode, beatsAsTheyAre)
			for _, cut := range []beatCut{beatsMerged, beatsSplit, beatsTwice} {
				if got := places(seed, mode, cut); got != plain {
					t.Errorf("seed %d, %s: with heartbeats %s\n%swithout\n%s", seed, mode, beatCutNames[cut], got, plain)
				}
			}
		}
	}
}

// places lets a series of things happen to a calm cluster, each when it is at
// rest, and tells what ran where after each.
func places(seed uint64, mode policy.TakeoverMode, cut beatCut) (text string) {
	c := newChance(seed, streamWork)
	k := small(2, mode, time.Duration(c.IntN(2))*time.Second)
	k.Specs[1].Groups = [][]node.Name{{k.Nodes[2]}, {k.Nodes[0]}, {k.Nodes[1]}} // one best node for all
	w := New(seed, k)
	w.beatsAre = cut
	for _, a := range w.agents {
		w.boot(a)
	}
	w.runUntil(settled(k))
	for range 8 {
		n := 1 + c.IntN(3)
		in := pick(c, killed(n), returned(n), cutOff(n), healed(), denied(n), allowed(n),
			told(machine.VerbStart, n), told(machine.VerbStop, n), told(machine.VerbTakeover, n))
		in.do(w)
		w.runUntil(w.now + settled(k))
		var there []string
		for _, r := range w.allRuns() {
			there = append(there, fmt.Sprintf(" %s on %s", r.app, r.agent.name))
		}
		slices.Sort(there)
		text += fmt.Sprintln(in.name, there)
	}
	if v := w.check.Err(); v != nil {
		text += v.Error() + "\n"
	}
	return text
}
