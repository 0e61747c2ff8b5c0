package proc

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Message is what a mailbox holds: a Msg, *Request, Down, ExitSignal, NodeUp,
// NodeDown, Joined or Left.
type Message interface{ isMessage() }

// Msg is what somebody sent. From is zero if that was no process.
type Msg struct {
	From PID
	Payload
}

func (Msg) isMessage() {}

// Full is what a full mailbox does with what comes next. Messages of the
// system itself (Down, ExitSignal and so on) always have room: there are no
// more of them than the process has asked for.
type Full byte

// Policies of a full mailbox. A call to a full mailbox is told ErrMailboxFull,
// whatever the policy, unless an older message makes room.
const (
	FullDropNew Full = iota // what comes is dropped, and counted
	FullDropOld             // the oldest message is dropped, and counted
	FullExit                // the process ends with MailboxFull
)

// Mailbox says how much a mailbox holds. Zeros are the defaults.
type Mailbox struct {
	Messages int // default 10 000
	Bytes    int // of payloads; default 64 MiB
	Full     Full
}

const (
	mailboxMessages = 10_000
	mailboxBytes    = 64 << 20
)

func (m Mailbox) orDefault() Mailbox {
	if m.Messages <= 0 {
		m.Messages = mailboxMessages
	}
	if m.Bytes <= 0 {
		m.Bytes = mailboxBytes
	}
	return m
}

// mailbox is a queue with one reader.
type mailbox struct {
	limit Mailbox
	wake  chan struct{} // holds a token while there may be something new

	mu      sync.Mutex
	closed  bool
	queue   []letter // from head on
	head    int
	last    uint64               // id of the last letter
	count   int                  // of the letters that count against the limit
	bytes   int                  // of those
	owed    map[callKey]struct{} // requests that are not answered yet
	dropped uint64
	drops   *atomic.Uint64 // of all mailboxes of the system

	read  uint64      // letters that the reader has taken
	stuck bool        // it has taken none for long
	crowd atomic.Bool // more than half full, and the reader reads: see hold
}

// letter is a message in a mailbox.
type letter struct {
	Message
	id     uint64
	size   int
	counts bool // against the limit: see Full
}

func newMailbox(limit Mailbox, drops *atomic.Uint64) *mailbox {
	return &mailbox{limit: limit.orDefault(), wake: make(chan struct{}, 1), drops: drops}
}

func (b *mailbox) letter(m Message) letter {
	b.last++
	l := letter{Message: m, id: b.last}
	switch m := m.(type) {
	case Msg:
		l.size, l.counts = len(m.Data), true
	case *Request:
		l.size, l.counts = len(m.Data), true
	}
	return l
}

// put is what became of a message.
type put byte

const (
	putOK     put = iota
	putFull       // dropped
	putExit       // dropped, and the process has to end
	putClosed     // there is no process any more
)

// put adds m. If it is a request its answer is owed from now on. The requests
// that had to make room are returned: their callers have to be told.
func (b *mailbox) put(m Message) (put, []callKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return putClosed, nil
	}
	l := b.letter(m)
	var evicted []callKey
	for b.full(l) {
		if b.limit.Full == FullDropOld && b.dropOldest(&evicted) {
			continue
		}
		b.drop()
		if b.limit.Full == FullExit {
			return putExit, evicted
		}
		return putFull, evicted
	}
	b.add(l)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return putOK, evicted
}

// owe notes a call that the result of the process answers.
func (b *mailbox) owe(key callKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owed == nil {
		b.owed = map[callKey]struct{}{}
	}
	b.owed[key] = struct{}{}
}

func (b *mailbox) full(l letter) bool {
	return l.counts && (b.count >= b.limit.Messages || b.bytes+l.size > b.limit.Bytes && b.count > 0)
}

func (b *mailbox) add(l letter) {
	if l.counts {
		b.count++
		b.bytes += l.size
	}
	if r, ok := l.Message.(*Request); ok {
		if b.owed == nil {
			b.owed = map[callKey]struct{}{}
		}
		b.owed[r.key] = struct{}{}
	}
	if b.head > 32 && b.head*2 > len(b.queue) {
		n := copy(b.queue, b.queue[b.head:])
		clear(b.queue[n:])
		b.queue, b.head = b.queue[:n], 0
	}
	b.queue = append(b.queue, l)
	b.crowd.Store(b.crowded())
}

func (b *mailbox) crowded() bool {
	return !b.closed && !b.stuck && (2*b.count > b.limit.Messages || 2*b.bytes > b.limit.Bytes)
}

// readerMax is how long a reader may take nothing before nobody waits for it.
const readerMax = 50 * time.Millisecond

// relieved waits until the mailbox is no longer crowded, as long as its reader
// reads, and at most for a while.
func (b *mailbox) relieved(ctx context.Context, most time.Duration) {
	begun := time.Now()
	last, lastAt := uint64(0), begun
	for b.crowd.Load() && time.Since(begun) < most && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
		b.mu.Lock()
		switch {
		case b.read != last:
			last, lastAt = b.read, time.Now()
		case time.Since(lastAt) > readerMax:
			b.stuck = true
			b.crowd.Store(false)
		}
		b.mu.Unlock()
	}
}

// dropOldest removes the first message that counts.
func (b *mailbox) dropOldest(evicted *[]callKey) bool {
	for i := b.head; i < len(b.queue); i++ {
		if !b.queue[i].counts {
			continue
		}
		b.drop()
		if r, ok := b.take(i).(*Request); ok {
			if _, owed := b.owed[r.key]; owed {
				delete(b.owed, r.key)
				*evicted = append(*evicted, r.key)
			}
		}
		return true
	}
	return false
}

func (b *mailbox) drop() {
	b.dropped++
	b.drops.Add(1)
}

// hand gives the reader the letter at i.
func (b *mailbox) hand(i int) Message {
	m := b.take(i)
	b.read++
	b.stuck = false
	b.crowd.Store(b.crowded())
	return m
}

// take removes the letter at i.
func (b *mailbox) take(i int) Message {
	l := b.queue[i]
	if l.counts {
		b.count--
		b.bytes -= l.size
	}
	if i == b.head {
		b.queue[i] = letter{}
		b.head++
	} else {
		copy(b.queue[i:], b.queue[i+1:])
		b.queue[len(b.queue)-1] = letter{}
		b.queue = b.queue[:len(b.queue)-1]
	}
	if b.head == len(b.queue) {
		b.queue, b.head = b.queue[:0], 0
	}
	return l.Message
}

// pick takes the first message that matches, waiting for one. nil matches all.
func (b *mailbox) pick(ctx context.Context, match func(Message) bool) (Message, error) {
	var after uint64 // letters up to this id don't match
	for {
		m := b.tryPick(match, &after)
		if m != nil {
			return m, nil
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (b *mailbox) tryPick(match func(Message) bool, after *uint64) Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if match == nil {
		if b.head == len(b.queue) {
			return nil
		}
		return b.hand(b.head)
	}
	for i := b.head; i < len(b.queue); i++ {
		l := b.queue[i]
		if l.id <= *after {
			continue
		}
		*after = l.id
		if b.matches(match, l) {
			// What was dropped meanwhile is gone; what came is behind.
			for j := b.head; j < len(b.queue); j++ {
				if b.queue[j].id == l.id {
					return b.hand(j)
				}
			}
		}
		i = b.before(*after)
	}
	return nil
}

// matches asks the program without the lock, since it may do anything.
func (b *mailbox) matches(match func(Message) bool, l letter) bool {
	b.mu.Unlock()
	defer b.mu.Lock()
	return match(l.Message)
}

// before is the index of the last letter up to an id.
func (b *mailbox) before(id uint64) int {
	n, _ := slices.BinarySearchFunc(b.queue[b.head:], id+1, func(l letter, id uint64) int { return cmp.Compare(l.id, id) })
	return b.head + n - 1
}

// close refuses what comes from now on, and returns the requests that will
// never be answered.
func (b *mailbox) close() []callKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	owed := slices.Collect(maps.Keys(b.owed))
	b.queue, b.head, b.owed, b.count, b.bytes = nil, 0, nil, 0, 0
	b.crowd.Store(false)
	return owed
}

// answers reports whether the answer to key is still owed, and strikes it off.
func (b *mailbox) answers(key callKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, owed := b.owed[key]
	delete(b.owed, key)
	return owed
}

// Stats of a mailbox.
func (b *mailbox) stats() (waiting int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) - b.head, b.dropped
}
