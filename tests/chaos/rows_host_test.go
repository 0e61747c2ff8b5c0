//go:build linux

package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// repeats is how often the loss of a host is measured.
func repeats() int {
	switch {
	case *times > 0:
		return *times
	case *suite == "all":
		return 7
	}
	return 2
}

// hostRows lose the host of the owner, with and without the leader of the store.
func hostRows() []row {
	cutOff := func(r *run, m *member) { r.must(r.net.isolate(m.host.i)) }
	frozen := func(r *run, m *member) { r.must(m.host.freeze(true)) }
	return []row{
		{name: "cut", short: true, what: "the owner's host is cut off", do: func(r *run) { r.loses(false, cutOff, r.joined) }},
		{name: "cut-leader", short: true, what: "the same, its server led the store", do: func(r *run) { r.loses(true, cutOff, r.joined) }},
		{name: "freeze", short: true, both: true, what: "the owner's host is frozen", do: func(r *run) { r.loses(false, frozen, r.thawed) }},
		{name: "freeze-leader", both: true, what: "the same, its server led the store", do: func(r *run) { r.loses(true, frozen, r.thawed) }},
		{name: "power", what: "the owner's host loses power", do: func(r *run) { r.loses(false, func(r *run, m *member) { r.powerOff(m) }, r.powered) }},
		{name: "power-leader", what: "the same, its server led the store", do: func(r *run) { r.loses(true, func(r *run, m *member) { r.powerOff(m) }, r.powered) }},
	}
}

// loses measures one kind of loss again and again; back ends it.
func (r *run) loses(led bool, fault func(*run, *member), back func(*member)) {
	r.t.Helper()
	for range repeats() {
		i, _ := r.owner("one")
		r.led(i, led)
		// Replicas catch up; and the loss meets the renewals anywhere in between.
		time.Sleep(quiet + rand.N(lease.Renew))
		r.strike(func(m *member) { fault(r, m) })
		r.moves()
		back(r.nodes[r.victim])
		r.rest()
	}
	r.explain()
}

// explain says where the time between a loss and the new start goes, as the
// records have it.
func (r *run) explain() {
	h := r.history()
	var renewal, expiry, claim, start []time.Duration
	for _, hit := range r.hits {
		var renewed, expired, claimed trace.Instant
		for _, rec := range h.Records {
			switch {
			case rec.Node != nil && rec.Node.Session == hit.old.Session && rec.Node.State == trace.Live:
				renewed = max(renewed, rec.At)
			case rec.Node != nil && rec.Node.Session == hit.old.Session:
				expired = rec.At
			case rec.App != nil && rec.App.Session == hit.new.Session && rec.App.Epoch == hit.new.Epoch && (claimed == 0 || rec.At < claimed):
				claimed = rec.At
			}
		}
		renewal, expiry = append(renewal, hit.at.Sub(renewed)), append(expiry, expired.Sub(renewed))
		claim, start = append(claim, claimed.Sub(expired)), append(start, hit.new.Begin().Sub(claimed))
	}
	r.note("medians: last renewal stored %v before the loss, expired %v after it, claimed %v later, begun %v later",
		median(renewal).Round(time.Millisecond), median(expiry).Round(time.Millisecond), median(claim).Round(time.Millisecond), median(start).Round(time.Millisecond))
}

// joined: the host is reachable again. Its node has fenced itself and goes on.
func (r *run) joined(*member) { r.heal() }

// thawed: the kernel has killed the node, so it is started again.
func (r *run) thawed(m *member) {
	r.t.Helper()
	r.must(m.host.freeze(false))
	r.must(m.wait(5 * time.Second))
	r.boot(m.host.i)
	r.heal()
}

// powerOff: the host is gone from one moment to the next, and no connection
// says so.
func (r *run) powerOff(m *member) {
	r.t.Helper()
	r.must(r.net.isolate(m.host.i))
	m.host.powerOff()
}

func (r *run) powered(m *member) {
	r.t.Helper()
	r.must(m.wait(5 * time.Second))
	r.must(r.net.heal())
	r.boot(m.host.i)
	r.heal()
}
