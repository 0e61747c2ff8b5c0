// Package kv keeps the cluster's records in a JetStream KV bucket.
//
// # What it promises
//
// [Store.CAS] changes one cell by compare-and-set and reports one of three
// outcomes. OK and Refused say what happened; Unknown says that the write may
// have been applied, or may yet be: a timed-out CAS was seen to land seconds
// later. The store never repeats a request whose outcome is unknown; whoever
// called it may repeat the identical [policy.Write] within two minutes, and is
// told the revision of the first one. (The server does that by the message id,
// except that a stream with one replica refuses the repetition; CAS then finds
// the first one by reading.) A server's refusal alone is not Refused: two leaders
// may answer at once, when one that was cut off comes back, and the one refuses
// for want of the revision what the other applies. So Refused needs a later
// revision that is another write's; while there is none CAS goes on asking, with
// the same message, and at last says Unknown.
//
// [Store.Read] asks the leader of the bucket's stream. Its answer may be old
// for as long as a leader that was cut off has not noticed (10 s with stock
// timers): only an acknowledged CAS is proof of the present. Direct gets,
// which any replica answers, are never used, and the bucket forbids them.
//
// [Store.Watch] gives one picture of all cells: a snapshot, then every change
// without a gap. The bucket's stream republishes each stored message to a core
// NATS subject; Watch subscribes there first, loads the snapshot through the
// leader, and then expects stream sequences without a hole. A hole, a
// reconnect, or a difference from the leader that does not close by itself
// leads to a View that says Lost, followed by a new snapshot. (A JetStream
// consumer, on which KeyValue.Watch rests, stays silent for 10 to 18 s when
// its server dies.) Several states that one key went through before a snapshot
// appear as the last of them.
//
// [Ledger] keeps the history of transitions for people, in a stream of its
// own. Nothing is decided by it.
//
// # What the caller owes
//
// A message id is used for one request only. A context limits every call. The
// connection reconnects by itself and for ever; while it is down calls fail at
// once with [ErrDisconnected], so that whoever repeats them must pace itself.
//
// # What is stored
//
// Bucket regent_CLUSTER (stream KV_regent_CLUSTER), ten revisions of each key,
// values in JSON: app.APP and node.NODE, whose names are encoded as by
// node.Token, are the cells; identity is written once and, with the creation
// time of the stream, tells this bucket from another of the same name; probe
// is overwritten by [Store.Probe]. Other keys belong to other parts and only
// advance the sequence. Every record is republished as regent.CLUSTER.kv.KEY.
// Cells are never deleted by this package; one that was deleted by hand, or
// holds something else than a record, is read as damaged, with the reason.
package kv
