package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/policy"
)

const (
	// viewBuffer is how many republished messages may wait while a snapshot is
	// loaded. What doesn't fit is lost, seen as a hole, and loaded again.
	viewBuffer = 8192
	// viewGrace is how long a republished message may take longer than the
	// answer of the leader that mentions it.
	viewGrace = 250 * time.Millisecond
	// Pauses between failed snapshots: short, since failovers wait for them.
	viewRetry, viewRetryMax = 50 * time.Millisecond, 500 * time.Millisecond
	// snapshotReaders read cells at the same time: 1000 cells take 50 ms.
	snapshotReaders = 16
	// snapshotSteps limits the changes that a snapshot runs after.
	snapshotSteps = 10000
	// checkFailures in a row make a picture doubtful: one may be an election.
	checkFailures = 2
)

// Watch calls deliver with the picture of the bucket until ctx ends, and
// returns the cause of that, or ErrDisconnected when the connection was closed
// for good. Calls come one after the other, from this goroutine.
//
// The first View is a Snapshot, or says Lost as long as none can be had. A
// Snapshot holds everything acknowledged before it was begun: it needs a
// quorum, and the state of a leader that was cut off is never taken for one.
// Every change then comes in order, its Seq one higher; a change of a key that
// is no cell has no cells. After Lost the next View is another Lost or a
// Snapshot, whose Identity or Seq show a bucket that was replaced or went back.
// Identity is empty while the bucket has no readable one.
func (s *Store) Watch(ctx context.Context, deliver func(policy.View)) error {
	w := &watch{
		store:   s,
		deliver: deliver,
		msgs:    make(chan *nats.Msg, viewBuffer),
		status:  s.api.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED),
	}
	defer s.api.nc.RemoveStatusListener(w.status)
	sub, err := s.api.nc.ChanSubscribe(s.republished()+">", w.msgs)
	if err != nil {
		return fmt.Errorf("watch %q: %w (%w)", s.bucket, ErrDisconnected, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection, which has no subscriptions
	for {
		if err := w.load(ctx); err != nil {
			return fmt.Errorf("watch %q: %w", s.bucket, err)
		}
		lost := w.follow(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("watch %q: %w", s.bucket, context.Cause(ctx))
		}
		w.lose(lost)
	}
}

// watch is the state of one Watch.
type watch struct {
	store   *Store
	deliver func(policy.View)
	msgs    chan *nats.Msg
	status  chan nats.Status

	picture
	lost string // the reason that was delivered last; empty: the picture is current
}

// picture is what is known of the bucket up to and including seq.
type picture struct {
	created  time.Time
	identity policy.Identity
	seq      policy.Revision
	keys     map[string]policy.Revision // the last revision of every key, cells or not
}

func (w *watch) lose(why string) {
	if why == w.lost {
		return
	}
	w.lost = why
	w.deliver(policy.View{Lost: why, Identity: w.identity, Seq: w.seq})
}

// load delivers a snapshot, however long it takes to get one. Its error ends
// the watch.
func (w *watch) load(ctx context.Context) error {
	wait := viewRetry
	for {
		err := w.tryLoad(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrConnectionClosed):
			return err
		}
		w.lose(err.Error())
		if !w.idle(ctx, wait) {
			wait = min(2*wait, viewRetryMax)
		}
	}
}

// idle waits for d, or less if the connection comes back.
func (w *watch) idle(ctx context.Context, d time.Duration) (back bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case st := <-w.status:
		return st == nats.CONNECTED
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (w *watch) tryLoad(ctx context.Context) error {
	p, cells, err := w.store.snapshot(ctx)
	if w.store.opts.Recreate && (errors.Is(err, ErrNoBucket) || err == nil && p.identity == "") {
		if err := w.recreate(ctx); err != nil {
			return err
		}
		p, cells, err = w.store.snapshot(ctx)
	}
	if err != nil {
		return err
	}
	w.picture, w.lost = p, ""
	w.deliver(policy.View{Snapshot: true, Identity: p.identity, Seq: p.seq, Cells: cells})
	return nil
}

func (w *watch) recreate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	return w.store.Ensure(ctx)
}

// follow delivers changes until one is missing or may be.
func (w *watch) follow(ctx context.Context) (lost string) {
	ctx, cancel := context.WithCancel(ctx)
	var checks checker
	defer checks.wg.Wait()
	defer cancel()
	checks.done = make(chan checked, 1)
	tick := time.NewTicker(w.store.opts.Check)
	defer tick.Stop()
	var grace <-chan time.Time // nil: nothing is overdue
	var due policy.Revision
	for lost == "" && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case st := <-w.status:
			lost = connectionLost(st)
		case m := <-w.msgs:
			var doubt bool
			if doubt, lost = w.absorb(m); doubt {
				checks.start(ctx, w)
			}
		case <-tick.C:
			checks.start(ctx, w)
		case c := <-checks.done:
			var again bool
			if again, lost = checks.judge(c, w); again {
				checks.start(ctx, w)
			}
			if grace == nil && checks.expect > w.seq {
				grace, due = time.After(viewGrace), checks.expect
			}
		case <-grace:
			grace = nil
			if due > w.seq {
				lost = fmt.Sprintf("missed changes: at %d, the leader is at %d or later", w.seq, due)
			}
		}
	}
	return lost
}

// connectionLost is why a change of the connection's state makes the picture
// doubtful. One that is connected again was not before, whatever was told.
func connectionLost(st nats.Status) string {
	if st == nats.CONNECTED {
		return "reconnected to NATS"
	}
	return ErrDisconnected.Error()
}

// absorb takes one republished message into the picture. doubt asks for a look
// at the leader.
func (w *watch) absorb(m *nats.Msg) (doubt bool, lost string) {
	key, seq, ok := w.store.parseRepublished(m)
	switch {
	case !ok:
		return true, "" // not from the server
	case seq > w.seq+1:
		return false, fmt.Sprintf("missed changes: %d came after %d", seq, w.seq)
	case seq <= w.seq && seq > w.keys[key]:
		return false, fmt.Sprintf("history of the bucket changed: %s has revision %d, which is not in the picture at %d", key, seq, w.seq)
	case seq <= w.seq:
		// A repetition: buffered while the snapshot was loaded, or sent by two
		// leaders after one another. Or the bucket went back.
		return seq != w.keys[key], ""
	case key == identityKey:
		return false, "the identity of the bucket was written"
	}
	w.seq, w.keys[key] = seq, seq
	v := policy.View{Identity: w.identity, Seq: seq}
	if k, ok := keyOf(key); ok {
		v.Cells = []policy.Cell{republishedCell(k, seq, m)}
	}
	w.deliver(v)
	return false, ""
}

func republishedCell(k policy.Key, seq policy.Revision, m *nats.Msg) policy.Cell {
	if why := removed(m.Header); why != "" {
		return damaged(k, seq, why)
	}
	return decode(k, seq, m.Data)
}

// parseRepublished reads the headers that the stream adds when it republishes.
// It adds them behind those of the message, which may have the same names.
// (Nats-Last-Sequence is of no use here: it is the previous one of the same
// key, while the stream's sequences have no gaps at all.)
func (s *Store) parseRepublished(m *nats.Msg) (key string, seq policy.Revision, ok bool) {
	key, ours := strings.CutPrefix(lastOf(m.Header, jetstream.SubjectHeader), s.prefix)
	n, err := strconv.ParseUint(lastOf(m.Header, jetstream.SequenceHeader), 10, 64)
	ours = ours && lastOf(m.Header, jetstream.StreamHeader) == s.stream
	return key, policy.Revision(n), ours && err == nil && n > 0
}

func lastOf(h nats.Header, name string) string {
	v := h.Values(name)
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// checked is what the leader said, and the picture before it was asked.
type checked struct {
	info *jetstream.StreamInfo
	err  error
	seq  policy.Revision
	keys int
}

// checker compares the picture with the leader, beside the flow of changes:
// while a leader is elected its answer takes long or doesn't come.
type checker struct {
	wg       sync.WaitGroup
	done     chan checked
	running  bool
	failures int
	expect   policy.Revision // the leader has been here
}

func (c *checker) start(ctx context.Context, w *watch) {
	if c.running {
		return
	}
	c.running = true
	store, got := w.store, checked{seq: w.seq, keys: len(w.keys)}
	c.wg.Go(func() {
		got.info, got.err = store.api.info(ctx, store.stream, "")
		c.done <- got
	})
}

func (c *checker) judge(got checked, w *watch) (again bool, lost string) {
	c.running = false
	if got.err != nil {
		c.failures++
		if c.failures < checkFailures && !errors.Is(got.err, ErrNoBucket) {
			return true, ""
		}
		return false, got.err.Error()
	}
	c.failures = 0
	last := policy.Revision(got.info.State.LastSeq)
	switch {
	case !got.info.Created.Equal(w.created):
		return false, "another bucket is in its place"
	case last < got.seq:
		return false, fmt.Sprintf("the leader is at %d, the picture at %d", last, got.seq)
	case int(got.info.State.NumSubjects) < got.keys:
		return false, "keys were removed from the bucket" // which makes no change that is republished
	}
	c.expect = last
	return false, ""
}

// snapshot loads the whole bucket through the stream's leader, as it was at
// one sequence. It begins with a write of its own, since nothing else tells a
// leader from one that was cut off and doesn't know: what such a one answers
// is older than the write, and refused. What changes while the cells are read
// one by one is read after them.
func (s *Store) snapshot(ctx context.Context) (picture, []policy.Cell, error) {
	l, created, err := s.load(ctx)
	if err != nil {
		return picture{}, nil, err
	}
	p, cells := l.result(created)
	return p, cells, nil
}

// load reads the bucket as snapshot says.
func (s *Store) load(ctx context.Context) (*loading, time.Time, error) {
	proof, err := s.Probe(ctx)
	info, infoErr := s.api.info(ctx, s.stream, s.prefix+">")
	if infoErr != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", infoErr)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", err)
	}
	at := policy.Revision(info.State.LastSeq)
	if at < proof {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w: what answers is at %d, the leader at %d", ErrNoQuorum, at, proof)
	}
	l := &loading{store: s, messages: make(map[string]stored, len(info.State.Subjects)), seq: at}
	if err := l.readAll(ctx, info.State.Subjects); err != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", err)
	}
	if err := l.catchUp(ctx); err != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", err)
	}
	return l, info.Created, nil
}

// loading is a snapshot being read: the newest message seen of each subject.
type loading struct {
	store *Store
	seq   policy.Revision // everything up to here is in messages, or superseded

	mu       sync.Mutex
	messages map[string]stored
}

func (l *loading) add(m stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Seq > l.messages[m.Subject].Seq {
		l.messages[m.Subject] = m
	}
}

// readAll reads the last message of every subject. A subject that has none any
// more was purged in between.
func (l *loading) readAll(ctx context.Context, subjects map[string]uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan string, len(subjects))
	for subject := range subjects {
		todo <- subject
	}
	close(todo)
	var wg sync.WaitGroup
	for range min(snapshotReaders, len(subjects)) {
		wg.Go(func() {
			for subject := range todo {
				if err := l.readLast(ctx, subject); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (l *loading) readLast(ctx context.Context, subject string) error {
	m, err := l.store.api.get(ctx, l.store.stream, getRequest{Last: subject})
	switch {
	case errors.Is(err, errNoMessage):
		return nil
	case err != nil:
		return err
	}
	l.add(m)
	return nil
}

// catchUp reads on from seq until there is nothing more. Then seq is the
// leader's last, and what was superseded on the way stands behind it.
func (l *loading) catchUp(ctx context.Context) error {
	for range snapshotSteps {
		m, err := l.store.api.get(ctx, l.store.stream, getRequest{Next: l.store.prefix + ">", Seq: l.seq + 1})
		switch {
		case errors.Is(err, errNoMessage):
			return l.consistent()
		case err != nil:
			return err
		}
		l.add(m)
		l.seq = m.Seq
	}
	return fmt.Errorf("%w: the bucket changes faster than it can be read", ErrNoAnswer)
}

// consistent refuses a mixture of answers by two leaders.
func (l *loading) consistent() error {
	for subject, m := range l.messages {
		if m.Seq > l.seq {
			return fmt.Errorf("%w: %s is at %d, the leader at %d", ErrNoQuorum, subject, m.Seq, l.seq)
		}
	}
	return nil
}

func (l *loading) result(created time.Time) (picture, []policy.Cell) {
	p := picture{created: created, seq: l.seq, keys: make(map[string]policy.Revision, len(l.messages))}
	var cells []policy.Cell
	for subject, m := range l.messages {
		key := strings.TrimPrefix(subject, l.store.prefix)
		p.keys[key] = m.Seq
		if k, ok := keyOf(key); ok {
			cells = append(cells, cellOf(k, m))
		}
	}
	if id, ok := parseIdentity(l.messages[l.store.prefix+identityKey]); ok {
		p.identity = identityOf(created, id.ID)
	}
	slices.SortFunc(cells, func(a, b policy.Cell) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return p, cells
}
