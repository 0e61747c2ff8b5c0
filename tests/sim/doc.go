// Package sim runs whole lives of clusters in simulated time: several
// machines, a store, a network, app processes and everything that can go wrong
// with them, all from one number, the seed. The same seed gives the same life,
// event by event.
//
// A life is a series of rounds. In each, faults of a few kinds happen at random
// rates while package checkers watches for unsafe steps; then everything is
// healed, and the cluster must come to rest with each app where it belongs.
//
//	go test ./tests/sim                                  some hundred lives
//	go test ./tests/sim -run TestSeed$ -seed=17 -v        one life, event by event
//	make sim                                             a soak: -seeds -hours -duration -from
//	make teeth                                           are broken protocols caught?
//
// What is real here is the machine. What is assumed is what docs/protocol.md
// says of the world: the store is linearizable per key, clocks differ in rate
// by at most one in a thousand, a killed process is gone within Lease.Kill, a
// timer fires at most Lease.Late late. Everything else is hostile.
package sim
