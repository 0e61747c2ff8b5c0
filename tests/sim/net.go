package sim

import (
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

// sendBeat carries a heartbeat to everybody else, or not.
func (w *World) sendBeat(a *agent, b machine.Beat) {
	if b.Full {
		a.beat = b
	} else {
		a.beat.Phase, a.beat.Session = b.Phase, b.Session
	}
	b.N *= 2 // leaves room for one that is cut off
	if w.beatsAre == beatsMerged && !b.Full {
		b = a.merged(b)
	}
	var ev machine.Event = machine.Heard{Beat: b}
	for _, to := range w.agents {
		if to == a || to.life == 0 || a.cut[to.index] || w.net.happens(w.round.beatLoss) {
			continue
		}
		w.carry(a, to, ev)
		if w.beatsAre == beatsTwice {
			w.carry(a, to, ev)
		}
		if w.net.happens(w.round.beatTwice) {
			w.carry(a, to, ev)
		}
	}
}

// merged is a brief heartbeat as a full one: with what the latest full one said.
func (a *agent) merged(b machine.Beat) machine.Beat {
	if a.beat.N == 0 {
		return b
	}
	full := a.beat
	full.N = b.N
	return full
}

// split is what a short heartbeat has of a full one.
func split(b machine.Beat) machine.Beat {
	return machine.Beat{Node: b.Node, Agent: b.Agent, Session: b.Session, N: b.N - 1, Phase: b.Phase, Hidden: b.Hidden}
}

func (w *World) carry(from, to *agent, ev machine.Event) {
	if b := ev.(machine.Heard).Beat; w.beatsAre == beatsSplit && b.Full {
		w.schedule(event{at: w.now, kind: kindBeat, node: to.index, life: to.life, a: uint64(from.index), what: machine.Heard{Beat: split(b)}})
	}
	d := time.Duration(w.net.Uint64() & (1<<21 - 1)) // about two milliseconds
	if w.round.beatLate > 0 && w.net.happens(0.2) {
		d = w.net.upTo(w.round.beatLate)
	}
	w.schedule(event{at: w.now + d, kind: kindBeat, node: to.index, life: to.life, a: uint64(from.index), what: ev})
}

// lostContact tells some of the others that a node's connection has ended.
func (w *World) lostContact(a *agent, p float64) {
	for _, o := range w.agents {
		if o != a && o.life != 0 && w.net.happens(p) {
			w.tell(o, w.net.upTo(20*time.Millisecond), machine.Disconnected{Node: a.name})
		}
	}
}

// split cuts a group of nodes off from the others, in one direction or both.
// One side may lose the store as well.
func (w *World) split() (heal func()) {
	group := make([]bool, len(w.agents))
	for i := range group {
		group[i] = w.faulty.happens(0.5)
	}
	oneWay, loser := w.faulty.happens(0.3), w.faulty.IntN(3)
	for i, a := range w.agents {
		for j := range w.agents {
			if group[i] != group[j] && (!oneWay || group[i]) {
				a.cut[j] = true
			}
		}
		if loser == 0 && group[i] || loser == 1 && !group[i] {
			w.cutStore(a, !oneWay || w.faulty.happens(0.5), true, w.faulty.happens(0.8))
		}
	}
	w.noticeCuts()
	return w.healNet
}

// pair cuts one link.
func (w *World) pair() (heal func()) {
	i, j := w.faulty.IntN(len(w.agents)), w.faulty.IntN(len(w.agents))
	w.agents[i].cut[j] = true
	if w.faulty.happens(0.7) {
		w.agents[j].cut[i] = true
	}
	w.noticeCuts()
	return w.healNet
}

// noticeCuts gives some nodes the hint that a connection has ended.
func (w *World) noticeCuts() {
	for _, a := range w.agents {
		for _, o := range w.agents {
			if a != o && a.cut[o.index] && o.life != 0 && w.net.happens(0.3) {
				w.tell(o, w.net.upTo(time.Second), machine.Disconnected{Node: a.name})
			}
		}
	}
}

func (w *World) healNet() {
	for _, a := range w.agents {
		clear(a.cut)
		w.joinStore(a)
	}
}

func (w *World) cutStore(a *agent, to, by, alt bool) { a.storeTo, a.storeBy, a.storeAlt = to, by, alt }

func (w *World) joinStore(a *agent) { a.storeTo, a.storeBy, a.storeAlt = false, false, false }
