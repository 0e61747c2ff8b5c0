package cred

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
)

// OperatorJWT is the self-signed token of the operator, which names the system
// account.
func (a *Authority) OperatorJWT() (string, error) {
	claims := jwt.NewOperatorClaims(public(a.keys().operator))
	claims.Name = "regent " + a.cluster
	claims.SystemAccount = a.identity.System
	return claims.Encode(a.keys().operator)
}

// AccountJWTs are the tokens of both accounts by public key: what a server's
// account resolver has to know. The application account may use JetStream
// without limit, the system account must not.
func (a *Authority) AccountJWTs() (map[string]string, error) { return a.AccountJWTsFor(a) }

// AccountJWTsFor are the accounts of a for a server that trusts the operator of
// another cookie: the one that it was started with.
func (a *Authority) AccountJWTsFor(operator *Authority) (map[string]string, error) {
	tokens := map[string]string{}
	for _, u := range []User{App, System} {
		token, err := a.accountJWT(u, operator)
		if err != nil {
			return nil, fmt.Errorf("account token: %w", err)
		}
		tokens[a.identity.account(u)] = token
	}
	return tokens, nil
}

func (a *Authority) accountJWT(u User, operator *Authority) (string, error) {
	claims := jwt.NewAccountClaims(a.identity.account(u))
	claims.Name = "regent"
	if u == System {
		claims.Name = "system"
	} else {
		claims.Limits.JetStreamLimits = jwt.JetStreamLimits{
			MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit,
			Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
		}
	}
	for _, who := range append([]*Authority{a}, a.also...) {
		if signer := public(who.keys().accounts[u]); signer != claims.Subject {
			claims.SigningKeys.Add(signer)
		}
	}
	return claims.Encode(operator.keys().operator)
}

// Signers are the keys that users of a, and of what it accepts, are signed with.
func (a *Authority) Signers() []string {
	var all []string
	for _, who := range append([]*Authority{a}, a.also...) {
		for _, u := range []User{App, System} {
			all = append(all, public(who.keys().accounts[u]))
		}
	}
	return all
}

// republished are the subjects on which the servers tell of changes.
const republished = "regent.*.kv.>"

// UserJWT is the token of u for its account of id.
func (a *Authority) UserJWT(u User, id Identity) (string, error) {
	claims := jwt.NewUserClaims(public(a.keys().users[u]))
	claims.Name = "regent"
	if u == App {
		// Changes of the bucket are told by the servers alone: nobody's word
		// counts for one that was never stored.
		claims.Pub.Deny.Add(republished)
	}
	if account := id.account(u); account != public(a.keys().accounts[u]) {
		claims.IssuerAccount = account
	}
	return claims.Encode(a.keys().accounts[u])
}

// Creds is the content of a NATS credentials file: token and seed of u.
func (a *Authority) Creds(u User) ([]byte, error) {
	token, err := a.UserJWT(u, a.identity)
	if err != nil {
		return nil, fmt.Errorf("user token: %w", err)
	}
	seed, err := a.keys().users[u].Seed()
	if err != nil {
		return nil, fmt.Errorf("user seed: %w", err)
	}
	return jwt.FormatUserConfig(token, seed)
}
