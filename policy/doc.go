// Package policy is the domain: its vocabulary, and the timeless rules that
// say what should run where.
//
// Here are the names of things (App, Epoch, Session, Revision), the
// specification of a distributed application (Spec), the records that the
// cluster agrees on (AppRecord, SessionRecord, Cell), the one proof of death
// (Slot and Ended) and the choice among candidates (Place).
//
// Nothing here knows the time, remembers anything or does I/O. What a node
// does with these rules over time is package manager/machine; how records
// become JSON in a JetStream bucket is package kv.
package policy
