// Package scenario is the language in which the behaviour of distributed
// applications is written down, once for everything that has them: the pure
// machine in virtual time, real regent nodes, and real Erlang nodes. A scenario
// is a file of testdata; docs/conformance.md describes the language.
//
// Parse reads a file. An Engine makes a World of it, in which Play performs one
// statement after the other, checks what is expected and returns the Trace: what
// could be seen from outside, statement by statement. Differences compares two
// traces; what may differ is what the file itself expects to.
package scenario
