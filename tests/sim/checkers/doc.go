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
//
// And a node raises the alarm of a double owner only where one epoch was given
// twice, the epochs of a record went back, or two may have run as documented.
//
// Where docs/protocol.md says that at most one does not hold, something is excused,
// and nothing else (checker_test.go has each beside a violation that is caught):
//
//	what is excused                 why                                 until when
//	--------------------------------------------------------------------------------------------
//	shaken: an instance or a        the store was set back and has      its lease, renewed once more
//	session beside others, or       forgotten its claim or renewals;    before it was over: 2 FENCE +
//	ended by them                   its node can't know yet             Late + Kill, from the first
//	                                                                    set back that forgot it; or
//	                                                                    until it is renewed
//	lost: a start by a claim that   the same                            the same, from that set back
//	was forgotten
//	stray: a write over a right     sent by what was forgotten, at a    that write; who loses by it
//	that somebody has               revision given again, whose value   is shaken from then on
//	                                its sender had not been told
//	epochs above those that the     rule 7: nobody may remember them    for good; not for a node that
//	store still has, given again                                        has started by one, or read of
//	                                                                    one above it
//	bygone: an epoch of a lost      rule 8: revisions and records       the end of the instance; on a
//	bucket beside those of the new  begin anew                          node's disk they go on growing
//	unknown: an instance of a lost  rule 8 waits for the longest lease  its fence (I4)
//	bucket beside one of the new    known; a life that began later, by
//	                                a shorter lease and with an empty
//	                                disk, knows of none
//	slept: a session ended before   its host was paused, clocks and     its next renewal that was sent
//	its own clock says so           all; others count on                since
//	excused: an instance that was   the same: nothing can know that in  its end: sim demands it within
//	on a paused host                time                                a kill of going on
//	excused: an instance that       agent and warden are gone, and the  its end, without which nobody
//	outlives its node               kernel does not reach it            may certify (I4)
//	frozen: not executing           it does nothing                     it executes again
//	broken: alarms and findings of  two may have run; who sees the      for good: a record is read,
//	the audit about an app          trace of it later is right          and evidence stored, any time
//	respecified: not on the best    A-7: a specification that changed   a node is told to start it
//	candidate                       moves nothing by itself
package checkers
