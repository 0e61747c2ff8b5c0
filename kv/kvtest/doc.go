// Package kvtest stands in for package kv where there is no NATS: Memory is a
// store of cells in memory, with the faults of the real one, and Conformance
// is the suite that both pass.
//
// Memory needs no time and starts no goroutine, so that it works inside
// testing/synctest and under a simulator.
package kvtest
