// Command embedded is a program that is a node itself: the app, the node and
// the NATS server are one binary, made with package manager alone. Three of
// them are a cluster, and their counter runs on exactly one.
//
// In three terminals, in this directory:
//
//	go run . -name node1@lxw -config cluster.yaml -data data/1
//	go run . -name node2@lxw -config cluster.yaml -data data/2
//	go run . -name node3@lxw -config cluster.yaml -data data/3
//
// When the three have met, node1 counts. Kill it (kill -9), and after the
// timeout of cluster.yaml one of the others counts, from the beginning. Start
// it again, and it takes the counter over, with the count. Ctrl-C stops a node
// in good order.
//
// The program decides nothing about that. It registers what to run, and is told
// with every start why, and with which epoch: the number that tells a later
// instance from an earlier one, for whatever the app writes to.
package main
