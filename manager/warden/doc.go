// Package warden is the second process of a node: it ends what the agent leaves
// behind, proves it, and says so.
//
// An agent that is killed leaves processes that its death signal does not reach
// and a lease that runs on; one that is stopped leaves everything running. The
// warden is a child of the agent with a process session of its own, the same
// program, and a socket to the agent as its only input:
//
//   - It knows every process group before the group executes its command: the
//     agent's [Client] is part of the ledger of package osproc, and answers only
//     when the warden has acknowledged.
//   - It knows until when the agent's apps may run. When that moment passes, or
//     the socket ends without a goodbye, it sends SIGKILL to the agent first and
//     to every group then, waits until all of them are confirmed gone (the agent
//     by a pidfd, a group by the process table; a zombie is gone), and only then
//     certifies the death through a [Certifier].
//   - It kills without the network. What it can't confirm it does not certify.
//   - Its own kernel timer ends it where it stands still for a lease past the
//     deadline. The agent's does that to the agent at the deadline.
//
// The end of the socket does not prove that the agent is dead, since a
// descriptor can be closed or inherited; that is why the agent is killed, and
// killed first: its renewals would outrun the certificate, and it could start
// apps again.
//
// A warden that dies or stops answering is replaced. Its successor knows all
// groups before any new one begins, and certifies nothing before it does; the old one is confirmed gone before its
// socket is closed, since it would take that for the agent's end. As long as
// there is none, starts wait for a renewal period; after that the node goes on
// with its lease and the kernel's timer alone, and says so, or refuses to start
// apps if it was told to ([Options.Required]).
//
// Nothing secret is in the warden's arguments or environment: what it needs to
// reach the cluster comes through the socket.
//
// Linux only. Elsewhere [Start] returns nil, whose methods do nothing.
package warden
