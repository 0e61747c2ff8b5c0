// Package audit searches the history of a cluster for what must never happen:
// two instances of one app at once, one epoch with two owners, epochs that go
// back, an instance without a right to run. History in, findings out; nothing is
// read, and no clock is asked.
//
// # What it rests on
//
// Each event names the life that wrote it and is numbered within it, so that
// what is missing is known, and nothing is concluded from silence. Within one
// life the numbers are the order. Events of several lives on one clock (one boot
// of one host) are compared by that clock, to the nanosecond: an instance begins
// when it was ordered to start and ends when all its processes were confirmed
// gone, so that a recorded stretch contains the true one, and two true ones that
// meet are two recorded ones that meet. A proof of death counts from the moment
// it was sent. Everything else can only be compared by the time of day, which
// hosts set as they please: there a difference counts only if it is larger than
// Options.Skew, and the finding says so.
//
// # What it does not prove
//
// That nothing ran without leaving a trace: a process that nobody recorded, an
// event that was lost, a host whose clock lies. It says which instances, lives
// and successions it could not judge, and why. No finding and nothing unjudged
// means that the recorded history is one of at most one owner at a time.
//
// Overlap takeovers are declared: their second instance has a reservation from
// the node whose instance it meets. Two such instances are no finding, a third
// one is.
package audit
