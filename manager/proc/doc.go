// Package proc is Erlang's processes and messages between the nodes of a
// cluster: spawn, send, call, link, monitor, exit, names and groups.
//
// A [System] is one node in one life. A process is a function on a goroutine
// of its own with a mailbox and a [PID]; functions are registered by name
// ([System.Handle]), so that other nodes can spawn them. Systems talk over a
// [Transport] that may lose, delay, repeat and reorder what it is given; core
// NATS is one (package bus), and the package knows no other detail of it.
//
// # What it promises
//
//   - Order: what one process sends to another arrives in the order sent.
//   - At most once: nothing arrives twice.
//   - Nothing of a former life: a PID holds the life of its node, connections
//     are made between two lives, and what belongs to another is dropped.
//   - No silence: two nodes that talk number what they send each other. A
//     number that is missing ends their connection, as the end of a TCP
//     connection does in Erlang: whoever has a link, a monitor or a call over it
//     is told noconnection. So is the sender of a last message that was lost,
//     by a question about the number within the tick time. After that the
//     next message makes a new connection. Some of what was sent before
//     may have arrived, always a beginning of it.
//   - A flood stops at a limit: senders wait while too much is unacknowledged,
//     and mailboxes are bounded, with a policy for what no longer fits.
//
// # What it does not promise
//
//   - that a message was read: use Call, which is answered;
//   - that a message to a name or PID without a process is reported: it is
//     dropped, as in Erlang. A monitor, a link and a call do tell: noproc;
//   - that a process ends when it is told to. A goroutine can't be killed: for
//     everybody else the process is gone at once, its context ends, and its
//     function must return.
//
// # What it asks of its caller
//
//   - [System.Receive] is called with every frame, one after the other, in the
//     order in which the transport delivers them;
//   - [System.Heard] and [System.Lost] are told what is known of other nodes;
//   - [System.Run] runs as long as the node.
package proc
