//go:build linux

package chaos

import (
	"syscall"
	"time"
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
		{name: "power", both: true, what: "the owner's host loses power", do: func(r *run) { r.loses(false, func(r *run, m *member) { r.powerOff(m) }, r.powered) }},
		{name: "power-leader", both: true, what: "the same, its server led the store", do: func(r *run) { r.loses(true, func(r *run, m *member) { r.powerOff(m) }, r.powered) }},
	}
}

// loses measures one kind of loss again and again; back ends it.
func (r *run) loses(led bool, fault func(*run, *member), back func(*member)) {
	r.t.Helper()
	for range repeats() {
		i, _ := r.owner("one")
		r.led(i, led)
		time.Sleep(quiet) // replicas catch up
		r.strike(func(m *member) { fault(r, m) })
		r.moves()
		back(r.nodes[r.victim])
		r.rest()
	}
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
	send(syscall.SIGKILL, m.host.pids()...)
}

func (r *run) powered(m *member) {
	r.t.Helper()
	r.must(m.wait(5 * time.Second))
	r.must(r.net.heal())
	r.boot(m.host.i)
	r.heal()
}
