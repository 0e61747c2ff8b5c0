// Package embedded runs a voter of the cluster's JetStream inside the binary:
// a nats-server with everything decided that a cluster of nodes needs.
//
// What it promises:
//
//   - Only holders of the cookie connect, as client or as voter: mutual TLS 1.3
//     on both ports, and NATS users of the cookie's operator (package bus/cred).
//   - An acknowledged write is on the disk of a majority (SyncAlways).
//   - With the default raft timing, writes resume within about half a second
//     after the voter that leads a stream is killed; see raft.go.
//   - A voter whose process dies disappears from [Server.Peers] within tens of
//     milliseconds, one that is paused or cut off within two seconds. Neither is
//     proof of death.
//   - The data directory belongs to one process, one server name, one cluster
//     and one mode, standalone or clustered. Anything else is refused before
//     the server could touch the data: JetStream deletes the streams of a
//     standalone store that comes back as a cluster member.
//   - Nothing exits the process, installs a signal handler or writes to the
//     terminal. The server's log goes to slog.
//
// What it demands:
//
//   - The first boot needs all voters once: a vote from a voter with an empty
//     log counts only when every voter votes. Afterwards a majority is enough.
//     [Server.WaitReady] waits for that and says who is missing.
//   - The same holds for each stream: a voter that has stored nothing of it yet
//     is no part of its majority. Who makes a stream should wait until all its
//     replicas are current; if the others die before, the stream has no leader
//     until one of them is back.
//   - All voters name the same voters, themselves included: one too many and
//     there is never a leader.
//   - The name of a voter never changes. Its raft peer id is a hash of it.
//
// What it does not: nodes that are not voters run no server at all, and
// nothing here creates streams or moves apps.
package embedded
