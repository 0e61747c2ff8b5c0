// Package conformance plays the scenarios of tests/scenario on real nodes, on
// those of regent and, where it is installed, on those of Erlang/OTP, and
// compares what was seen with one another and with what the pure machine does.
// They do the same, except where a scenario says by which rule they differ.
//
//	make conformance
//	go test ./tests/conformance -v -conformance='b2_*'
//
// The nodes of regent are processes of the program in gonode: clients of one
// NATS server, each scenario a cluster of its own, each node on its own wire,
// which can be cut. The nodes of Erlang run the module in erlang.
package conformance
