// Package osproc runs apps that are commands of the operating system.
//
// A [Runner] starts its command in a process group of its own and ends that
// group with it: an instance is done when every process of the group is
// confirmed gone, not only the first. A program that uses a Runner calls [Main]
// first thing.
//
// On Linux:
//
//   - The group is in the [Ledger] before the command is executed. The child
//     begins as this very program ([Main]), which waits on a pipe until the
//     ledger has the group and it is told what to become. If this process dies
//     in between, the pipe ends and so does the child. A [Nursery] has such
//     children ready, so that a start does not wait for a process to begin.
//   - The kernel kills the command when this process dies (PR_SET_PDEATHSIG).
//     The signal follows the thread that started the child, so the goroutine
//     that does so keeps its thread to itself until the child is gone. It
//     doesn't reach grandchildren: ending those is for whoever reads the ledger.
//   - The first process of the group stays a zombie until the rest of the group
//     is gone, so that no signal can hit another group of the same number.
//   - When the command ends by itself the rest of its group is killed at once.
//     On a stop the rest has until the stop timeout, as the signal was sent to
//     all.
//
// A process that leaves the group (setsid, as daemons do) is not watched: give
// commands their option to stay in the foreground.
//
// On other systems there is no pause before the command and no help from the
// kernel: the lease alone bounds what outlives this process. On Windows only
// the first process is known, and every stop is a kill.
//
// The environment of a command is that of this process without secrets, then
// the app's own, then the variables REGENT_*. What is secret of these, the
// credentials for NATS, are files in a directory of that start, which is there
// before the command and goes when its group is gone. A command that is started
// provisionally is told there, too, that it is confirmed.
package osproc
