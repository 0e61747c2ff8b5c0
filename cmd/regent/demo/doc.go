// Package demo is the rehearsal of "regent demo": three real nodes on this
// machine, of which one is killed and comes back.
//
// The nodes are processes of the program itself, with the classic
// configuration files unchanged and a second file that gives the app a command
// and the cluster free ports. They live in a temporary directory, with a cookie
// and an environment of their own: nothing of the caller's configuration is
// used or touched.
//
// Nothing is believed because a node says so. Each step is checked from
// outside: in the log that the app itself writes, and in the ownership record,
// read as any NATS client would read it. The first step that is not observed
// ends the demo with what was missing.
//
// When Run returns no process and no file of it is left. The nodes die with the
// demo even if it is killed (Linux), the apps with their nodes; an app whose
// log has gone ends by itself.
package demo
