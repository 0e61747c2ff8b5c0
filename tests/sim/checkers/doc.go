// Package checkers judges one life of a cluster by what could be seen from
// outside: what was sent, what the store applied, what was answered, which
// processes ran when. It knows nothing of the state of the machines.
//
// The facts are told to a Checker one by one, in the order of real time; the
// first broken invariant is kept as Err. The invariants are those of
// docs/testing.md:
//
//	I1  exclusive: at most one instance executes at any time; overlap: at most
//	    two, and only an owner and a declared successor
//	I2  an instance starts only in a valid session, under the latest claim of
//	    its agent, which is known to have been applied and was not given up
//	I3  epochs strictly grow over starts (restarts in place excepted), and no
//	    epoch is allotted twice
//	I4  an instance ends no later than t_send of the last acknowledged renewal
//	    + FENCE + Kill + Late on the clock of its host
//	I5  after faults have ended exactly one instance runs (none after a stop)
//	I6  it runs on the best candidate, and then nothing moves any more
//	I7  nothing starts before the barrier
//	I8  a session is ended by others only when its right to act is over
//	I9  that holds for observers with a shorter lease, too
package checkers
