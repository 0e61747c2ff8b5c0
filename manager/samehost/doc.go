// Package samehost proves, by looking, that processes of this very host are
// gone, and ends what a dead node left behind.
//
// A node whose process was killed holds its lease until the lease runs out,
// unless somebody can prove that the node and everything it started are gone.
// A regent process on the same host can: it sees the same process table. "The
// same host" is the same machine-id, boot-id and PID namespace ([Host]):
// containers share the first two, and in another namespace a living pid looks
// absent. The proof also needs the same user and a /proc that hides nothing.
// Where any of this is missing there is no proof ([ErrNoProof]), and the lease
// decides. Other systems than Linux never have one.
//
// Pids are reused, so a process is named by its pid and start time. A process
// group can't be taken for another either: Linux doesn't give a number to a new
// process while a group of that number has members. So if the number of a
// recorded leader belongs to a process with another start time, the recorded
// group is gone. A zombie is gone, since it executes nothing, with the one
// exception of a leader whose other threads are still running.
//
// Which groups a node started stands in its groups file ([Groups]): a line
// before each exec, another when the group is confirmed gone. A file that can't
// be read to the last byte proves nothing.
//
// Not covered: processes that left their group (setsid) where the node could
// not give each app a cgroup, and two copies of one
// virtual machine resumed from the same memory image, which are the same host
// in every respect that can be looked at.
package samehost
