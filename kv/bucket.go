package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
)

// Options say which bucket, and how to reach it.
type Options struct {
	Cluster string // name of the cluster; required
	Node    string // who opens it: stands in identity and probe, for people

	// Replicas of the bucket: 1, 3 or 5. An existing one with fewer is taken as
	// it is, see Grow; one with more is refused. 0 takes any existing bucket,
	// and makes a new one with 3, or with 1 where there are fewer than three
	// servers: at once on a server that is not clustered, else after WaitFor.
	Replicas int

	// Fingerprint of the cluster's cookie, kept in the bucket so that a
	// cluster with another cookie is noticed. Empty: none is kept or compared.
	Fingerprint string

	// Accepted are fingerprints that are accepted too. Ensure puts Fingerprint
	// into the place of one of them, unless that has taken its place: then the
	// cluster is about to go on from Fingerprint, or has.
	Accepted []string

	// APIPrefix of JetStream; empty: "$JS.API". A domain has "$JS.NAME.API".
	APIPrefix string

	// WaitFor is how long Open goes on in spite of answers that mean failure
	// on settled servers and nothing on starting ones: no JetStream, too few
	// servers. 0: as long as the context lasts.
	WaitFor time.Duration

	// Waiting, if not nil, is told why Open has to wait, at every change.
	Waiting func(error)

	// Doubt, if not nil, is told what works and is not as it should be: one
	// line, and what to do about it.
	Doubt func(what, hint string)

	// Alternate gives a connection to another server than the first one's, for
	// writes that ask for it. It may return nil. Called for each such write.
	Alternate func() *nats.Conn

	// Recreate makes Watch create a bucket that has gone, and write an
	// identity that has gone. What it makes is another bucket, and seen as such.
	Recreate bool

	// Check is the period at which Watch compares its picture with the
	// leader's sequence. 0: 5 s, which bounds how long a lost change that is
	// the last one for a while stays unnoticed.
	Check time.Duration

	// Attempt limits one request to the JetStream API. 0: 400 ms, several
	// times what a leader needs under load, and well below an election.
	Attempt time.Duration
}

const (
	// MaxValue is the largest value in bytes. Read through the leader it
	// travels in base64, and must then fit the servers' 1 MiB per message.
	MaxValue = 512 << 10

	history     = 10              // revisions kept of each key
	dedupe      = 2 * time.Minute // how long message ids are remembered
	headerRoom  = 4 << 10         // the stream's limit counts headers too
	retryPause  = 50 * time.Millisecond
	identityKey = "identity"
	probeKey    = "probe"
)

// Store is the bucket of one cluster. Its methods may be called from any
// goroutine.
type Store struct {
	opts   Options
	api    api
	bucket string
	stream string
	prefix string // of subjects: "$KV.BUCKET."
	put    string // the same as writers say it: in another domain it comes after the API's

	mu       sync.Mutex
	own      string   // fingerprint, see Options.Fingerprint
	accepted []string // likewise
	replicas int
	identity policy.Identity
	made     bool // by this store, just now
}

// Open creates the bucket or checks that the existing one is ours, and goes on
// trying as long as the context lasts: before a leader exists requests are not
// answered. It fails with ErrForeignBucket, ErrOtherCookie, ErrNoRights,
// ErrNoSpace, ErrOldServer, ErrOverlap or ErrRejected at once, with ErrNoJetStream or ErrTooFewServers
// after Options.WaitFor, and with what it was waiting for when the context ends.
func Open(ctx context.Context, nc *nats.Conn, opts Options) (*Store, error) {
	s := newStore(nc, opts)
	if err := CheckServer(nc.ConnectedServerVersion()); err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", s.bucket, err)
	}
	if err := s.Ensure(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Bind is Open for those who only look: it creates nothing and fails with
// ErrNoBucket if there is none.
func Bind(ctx context.Context, nc *nats.Conn, opts Options) (*Store, error) {
	opts.Recreate = false
	s := newStore(nc, opts)
	err := s.persist(ctx, func(bool) error {
		if err := s.check(ctx); err != nil {
			return err
		}
		_, _, err := s.readIdentity(ctx)
		if errors.Is(err, errNoMessage) {
			return nil
		}
		return err
	}, ErrNoBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", s.bucket, err)
	}
	return s, nil
}

func newStore(nc *nats.Conn, opts Options) *Store {
	opts.Check = cmp.Or(opts.Check, 5*time.Second)
	bucket := "regent_" + opts.Cluster
	prefix := "$KV." + bucket + "."
	put := prefix
	if opts.APIPrefix != "" {
		put = opts.APIPrefix + "." + prefix
	}
	return &Store{
		opts:   opts,
		bucket: bucket,
		stream: "KV_" + bucket,
		prefix: prefix,
		put:    put,
		own:    opts.Fingerprint, accepted: opts.Accepted,
		api: api{
			nc:      nc,
			prefix:  cmp.Or(opts.APIPrefix, "$JS.API"),
			attempt: cmp.Or(opts.Attempt, 400*time.Millisecond),
		},
	}
}

// Bucket is the name as in nats kv ls.
func (s *Store) Bucket() string { return s.bucket }

// Identity is that of the bucket when it was last opened or ensured. Watch
// tells of changes.
func (s *Store) Identity() policy.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Ensure does the work of Open again, for a bucket that has gone. It fails as
// Open does.
func (s *Store) Ensure(ctx context.Context) error {
	err := s.persist(ctx, func(settled bool) error {
		if err := s.createOrCheck(ctx, settled); err != nil {
			return err
		}
		return s.ensureIdentity(ctx, false)
	})
	if err != nil {
		return fmt.Errorf("open bucket %q: %w", s.bucket, err)
	}
	return nil
}

// Turn lets the store go by another cookie: own and accepted are what Options
// have as Fingerprint and Accepted. If own is another one than before, or one is
// accepted no more, a bucket that has a cookie has own when Turn returns; after an
// error the store goes by what it went by.
func (s *Store) Turn(ctx context.Context, own string, accepted []string) error {
	was, before := s.cookies()
	dropped := func(fp string) bool { return fp != own && !slices.Contains(accepted, fp) }
	if own != was || slices.ContainsFunc(before, dropped) {
		s.setCookies(own, slices.Concat(accepted, before, []string{was})) // whichever stands there now
		if err := s.persist(ctx, func(bool) error { return s.ensureIdentity(ctx, true) }); err != nil {
			s.setCookies(was, before)
			return fmt.Errorf("bucket %q: another cookie: %w", s.bucket, err)
		}
	}
	s.setCookies(own, accepted)
	return nil
}

// cookies are the fingerprints of now.
func (s *Store) cookies() (own string, accepted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own, s.accepted
}

func (s *Store) setCookies(own string, accepted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own, s.accepted = own, accepted
}

// persist repeats try while its error is one that time may cure; final ones
// are not, beside those that never are. try is told whether WaitFor is over,
// so that what servers say is to be believed.
func (s *Store) persist(ctx context.Context, try func(settled bool) error, final ...error) error {
	final = append(final, ErrForeignBucket, ErrOtherCookie, ErrNoRights, ErrNoSpace, ErrOverlap, ErrRejected, nats.ErrConnectionClosed)
	begin := time.Now()
	told := ""
	for {
		settled := s.opts.WaitFor > 0 && time.Since(begin) >= s.opts.WaitFor
		err := try(settled)
		if err == nil || isAny(err, final) && !(isDisk(err) && time.Since(begin) < diskPatience) || settled && isAny(err, []error{ErrNoJetStream, ErrTooFewServers}) {
			return err
		}
		if why := err.Error(); why != told && s.opts.Waiting != nil {
			told = why
			s.opts.Waiting(err)
		}
		if pause(ctx, retryPause) != nil {
			return err
		}
	}
}

// diskPatience is how long a server may fail to make a stream's directory
// before that is believed: while it tidies up after its start, it may once.
const diskPatience = 3 * time.Second

func isDisk(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == codeStoreFailed
}

// pause waits for d or the end of ctx, and returns the latter's cause.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func isAny(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

func (s *Store) createOrCheck(ctx context.Context, settled bool) error {
	err := s.check(ctx)
	if !errors.Is(err, ErrNoBucket) {
		return err
	}
	want := s.config()
	err = s.create(ctx, want)
	if s.opts.Replicas == 0 && errors.Is(err, ErrTooFewServers) && (settled || notClustered(err)) {
		want.Replicas = 1
		err = s.create(ctx, want)
	}
	if err != nil && !errors.Is(err, errInUse) {
		return err
	}
	s.mu.Lock()
	s.made = err == nil
	s.mu.Unlock()
	return s.check(ctx) // as it is now, whoever was first
}

// Abandon removes the bucket if this store has made it and nothing stands in it
// yet: what it was made for can't be.
func (s *Store) Abandon(ctx context.Context) error {
	s.mu.Lock()
	made := s.made
	s.made = false
	s.mu.Unlock()
	if !made {
		return nil
	}
	info, err := s.api.info(ctx, s.stream, "")
	if err != nil || info.State.NumSubjects > 1 { // beside the identity
		return err
	}
	var resp struct{}
	return s.api.call(ctx, "STREAM.DELETE."+s.stream, struct{}{}, &resp)
}

// notClustered reports whether a server refused replicas because it is alone.
func notClustered(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == codeNotClustered
}

func (s *Store) create(ctx context.Context, c jetstream.StreamConfig) error {
	var resp jetstream.StreamInfo
	return s.api.call(ctx, "STREAM.CREATE."+c.Name, c, &resp)
}

// config is that of the bucket's stream, as a KV bucket has it, with what KV
// buckets can't be asked for: no direct gets (any replica answers them, from
// the past), republishing for Watch, and batches.
func (s *Store) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               s.stream,
		Description:        "regent cluster " + s.opts.Cluster + ": sessions (node.*) and ownership (app.*)",
		Subjects:           []string{s.prefix + ">"},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxConsumers:       -1,
		MaxMsgsPerSubject:  history,
		MaxMsgSize:         MaxValue + headerRoom,
		Storage:            jetstream.FileStorage,
		Replicas:           cmp.Or(s.opts.Replicas, 3),
		Duplicates:         dedupe,
		DenyDelete:         true,
		AllowRollup:        true,
		AllowAtomicPublish: true,
		RePublish:          &jetstream.RePublish{Source: s.prefix + ">", Destination: s.republished() + ">"},
	}
}

// republished is the prefix of the subjects that stored messages are sent to.
func (s *Store) republished() string { return "regent." + s.opts.Cluster + ".kv." }

// check compares the existing bucket with what it must be.
func (s *Store) check(ctx context.Context) error {
	info, err := s.api.info(ctx, s.stream, "")
	if err != nil {
		return err
	}
	if d := differences(info.Config, s.config(), s.opts.Replicas != 0); len(d) > 0 {
		return fmt.Errorf("%w: %s", ErrForeignBucket, strings.Join(d, "; "))
	}
	s.mu.Lock()
	first := s.replicas == 0
	s.replicas = info.Config.Replicas
	s.mu.Unlock()
	if first && s.opts.Doubt != nil && s.opts.Replicas == 0 && info.Config.Replicas == 1 && info.Cluster != nil && info.Cluster.Name != "" {
		s.opts.Doubt("the bucket has one replica in a cluster of NATS servers: without "+info.Cluster.Leader+" nothing starts, and what runs stops",
			"with three servers: nats stream edit "+s.stream+" --replicas 3")
	}
	return nil
}

// differences lists, for people, the settings that what is built on the stream
// relies on.
func differences(got, want jetstream.StreamConfig, replicas bool) []string {
	var d []string
	diff := func(setting string, got, want any) {
		if got != want {
			d = append(d, fmt.Sprintf("%s is %v, expected %v", setting, got, want))
		}
	}
	diff("subjects", fmt.Sprint(got.Subjects), fmt.Sprint(want.Subjects))
	diff("republish", republishText(got.RePublish), republishText(want.RePublish))
	diff("allow_direct", got.AllowDirect, want.AllowDirect)
	diff("storage", got.Storage, want.Storage)
	diff("retention", got.Retention, want.Retention)
	diff("discard", got.Discard, want.Discard)
	diff("max_age", got.MaxAge, want.MaxAge)
	diff("max_msgs", got.MaxMsgs, want.MaxMsgs)
	diff("max_bytes", got.MaxBytes, want.MaxBytes)
	diff("max_msgs_per_subject", got.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	diff("max_msg_size", got.MaxMsgSize, want.MaxMsgSize)
	diff("duplicate_window", got.Duplicates, want.Duplicates)
	diff("deny_delete", got.DenyDelete, want.DenyDelete)
	diff("allow_rollup_hdrs", got.AllowRollup, want.AllowRollup)
	diff("no_ack", got.NoAck, false)
	diff("sealed", got.Sealed, false)
	diff("mirror", got.Mirror != nil, false)
	diff("sources", len(got.Sources), 0)
	diff("subject_transform", got.SubjectTransform != nil, false)
	if replicas && got.Replicas > want.Replicas {
		diff("num_replicas", got.Replicas, want.Replicas)
	}
	return d
}

func republishText(r *jetstream.RePublish) string {
	if r == nil {
		return "off"
	}
	text := r.Source + " to " + r.Destination
	if r.HeadersOnly {
		text += " (headers only)"
	}
	return text
}

// identityJSON is the value of the key identity.
type identityJSON struct {
	ID        string `json:"id"`
	CreatedBy string `json:"created_by"`
	Cookie    string `json:"cookie_fingerprint,omitempty"`
	Before    string `json:"cookie_before,omitempty"` // whose place it has taken
	V         int    `json:"v"`
}

// ensureIdentity writes the random half of the identity if there is none, or
// only what is left of one, and remembers the whole. turn says that the cookie is
// to be ours whatever was before.
func (s *Store) ensureIdentity(ctx context.Context, turn bool) error {
	found, rev, err := s.readIdentity(ctx)
	own, _ := s.cookies()
	switch {
	case errors.Is(err, errNoMessage):
		found = identityJSON{ID: uuid.NewString(), CreatedBy: s.opts.Node, V: recordVersion}
	case err != nil || found.Cookie == "" || own == "" || found.Cookie == own || found.Before == own && !turn:
		return err
	}
	found.Cookie, found.Before = own, found.Cookie
	value, err := encodeJSON(found)
	if err != nil {
		return err
	}
	if _, outcome, err := s.CASKey(ctx, identityKey, value, rev, uuid.NewString()); outcome == policy.OutcomeUnknown {
		return err
	}
	found, _, err = s.readIdentity(ctx) // ours, or that of whoever was first
	if err == nil && turn && found.Cookie != own {
		return errCookieRaced
	}
	return err
}

// errCookieRaced: somebody has written another cookie meanwhile.
var errCookieRaced = errors.New("somebody else has written another cookie")

// readIdentity fails with errNoMessage if the key is absent, deleted or
// garbage; rev is then the revision to replace.
func (s *Store) readIdentity(ctx context.Context) (found identityJSON, rev policy.Revision, err error) {
	info, err := s.api.info(ctx, s.stream, "")
	if err != nil {
		return found, 0, err
	}
	msg, err := s.api.get(ctx, s.stream, getRequest{Last: s.prefix + identityKey})
	if err != nil {
		return found, 0, err
	}
	j, ok := parseIdentity(msg)
	if !ok {
		return found, msg.Seq, fmt.Errorf("key %s: %w", identityKey, errNoMessage)
	}
	if own, accepted := s.cookies(); own != "" && j.Cookie != "" && j.Cookie != own && !slices.Contains(accepted, j.Cookie) {
		return j, msg.Seq, fmt.Errorf("%w: fingerprint %s, ours is %s", ErrOtherCookie, j.Cookie, own)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = identityOf(info.Created, j.ID)
	return j, msg.Seq, nil
}

func parseIdentity(msg stored) (identityJSON, bool) {
	var j identityJSON
	if removed(header(msg.Header)) != "" || json.Unmarshal(msg.Data, &j) != nil {
		return identityJSON{}, false
	}
	return j, j.ID != ""
}

func identityOf(created time.Time, id string) policy.Identity {
	return policy.Identity(created.UTC().Format(time.RFC3339Nano) + "/" + id)
}
