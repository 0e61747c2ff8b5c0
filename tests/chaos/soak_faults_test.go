//go:build linux

package chaos

import (
	"cmp"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// soakFaults are what a storm draws from; one that stands twice is drawn twice
// as often.
var soakFaults = map[string]func(*soak, *member){
	"kill node":   func(s *soak, m *member) { s.hit(m, true, false); send(syscall.SIGKILL, m.pid()) },
	"kill warden": func(s *soak, m *member) { s.hit(m, false, true); send(syscall.SIGKILL, m.warden()) },
	"kill both": func(s *soak, m *member) {
		s.hit(m, true, true)
		send(syscall.SIGKILL, m.pid(), m.warden())
	},
	"kill app": func(s *soak, m *member) { send(syscall.SIGKILL, s.appsOn(m)...) },
	"power": func(s *soak, m *member) {
		s.cutOff(m)
		m.host.powerOff()
	},
	"stop node":   func(s *soak, m *member) { s.hit(m, true, false); s.stop(m.pid()) },
	"stop warden": func(s *soak, m *member) { s.hit(m, false, true); s.stop(m.warden()) },
	"stop both":   func(s *soak, m *member) { s.hit(m, true, true); s.stop(m.pid(), m.warden()) },
	"stop app":    func(s *soak, m *member) { s.stop(s.appsOn(m)...) },
	"freeze": func(s *soak, m *member) {
		s.hit(m, true, true)
		s.must(m.host.freeze(true))
		s.later(200*time.Millisecond, 7*time.Second, func() { s.must(m.host.freeze(false)) })
	},
	"restart": func(s *soak, m *member) { send(syscall.SIGTERM, m.pid()) },
	"cut":     func(s *soak, m *member) { s.cutOff(m) },
	"pair": func(s *soak, m *member) {
		other := s.other(m)
		s.cutLinks(link{m.host.i, other}, link{other, m.host.i})
	},
	"deaf": func(s *soak, m *member) { s.cutLinks(s.links(m, false)...) },
	"mute": func(s *soak, m *member) { s.cutLinks(s.links(m, true)...) },
	"split": func(s *soak, m *member) {
		var all []link
		for _, n := range s.nodes[1:] {
			all = append(all, s.links(n, true)...)
		}
		s.cutLinks(all...)
	},
	"loss": func(s *soak, m *member) {
		s.must(s.net.lose(5 + s.rnd.IntN(35)))
		s.later(500*time.Millisecond, 6*time.Second, func() {
			clear(s.net.losses)
			s.must(s.net.apply())
		})
	},
	"delay": func(s *soak, m *member) {
		s.net.delay(s.between(time.Millisecond, 100*time.Millisecond), s.between(time.Millisecond, 50*time.Millisecond))
		s.later(500*time.Millisecond, 6*time.Second, func() { s.net.delay(0, 0) })
	},
	"takeover": func(s *soak, m *member) { s.takeover(m) },
}

// strike draws one fault, and a node for it.
func (s *soak) strike() {
	names := slices.SortedFunc(maps.Keys(soakFaults), cmp.Compare[string])
	name := names[s.rnd.IntN(len(names))]
	m := s.nodes[1+s.rnd.IntN(len(s.nodes)-1)]
	s.counts[name]++
	soakFaults[name](s, m)
}

func (s *soak) must(err error) {
	if err != nil {
		s.t.Fatal(err)
	}
}

// appsOn are the processes that a node has executed.
func (s *soak) appsOn(m *member) (pids []int) {
	for _, in := range s.rec.alive("") {
		if in.Node == m.name {
			pids = append(pids, leaderOf(in))
		}
	}
	return pids
}

// other is a random node beside m.
func (s *soak) other(m *member) int {
	i := 1 + s.rnd.IntN(len(s.nodes)-2)
	if i >= m.host.i {
		i++
	}
	return i
}

// links are those from or to a node's host.
func (s *soak) links(m *member, from bool) (all []link) {
	for _, j := range s.net.everybody() {
		switch {
		case j == m.host.i:
		case from:
			all = append(all, link{m.host.i, j})
		default:
			all = append(all, link{j, m.host.i})
		}
	}
	return all
}

func (s *soak) cutOff(m *member) {
	s.cutLinks(slices.Concat(s.links(m, true), s.links(m, false))...)
}

// cutLinks cuts some links for a while.
func (s *soak) cutLinks(links ...link) {
	for _, l := range links {
		s.net.cuts[l] = true
	}
	s.must(s.net.apply())
	s.later(300*time.Millisecond, 7*time.Second, func() {
		for _, l := range links {
			delete(s.net.cuts, l)
		}
		s.must(s.net.apply())
	})
}

// takeover moves the app that moves by command alone; it may well be refused.
func (s *soak) takeover(to *member) {
	home := filepath.Join(s.dir, "h0")
	cmd := exec.Command(program(), "takeover", "never", "--to", to.name, "--server", s.urls()[s.rnd.IntN(3)], "--cookie-file", filepath.Join(s.dir, "cookie"))
	cmd.Env = append(to.env[:1:1], "HOME="+home, "XDG_RUNTIME_DIR="+home)
	if err := s.net.hosts[0].start(cmd); err != nil {
		s.t.Error(err)
		return
	}
	go func() {
		defer time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
		_ = cmd.Wait()
	}()
}
