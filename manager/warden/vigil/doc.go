// Package vigil is what a warden knows and decides, as a pure state machine:
// whom to kill, when nothing is left to wait for, what may be certified. Package
// warden gives it the socket, the process table and the clock; the simulation
// gives it its own ([Vigil] is generic over what names a process group).
//
//	v := vigil.Vigil[group]{}
//	v.Meet(life); v.Add(g); v.Arm(at); v.All()   what the agent says
//	if v.Passed(now) || socketEnded {
//		kill(v.Begin(now))                       the agent first
//		for targets, verdict := v.Look(…); verdict == Wait; … {
//			kill(targets)
//		}
//	}
//
// A certificate is a compare-and-set of the node's cell as it was read after
// the deaths ([Life.Certificate]): it needs no news of the agent's renewals, and
// can never hit the node's next life.
package vigil
