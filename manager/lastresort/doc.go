// Package lastresort lets the kernel end this process at a deadline, whatever
// the process is doing then.
//
// An agent stops its apps itself when its lease runs out. It can't while it is
// stopped (SIGSTOP), swapped out or starved, and its apps would run on while
// another node starts them. So the kernel is told beforehand: a timer on
// CLOCK_BOOTTIME, which counts through suspend, that sends SIGKILL. That ends
// even a stopped process, and the apps with it, since they die with the agent
// (PR_SET_PDEATHSIG).
//
// Linux only. Elsewhere New returns nil, whose methods do nothing: the lease
// alone decides there.
package lastresort
