// Package agent is the shell round the pure core in
// manager/machine: the loop, its ports, the performing of actions.
//
// One goroutine owns the machine. It takes events from the inbox, steps, and
// performs what was ordered; nothing else decides anything:
//
//	inbox ─▶ Step(now, event) ─▶ perform ─▶ store, bus, runners, disk
//	  ▲                                        │
//	  └──────────── results as events ─────────┘
//
// Readers never queue behind work: Status returns an immutable snapshot that
// is published after the steps that changed something.
//
// The node reaches NATS, processes and the disk through the ports in ports.go;
// package agent imports none of the adapters.
//
// Time is CLOCK_BOOTTIME, which counts through suspend. A wall clock that jumps
// ahead of it means that the machine stood still while others went on: the node
// then stops its apps first and asks later.
package agent
