// Package machine is one node's protocol as a pure state machine.
//
// The whole contract is Step: events in, actions out.
//
//	m := machine.New(cfg, now)
//	for ev := range events {
//		perform(m.Step(now(), ev))
//		wakeAt(m.Wake())
//	}
//
// What the machine promises:
//
//   - Step is total: every event is legal in every state, and it never fails.
//     A message nobody expects changes nothing.
//   - It has no clock, no goroutine, no I/O and no randomness of its own; the
//     same events at the same instants give the same actions.
//   - An app is started only on the acknowledgement of this node's latest
//     claim, and every instance is ordered to stop before the lease of the
//     session it was started in may be taken for over by anybody.
//
// What the caller owes:
//
//   - instants never go back and come from a clock that counts through suspend;
//   - an action is performed after the Step that returned it, in any order
//     relative to other actions, and every action with a request number or run
//     number is answered by its event (see each action). An answer may be late,
//     and after OutcomeUnknown another answer for the same request may still
//     follow; a run is answered by exactly one Exited or StartFailed, sent when
//     all its processes are confirmed gone;
//   - Tick is stepped at Wake() or soon after.
//
// How it works inside: an event only changes what the machine knows (absorb);
// then decide looks at everything known and orders what is missing, so that a
// lost, late or repeated event costs time and never correctness. At most one
// write per cell is open at any time. The rows S1 to S5 and A0 to A11 in the
// comments are the transitions of docs/protocol.md.
package machine
