package embedded

import (
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Behind says why this voter's own copies of the streams are not complete; it
// is empty when they are, and for a server that stands alone.
//
// A voter that comes back fetches from the leader what it has missed. Until
// then its vote counts and its copy does not: if the others are lost now, there
// is no leader until one of them returns. The leader can't tell it (its replica
// "is current" as soon as it has the log, which need not be what the log refers
// to), and once a leader is lost amid the fetching, the next attempt is made 5 s
// later. So ask each voter before another one is taken away.
func (s *Server) Behind() string {
	if !s.options.clustered() || !s.nats.JetStreamEnabled() {
		return ""
	}
	health := s.nats.Healthz(&server.HealthzOptions{Account: s.first.Identity().App, Details: true})
	for _, e := range health.Errors {
		switch e.Type {
		case server.HealthzErrorStream:
			_, why, _ := strings.Cut(e.Error, "is not current: ")
			return e.Stream + ": " + why
		case server.HealthzErrorJetStream, server.HealthzErrorConn:
			return e.Error
		}
	}
	return ""
}
