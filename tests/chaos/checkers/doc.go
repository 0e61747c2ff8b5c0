// Package checkers judges a trace of a cluster that was broken. It knows what
// could be seen from outside (package trace) and nothing else: no state of a
// node, no log.
//
// Of the invariants of docs/testing.md it checks:
//
//	I1  Together: exclusive, at most one instance has a living process at any
//	    time; overlap, at most two, and only a successor that was told whom it
//	    replaces beside that one
//	I2  Claims: an instance begins only if the store has held a record with this
//	    node, session and epoch as owner, or as next where apps overlap
//	I3  Epochs: they grow over starts, except that one claim may start again in
//	    place; the highest epoch of a record never falls
//	I4  Fences: an instance is gone FENCE + Kill + Late after its session's last
//	    renewal. When that was sent can't be seen from outside; when it was stored
//	    can, which is later by one way through the network
//	I5, I6
//	    Settle: within a bound after the faults exactly one instance runs, on the
//	    best node, and then nothing moves
//	I7  Barrier: nothing begins before an instant
//	I8  Endings: a session is expired only when FENCE has passed since its last
//	    renewal was stored; certified only when its processes are gone; and an
//	    ownership changes hands only from a session that has ended
//
// And Linear: the compare-and-sets of all clients are linearizable.
//
// What was missed makes Claims and Fences too strict, never too lax: whoever
// collects the records reads again what it has not seen.
package checkers
