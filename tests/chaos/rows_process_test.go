//go:build linux

package chaos

import (
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

var rankedPlan = plan{yaml: simply(ranked)}

// pidsOf are the living processes of an instance.
func pidsOf(in *trace.Instance) (pids []int) {
	for _, p := range in.Procs {
		if p.End == 0 {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// leaderOf is the process that the node executed.
func leaderOf(in *trace.Instance) int {
	p, _ := in.Leading()
	return p.PID
}

// processRows kill and stop single processes of the owner's host.
func processRows() []row {
	return []row{
		{name: "kill-agent", short: true, what: "kill -9: node", plan: rankedPlan, do: func(r *run) {
			r.kills(func(m *member) []int { return []int{m.pid()} })
		}},
		{name: "kill-all", what: "kill -9: node, warden and app at once", plan: rankedPlan, do: func(r *run) {
			r.kills(func(m *member) []int { return append([]int{m.pid(), m.warden()}, pidsOf(r.old)...) })
		}},
		{name: "kill-agent-warden", short: true, both: true, what: "kill -9: node and warden at once", plan: rankedPlan, do: func(r *run) {
			r.kills(func(m *member) []int { return []int{m.pid(), m.warden()} })
		}},
		{name: "kill-warden", what: "kill -9: warden", plan: rankedPlan, do: func(r *run) {
			before := r.nodes[1].warden()
			r.strike(func(m *member) { send(syscall.SIGKILL, before) })
			r.stays(2 * lease.TTL)
			until(r.t, "another warden", func() bool { w := r.nodes[1].warden(); return w != 0 && w != before })
			r.heal()
			r.rest(1)
		}},
		{name: "kill-app", what: "kill -9: app", plan: rankedPlan, do: func(r *run) {
			r.strike(func(*member) { send(syscall.SIGKILL, leaderOf(r.old)) })
			until(r.t, "the app is restarted in place", func() bool {
				alive := r.rec.alive("one")
				return len(alive) == 1 && alive[0].Instance != r.old.Instance && alive[0].Node == r.old.Node
			})
			r.heal()
			r.rest(1)
		}},
		{name: "stop-agent", short: true, what: "SIGSTOP: node", plan: rankedPlan, do: func(r *run) {
			r.stops(func(m *member) []int { return []int{m.pid()} })
		}},
		{name: "stop-agent-warden", both: true, what: "SIGSTOP: node and warden", plan: rankedPlan, do: func(r *run) {
			r.stops(func(m *member) []int { return []int{m.pid(), m.warden()} })
		}},
		{name: "late-warden", short: true, both: true, what: "SIGSTOP: node for good, warden until the deadline is over", plan: rankedPlan, do: func(r *run) {
			warden := 0
			r.strike(func(m *member) {
				warden = m.warden()
				send(syscall.SIGSTOP, m.pid(), warden)
			})
			r.moves()
			send(syscall.SIGCONT, warden)
			until(r.t, "the warden ends what the kernel did not reach", func() bool { return r.again(r.old).End() != 0 })
			r.returns()
		}},
		{name: "stop-all", both: true, what: "SIGSTOP: node, warden and app", plan: rankedPlan, do: func(r *run) {
			r.stops(func(m *member) []int { return append([]int{m.pid(), m.warden()}, pidsOf(r.old)...) })
		}},
		{name: "stop-shortly", what: "SIGSTOP: node, for less than FENCE", plan: rankedPlan, do: func(r *run) {
			r.strike(func(m *member) { send(syscall.SIGSTOP, m.pid()) })
			r.stays(lease.Fence() / 2)
			send(syscall.SIGCONT, r.nodes[r.victim].pid())
			r.stays(lease.TTL)
			r.heal()
			r.rest(1)
		}},
		{name: "stop-warden", what: "SIGSTOP: warden", plan: rankedPlan, do: func(r *run) {
			before := r.nodes[1].warden()
			r.strike(func(*member) { send(syscall.SIGSTOP, before) })
			r.stays(2 * lease.TTL)
			send(syscall.SIGCONT, before)
			r.heal()
			r.rest(1)
		}},
		{name: "stop-app", what: "SIGSTOP: app", plan: rankedPlan, do: func(r *run) {
			r.strike(func(*member) { send(syscall.SIGSTOP, pidsOf(r.old)...) })
			r.stays(2 * lease.TTL)
			send(syscall.SIGCONT, pidsOf(r.old)...)
			r.heal()
			r.rest(1)
		}},
	}
}

// kills kills some processes of the owner's host; the app moves, and comes back
// when the node does.
func (r *run) kills(which func(*member) []int) {
	r.t.Helper()
	r.strike(func(m *member) { send(syscall.SIGKILL, which(m)...) })
	r.moves()
	r.returns()
}

// stops stops some processes for longer than the lease; the kernel ends them.
func (r *run) stops(which func(*member) []int) {
	r.t.Helper()
	var pids []int
	r.strike(func(m *member) {
		pids = which(m)
		send(syscall.SIGSTOP, pids...)
	})
	r.moves()
	time.Sleep(quiet)
	send(syscall.SIGCONT, pids...)
	r.returns()
}

// returns boots the node that was hit, whose process has ended.
func (r *run) returns() {
	r.t.Helper()
	m := r.nodes[r.victim]
	r.must(m.wait(5 * time.Second))
	r.boot(r.victim)
	r.heal()
	r.rest(1)
}
