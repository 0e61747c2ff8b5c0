// Package external tests nodes on somebody else's NATS: real nats-server
// processes with configuration files as an operator writes them, the real
// program as nodes, and shell scripts as apps; and the ways from servers inside
// the nodes to others, fewer or more.
//
// What is tested is what users see: exit codes, the status document, the
// records in the bucket, and what the apps themselves wrote down, one line for
// every start. An app takes a lock that the kernel frees when the last process
// of its group is gone, and writes a line when it can't: two instances at once
// don't go unnoticed, however short.
package external
