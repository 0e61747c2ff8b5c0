//go:build linux

package chaos

import (
	"time"
)

// networkRows cut, thin and slow the links between the hosts.
func networkRows() []row {
	return []row{
		{name: "pair", what: "the owner and one other can't reach each other", do: func(r *run) {
			r.strike(func(m *member) { r.must(r.net.between(r.host(), r.other())) })
			r.stays(3 * lease.TTL)
			r.heal()
			r.rest()
		}},
		{name: "deaf", short: true, what: "nothing reaches the owner's host", do: func(r *run) {
			r.strike(func(m *member) { r.must(r.net.cut(r.net.everybody(), []int{r.host()})) })
			r.moves()
			r.heal()
			r.rest()
		}},
		{name: "mute", what: "nothing leaves the owner's host", do: func(r *run) {
			r.strike(func(m *member) { r.must(r.net.cut([]int{r.host()}, r.net.everybody())) })
			r.moves()
			r.heal()
			r.rest()
		}},
		{name: "split", short: true, what: "nobody reaches anybody", do: func(r *run) {
			r.strike(func(m *member) { r.must(r.net.cut(r.net.everybody(), r.net.everybody())) })
			time.Sleep(2 * lease.TTL)
			if alive := r.rec.alive("one"); len(alive) > 0 {
				r.fail("I4", "%v runs without a majority, %v after the cut", alive[0], 2*lease.TTL)
			}
			r.heal()
			r.rest()
		}},
		{name: "flap", what: "the owner's host is cut off and back, eight times 0.7 s", do: func(r *run) {
			before := len(r.rec.instances("one"))
			r.strike(func(m *member) {
				for range 8 {
					r.must(r.net.isolate(m.host.i))
					time.Sleep(700 * time.Millisecond)
					r.must(r.net.heal())
					time.Sleep(700 * time.Millisecond)
				}
			})
			r.heal()
			r.rest()
			r.note("the app moved %d times", len(r.rec.instances("one"))-before)
		}},
		{name: "loss", short: true, what: "every fifth frame is lost", do: func(r *run) {
			before := len(r.rec.instances("one"))
			r.strike(func(m *member) { r.must(r.net.lose(20)) })
			time.Sleep(15 * time.Second)
			r.heal()
			r.rest()
			r.note("the app moved %d times", len(r.rec.instances("one"))-before)
		}},
		{name: "delay", what: "every frame is 40 to 60 ms late, each way", plan: plan{wired: true}, do: func(r *run) {
			r.strike(func(m *member) { r.net.delay(20*time.Millisecond, 10*time.Millisecond) })
			r.stays(15 * time.Second)
			r.heal()
			r.rest()
		}},
		{name: "skew", what: "the owner's host is cut off; its lease is twice the others'", plan: plan{yaml: simply(ranked), lease: map[int]string{1: "6s"}}, do: func(r *run) {
			r.strike(func(m *member) { r.must(r.net.isolate(m.host.i)) })
			r.moves()
			r.heal()
			r.rest(1)
		}},
	}
}

// host is the number of the host that is hit, other that of one that is not.
func (r *run) host() int  { return r.victim }
func (r *run) other() int { return r.victim%3 + 1 }
