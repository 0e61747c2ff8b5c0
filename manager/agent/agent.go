package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Options are what a node is made of. All ports are needed.
type Options struct {
	Machine machine.Config // NewID, Wall and Agent are filled in by New where empty
	Cluster string

	Store   Store
	Bus     Bus
	Ledger  Ledger
	Disk    Disk
	Prover  Prover
	Runners Runners
	Clock   Clock
	Last    LastResort // nil: nothing ends an agent that stands still
	Journal Journal    // nil: lines that the ledger has not taken end with the process
	Logger  *slog.Logger

	Observer Observer

	Args   func(policy.App) []byte         // JSON start arguments of an app
	Phases func(policy.App) []policy.Phase // start phases of a local app
}

// ErrOptions is wrapped by the errors of New.
var ErrOptions = errors.New("invalid node options")

// Exit is how a node ended.
type Exit struct {
	Code   int
	Reason string
	Hint   string
}

// Agent runs one node. Its methods may be called from any goroutine.
type Agent struct {
	opts    Options
	log     *slog.Logger
	machine *machine.Machine // touched by the loop alone
	inbox   *inbox
	status  atomic.Pointer[machine.Status]
	changed atomic.Pointer[chan struct{}] // closed when status is replaced

	calls   sync.Map // machine.CallID → chan *machine.Refusal
	callSeq atomic.Uint64

	runs map[machine.RunID]app.Instance // of the loop: those whose end it was not told yet
	work sync.WaitGroup                 // goroutines that perform actions

	disk       chan machine.Remember // holds the newest that is not begun
	out        chan outgoing
	beatsLost  atomic.Uint64
	history    history
	checkpoint time.Duration // how long the loop sleeps at most
	turned     atomic.Int64  // when it turned last

	exit *Exit
	done chan struct{}
}

// New makes a node whose barrier begins when Run is called.
func New(opts Options) (*Agent, error) {
	switch {
	case opts.Store == nil, opts.Bus == nil, opts.Ledger == nil, opts.Disk == nil,
		opts.Prover == nil, opts.Runners == nil, opts.Clock == nil:
		return nil, fmt.Errorf("%w: a port is missing", ErrOptions)
	case opts.Machine.Self == "":
		return nil, fmt.Errorf("%w: no node name", ErrOptions)
	}
	if err := opts.Machine.Lease.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Machine.NewID == nil {
		opts.Machine.NewID = uuid.NewString
	}
	if opts.Machine.Agent == "" {
		opts.Machine.Agent = policy.Nonce(uuid.NewString())
	}
	opts.Machine.Wall = opts.Clock.Wall
	n := &Agent{
		opts: opts, log: opts.Logger, inbox: newInbox(),
		runs:       map[machine.RunID]app.Instance{},
		disk:       make(chan machine.Remember, 1),
		out:        make(chan outgoing, beatsOutMax),
		history:    newHistory(opts.Machine.Agent),
		checkpoint: min(lookEvery, opts.Machine.Lease.Late),
		done:       make(chan struct{}),
	}
	n.status.Store(&machine.Status{Node: opts.Machine.Self})
	n.turned.Store(int64(opts.Clock.Now()))
	first := make(chan struct{})
	n.changed.Store(&first)
	return n, nil
}

// Name is the node's name.
func (n *Agent) Name() node.Name { return n.opts.Machine.Self }

// Post tells the node an event from an adapter. It never blocks.
func (n *Agent) Post(ev machine.Event) { n.inbox.post(ev) }

// Status is what the node knows, at most some 20 ms old and never older than
// the answer to a call. It must not be changed.
func (n *Agent) Status() *machine.Status { return n.status.Load() }

// Changed is closed when Status has been replaced. Whoever waits for something
// in Status asks for the channel first and looks then, else the change may
// come between.
func (n *Agent) Changed() <-chan struct{} { return *n.changed.Load() }

// Turned is when the node's loop looked at its events last. It does so at least
// every tenth of a second, or it stands still.
func (n *Agent) Turned() machine.Instant { return machine.Instant(n.turned.Load()) }

// Done is closed when Run has returned.
func (n *Agent) Done() <-chan struct{} { return n.done }

// ErrEnded is returned by calls to a node that has ended.
var ErrEnded = errors.New("the node has ended")

// Call gives a command to the node and waits for its answer: nil, a
// *machine.Refusal, ErrEnded, or the cause of ctx. When ctx ends, what was
// asked for goes on. An answer that is there counts, whatever ended meanwhile.
func (n *Agent) Call(ctx context.Context, c machine.Command) error {
	c.ID = machine.CallID(n.callSeq.Add(1))
	answer := make(chan *machine.Refusal, 1)
	n.calls.Store(c.ID, answer)
	defer n.calls.Delete(c.ID)
	n.Post(c)
	var otherwise error
	select {
	case refusal := <-answer:
		return asError(refusal)
	case <-n.done:
		otherwise = ErrEnded
	case <-ctx.Done():
		n.Post(machine.Cancel{ID: c.ID})
		otherwise = context.Cause(ctx)
	}
	select {
	case refusal := <-answer:
		return asError(refusal)
	default:
		return otherwise
	}
}

// asError keeps a nil refusal from becoming an error that is not nil.
func asError(r *machine.Refusal) error {
	if r == nil {
		return nil
	}
	return r
}

// Shutdown asks the node to stop its apps, close its session and end with
// code. Run returns when it has.
func (n *Agent) Shutdown(code int) {
	n.Post(machine.Command{Verb: machine.VerbShutdown, Code: code})
}

// Stats count what a node did not do because it would have had to wait.
type Stats struct {
	BeatsUnheard uint64 // heartbeats of others dropped, because the loop was behind
	BeatsUnsent  uint64 // own heartbeats dropped, because the bus was behind
	LinesLost    uint64 // lines of history that are missing in the ledger
	LinesWaiting uint64 // lines of history that the ledger has not taken yet
	LinesUnsaid  uint64 // lines of history that are missing in the log
}

// Stats returns the counts since New.
func (n *Agent) Stats() Stats {
	h := &n.history
	return Stats{
		BeatsUnheard: n.inbox.lost(), BeatsUnsent: n.beatsLost.Load(),
		LinesLost: h.lost.Load(), LinesWaiting: uint64(h.waiting()), LinesUnsaid: h.unlogged.Load(),
	}
}

// Run is the node's life. It returns when everything it started has ended,
// save a heartbeat that the bus holds up; that ends with the bus.
// The end of ctx is a request to stop gracefully, with exit code 0.
func (n *Agent) Run(ctx context.Context) Exit {
	defer close(n.done)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { n.Shutdown(0) })
	defer stop()

	var background sync.WaitGroup
	background.Go(func() { n.watchStore(work) })
	background.Go(func() { n.keepDisk(work) })
	told := make(chan struct{})
	go n.keepBeats(told)
	writing, given := context.WithCancel(work)
	defer given()
	background.Go(n.keepLog)
	background.Go(n.keepJournal)
	background.Go(func() { n.keepLedger(writing) })

	n.loop(work)

	n.inbox.close()
	n.endRuns()
	n.arm(0)
	close(n.out)
	n.history.close()
	defer time.AfterFunc(lastWords, given).Stop()
	<-n.history.written
	cancel()
	n.work.Wait()
	background.Wait()
	select {
	case <-told:
	case <-time.After(lastWords):
	}
	return *n.exit
}

// lastWords is for what waits to be said when the node ends: its last
// heartbeat, the end of its history.
const lastWords = time.Second

func (n *Agent) watchStore(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.opts.Store.Watch(ctx, func(v policy.View) { n.Post(machine.Viewed{View: v}) })
		if ctx.Err() == nil {
			n.Post(machine.Viewed{View: policy.View{Lost: fmt.Sprint(err)}})
			pause(ctx, watchAgain)
		}
	}
}

// watchAgain is the pause before a failed watch is begun again.
const watchAgain = 500 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
