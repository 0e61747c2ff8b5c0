// Package metrics counts what happens on one node, and shows it to Prometheus.
//
// It is fed from two sides and asks nobody for anything that could block: lines
// of history and the outcomes of writes are pushed ([Metrics.Noted],
// [Metrics.Wrote], [Metrics.Heard]); what is true at the moment is read from
// snapshots when somebody looks ([Source]). Each node shows what it has done and
// seen itself: sums over the nodes of a cluster are for whoever collects them.
//
// All names stand in names.go, and in docs/operations.md with what they mean.
package metrics
