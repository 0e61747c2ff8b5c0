// Command fencing is an app that guards what it writes with its epoch: a ledger
// in a JetStream stream, of which at most one instance may ever be the author.
// An instance that has lost its right to run and does not know it yet, because
// its machine stood still, is refused by the server at its next write.
//
// It is an ordinary program with the stock NATS client. All that it knows of
// regent is in its environment. README.md has how to run it.
package main
