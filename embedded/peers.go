package embedded

import (
	"context"
	"slices"
	"time"
)

// peersEvery is how often routes are counted. nats-server offers no event:
// when a voter is killed, the routes to it close within milliseconds, but no
// system event is sent, since the server that would send it is dead.
const peersEvery = 20 * time.Millisecond

// Peers are the sorted names of the other voters this server has a route to.
func (s *Server) Peers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers)
}

// Missing are the names of the voters this server has no route to.
func (s *Server) Missing() []string {
	have := s.Peers()
	var missing []string
	for _, p := range s.options.Voters {
		if p.Name != s.options.Name && !slices.Contains(have, p.Name) {
			missing = append(missing, p.Name)
		}
	}
	return missing
}

// NumRoutes is the number of other voters this server has a route to.
func (s *Server) NumRoutes() int { return len(s.Peers()) }

// peersFull is how often routes are named even if their number is the same: one
// may have taken the place of another between two counts.
const peersFull = time.Second

func (s *Server) watchPeers() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopWatch = cancel
	if !s.options.clustered() {
		return
	}
	s.watching.Go(func() {
		tick := time.NewTicker(peersEvery)
		defer tick.Stop()
		counted, named := -1, time.Time{}
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if n := s.nats.NumRoutes(); n != counted || now.Sub(named) >= peersFull {
					counted, named = n, now
					s.lookAtRoutes()
				}
			}
		}
	})
}

// lookAtRoutes publishes the routes of now and reports what changed, those
// that went first.
func (s *Server) lookAtRoutes() {
	now := s.routed()
	s.mu.Lock()
	before := s.peers
	s.peers = now
	s.mu.Unlock()
	s.report(before, now, false)
	s.report(now, before, true)
}

// report tells of the names in a that are not in b.
func (s *Server) report(a, b []string, up bool) {
	for _, name := range a {
		if slices.Contains(b, name) {
			continue
		}
		s.log.Debug("route", "peer", name, "up", up)
		if s.options.OnPeer != nil {
			s.options.OnPeer(name, up)
		}
	}
}

// routed lists each remote server once, however many connections there are.
func (s *Server) routed() []string {
	routes, err := s.nats.Routez(nil)
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range routes.Routes {
		names = append(names, r.RemoteName)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
