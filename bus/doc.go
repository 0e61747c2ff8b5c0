// Package bus is a node's core NATS messaging: its connection, the subjects,
// the heartbeats and the question "is this node still there?".
//
// Core NATS delivers at most once and promises nothing about loss. So nothing
// here decides who owns what: a heartbeat, its absence and every answer of
// Probe are hints. Rights are changed by compare-and-set in the bucket
// (package kv), which borrows its connection from here.
//
// # What it promises
//
//   - Subjects of two clusters never meet, and of one cluster every subject is
//     built and parsed in one place ([Cluster], [Subject]).
//   - [Dial] says whether the servers refuse us ([ErrRefused]: credentials or
//     TLS) or can't be reached ([ErrUnreachable]). Later the connection heals
//     itself for ever, and [Events] tell of it.
//   - A key that is shown ([Options.Key]) is that of the moment, at every attempt
//     to connect, so that Redial is enough to show another one.
//   - Nothing is sent late: while there is no connection, publishing fails at
//     once instead of filling a buffer that is flushed after a reconnect. A
//     write that was given up must not be applied half a minute afterwards.
//   - No message, however hostile, stops the receiver: what can't be read is
//     counted ([Stats]), logged at a bounded rate and dropped.
//
// # What it asks of its caller
//
//   - the callback of [Bus.SubscribeBeats] runs on a goroutine of its own and
//     must return soon: while it blocks, beats queue up to a limit, and are
//     then dropped and counted;
//   - the callbacks of [Events] come one after the other and must not block,
//     nor close the connection.
package bus
