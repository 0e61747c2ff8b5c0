package embedded

import (
	"fmt"
	"slices"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed7529eb29/regent/bus/cred"
)

// Turn lets the running server go by the cookie of another authority, or accept
// one cookie more or less. New connections show and demand what a says from now
// on; clients whose users were signed by a cookie that a does not accept are
// disconnected. The routes between voters stay.
//
// The server goes on trusting the operator it was started with: an account's
// token comes from this process alone, and what it says of its signers is a's.
func (s *Server) Turn(a *cred.Authority) error {
	before := s.ring.Authority()
	now := a.WithIdentity(s.first.Identity())
	tokens, err := now.AccountJWTsFor(s.first)
	if err != nil {
		return fmt.Errorf("other cookie: %w", err)
	}
	s.ring.Turn(now)
	for name, token := range tokens {
		if err := s.updateAccount(name, token); err != nil {
			return fmt.Errorf("other cookie: %w", err)
		}
	}
	return s.disconnect(slices.DeleteFunc(before.Signers(), func(key string) bool { return slices.Contains(now.Signers(), key) }))
}

func (s *Server) updateAccount(name, token string) error {
	claims, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return err
	}
	if err := s.nats.AccountResolver().Store(name, token); err != nil {
		return err
	}
	account, err := s.nats.LookupAccount(name)
	if err != nil {
		return err
	}
	s.nats.UpdateAccountClaims(account, claims)
	return nil
}

// disconnect ends the connections of users that one of these keys has signed.
func (s *Server) disconnect(signers []string) error {
	if len(signers) == 0 {
		return nil
	}
	conns, err := s.nats.Connz(&server.ConnzOptions{Username: true, Limit: s.nats.NumClients() + 1<<10})
	if err != nil {
		return fmt.Errorf("other cookie: %w", err)
	}
	for _, c := range conns.Conns {
		if slices.Contains(signers, c.IssuerKey) {
			s.log.Info("disconnected: its cookie is not accepted any more", "name", c.Name, "addr", c.IP)
			_ = s.nats.DisconnectClientByID(c.Cid) // it may be gone
		}
	}
	return nil
}
