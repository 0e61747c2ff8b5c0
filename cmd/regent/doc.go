// Command regent runs nodes, and talks to them.
//
// Each command is one file with its flags, its help and what it does. Main is
// the whole program but for the process itself: it returns the exit code, and
// report is the only place that prints errors, as one line "regent: WHAT: WHY"
// and perhaps a line "hint: …".
//
// Commands that talk to a cluster share target (where it is), client (asking
// its nodes) and the exit codes in exit.go. node and erl make the same
// NodeOptions from two kinds of command lines; wire.go makes a node of them.
package main
