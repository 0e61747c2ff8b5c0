// Package cred turns a cluster's cookie into everything that connections
// need: NATS operator, accounts and users, and the certificates of mutual TLS.
//
// Every process derives the same authority from the same cookie and cluster
// name, so that nothing has to be exchanged and the cookie never crosses the
// wire:
//
//	cookie ── argon2id ──▶ root ── HKDF, one label per purpose ──▶ operator key
//	                        │                                      application account key, system account key
//	                        │                                      application user key, system user key
//	                        │                                      Ed25519 key of the certificate authority
//	                        └── HKDF without the cluster's name ──▶ fingerprint, the cookie's public name
//
// What is derived is deterministic down to the bytes of the CA certificate.
// Leaf certificates have random keys. No clock is trusted: certificates are
// valid from 2000 to 2099 and are judged as of a fixed day between, and JWTs
// neither begin nor expire.
//
// JetStream files its data under the public keys of the accounts. These keys
// are the cluster's [Identity]: fixed by the first cookie, kept by whoever keeps
// the data, told to clients in the servers' certificates. An authority made
// from a later cookie adopts it ([Authority.WithIdentity]): its operator vouches
// for the old accounts and its own account keys sign for them. No seed of the
// first cookie is kept for that.
//
// A [Ring] lets the cookie of a running process be replaced: what is made from
// it goes by the authority of the moment of each handshake.
//
// Whoever has the cookie is root of its cluster. The users are different to
// keep honest programs apart, not to keep attackers out. A [Login] is a user with
// less: its keys are random, made by a process that has the cookie for one that
// has not, and there are as many as are asked for.
//
// Secrets never print: a Cookie and an Authority show as [redacted] in every
// format, in slog and in encodings of text.
package cred
