// Package chaos breaks real clusters: "regent node" processes with their
// servers, each on a host of its own, and looks on from outside.
//
// A host is a network namespace, a PID namespace (so that no node can prove
// another host's death by looking, as it could not on another machine), a mount
// namespace and a cgroup. The hosts hang on a bridge in one more namespace, where
// a single nft table, always replaced as a whole, holds every fault of the network.
// Nothing is made in the namespaces of the machine. A host ends with its first
// process, and that ends with the test, however the test ends.
//
// Apps are processes with a child (stagehand). A recorder outside of all hosts,
// scheduled before everything else, holds a pidfd of each and writes down when
// it began and when it was gone. The records of the store are followed by a
// client that no fault touches, and clients on each host do compare-and-sets of
// their own. What all of them saw is a trace (package trace); package checkers
// judges it, and knows nothing else.
//
//	make chaos          all rows, some minutes; needs root, ip and nft
//	make chaos-short    those of CI
//	make soak           faults at random, DURATION=, SEED=
//
// Without these verbs, or without root, the tests here skip and say so.
package chaos
