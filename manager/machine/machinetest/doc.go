// Package machinetest runs whole clusters of machines in virtual time, on a
// store, a network and apps that are perfect except where a test says
// otherwise. The golden scenarios of the machine run in it, and those of
// tests/scenario, which real nodes and Erlang run too.
//
// It is deterministic: one event after the other, and the same run gives the
// same trace.
package machinetest
