package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What can go wrong, as callers tell it apart. Every error of this package
// wraps one of these or ErrNoRecord; Hint has a line for each that a person
// can act on.
var (
	// ErrNoAnswer: nothing came back in time. What was asked for may have
	// happened, or may yet.
	ErrNoAnswer = errors.New("no answer from JetStream")
	// ErrDisconnected: the connection to NATS is down or was lost.
	ErrDisconnected = errors.New("not connected to NATS")
	// ErrNoQuorum: the servers are there and have no leader for the stream.
	ErrNoQuorum = errors.New("JetStream has no leader")
	// ErrNoJetStream: the servers, or this account, have no JetStream.
	ErrNoJetStream = errors.New("JetStream is not available")
	// ErrNoRights: the server forbids this user what was asked for.
	ErrNoRights = errors.New("permission denied by the NATS server")
	// ErrNoBucket: there is no such bucket or stream (any more).
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrForeignBucket: a bucket or stream of that name was made by something
	// else; the message lists the differences.
	ErrForeignBucket = errors.New("bucket has other settings")
	// ErrOtherCookie: the bucket belongs to a cluster with another cookie.
	ErrOtherCookie = errors.New("bucket belongs to a cluster with another cookie")
	// ErrTooFewServers: the replicas asked for don't fit the servers there are.
	ErrTooFewServers = errors.New("not enough JetStream servers for the replicas")
	// ErrOldServer: the server is older than what this was written for.
	ErrOldServer = errors.New("NATS server is too old")
	// ErrNoSpace: the servers or the account have no room left.
	ErrNoSpace = errors.New("JetStream has no room left")
	// ErrTooLarge: the value is larger than MaxValue; it was not sent.
	ErrTooLarge = errors.New("value is too large")
	// ErrOverlap: another stream has subjects that this one needs.
	ErrOverlap = errors.New("another stream of this account has these subjects")
	// ErrRejected: the server refused for another reason, which the message
	// gives.
	ErrRejected = errors.New("refused by JetStream")

	errNoMessage = errors.New("no message found")
	errInUse     = errors.New("stream name already in use")
	errConflict  = errors.New("wrong last revision")
	errBusy      = fmt.Errorf("%w: another write of the key is in process", ErrNoAnswer)
	errStale     = fmt.Errorf("%w: refused by a leader that has not seen the revision", ErrNoAnswer)
	errUnclear   = fmt.Errorf("%w: reply not understood", ErrNoAnswer)
)

// Error codes of the JetStream API (errors.json of nats-server 2.15).
var apiErrors = map[jetstream.ErrorCode]error{
	10005: ErrTooFewServers, // no suitable peers for placement
	10008: ErrNoQuorum,      // JetStream system temporarily unavailable
	10009: ErrNoQuorum,      // JetStream cluster can not handle request
	10023: ErrNoSpace,       // insufficient resources
	10028: ErrNoSpace,       // insufficient memory
	10035: ErrNoJetStream,   // account not found
	10037: errNoMessage,
	10039: ErrNoJetStream, // not enabled for account
	10047: ErrNoSpace,     // insufficient storage
	10054: ErrTooLarge,    // message size exceeds maximum allowed
	10058: errInUse,       // stream name in use with a different configuration
	10059: ErrNoBucket,    // stream not found
	10065: ErrOverlap,     // subjects overlap with an existing stream
	10071: errConflict,    // wrong last sequence: N
	10074: ErrTooFewServers,
	10076: ErrNoJetStream, // not enabled
	10118: ErrNoQuorum,    // stream is offline
	10158: errBusy,        // duplicate message id is in process
	10164: errBusy,        // wrong last sequence, without a number: in process
}

// codeNotClustered is the refusal of several replicas by a server on its own.
const codeNotClustered jetstream.ErrorCode = 10074

// codeStoreFailed: error creating store for stream.
const codeStoreFailed jetstream.ErrorCode = 10049

// fromAPI gives an answer of the JetStream API its meaning.
func fromAPI(e *jetstream.APIError) error {
	kind, ok := apiErrors[e.ErrorCode]
	if !ok {
		kind = ErrRejected
	}
	return fmt.Errorf("%w (%w)", kind, e)
}

// fromConn gives a failed request its meaning. nobody is what it means that
// the server found no subscriber for the subject.
func fromConn(nc *nats.Conn, subject string, nobody, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w (%w)", nobody, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, nats.ErrTimeout):
		if last := nc.LastError(); forbids(last, subject) {
			return fmt.Errorf("%w (%w)", ErrNoRights, last)
		}
		if !nc.IsConnected() {
			return fmt.Errorf("%w (%w)", ErrDisconnected, err)
		}
		return fmt.Errorf("%w (%w)", ErrNoAnswer, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w (%w)", ErrTooLarge, err)
	}
	return fmt.Errorf("%w (%w)", ErrDisconnected, err)
}

// forbids reports whether the server's last complaint was about publishing to
// subject: a forbidden request is not answered, it only times out.
func forbids(last error, subject string) bool {
	return errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), `"`+subject+`"`)
}

var hints = []struct {
	err  error
	hint string
}{
	{ErrNoRights, "give this user the permissions that docs/deploy.md lists, and regent cookie creds --stanza prints"},
	{ErrOldServer, "upgrade the NATS servers to " + serverMin + " or later"},
	{ErrNoJetStream, "start the NATS servers with JetStream (jetstream {} in the configuration, or -js), and enable it for this account"},
	{ErrForeignBucket, "if it is this cluster's, put its settings back with nats stream edit; else choose another --cluster name, or remove it"},
	{ErrOverlap, "find it with nats stream ls --subject, and take regent.> and $KV.> out of its subjects, or use an account of its own"},
	{ErrOtherCookie, "use this cluster's cookie, or choose another --cluster name"},
	{ErrTooFewServers, "start the missing JetStream servers; replicas need as many servers as there are replicas"},
	{ErrNoSpace, "free disk space on the servers, or raise the limits of JetStream or of this account"},
	{ErrNoQuorum, "start the missing servers: a majority must run and reach one another"},
	{ErrDisconnected, "check that the NATS servers run and can be reached from here"},
	{ErrNoAnswer, "check that a majority of the JetStream servers runs, and that this user may use $JS.API.>"},
	{ErrNoBucket, "start a node of this cluster: the first one makes the bucket"},
	{ErrTooLarge, "hand over less when the app stops"},
}

// Hint is a line that says what to do about err, or "".
func Hint(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}
