package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// Client is the agent's side: it keeps a warden, and tells it what it must
// know. It is a ledger of package osproc. A nil Client does nothing.
type Client struct {
	opts    Options
	log     *slog.Logger
	cgroups *cgroups // nil: none

	mu      sync.Mutex
	live    []*entry      // groups that are to be known
	outbox  []message     // for the warden of now, in order
	up      bool          // the warden of now has acknowledged all that came before it
	since   time.Time     // with up false: since when
	doom    time.Duration // as given to Arm
	stale   bool          // the warden was not told doom yet
	closing bool
	kick    chan struct{} // there is something to send
	ended   chan struct{} // the last warden is gone
}

// entry is a group and whether a warden knows it.
type entry struct {
	group

	known chan struct{} // closed when one has acknowledged it
	once  sync.Once
}

func (e *entry) acknowledged() { e.once.Do(func() { close(e.known) }) }

// message is a frame to be sent, and what its acknowledgement means.
type message struct {
	frame frame
	entry *entry // known then
}

// Start starts a warden and goes on doing so until Close. It does not wait for
// it. It returns nil where the program has not called Main, since starting it
// again would start another node; with Options.Required that is ErrNone.
func Start(o Options) (*Client, error) {
	if !mainCalled.Load() {
		if o.Required {
			return nil, fmt.Errorf("%w: Main was not called at the start of this program", ErrNone)
		}
		o.Log.Info("no warden: Main was not called at the start of this program")
		return nil, nil
	}
	c := &Client{opts: o, log: o.Log, since: time.Now(), kick: make(chan struct{}, 1), ended: make(chan struct{})}
	if o.Cgroup != "" {
		var err error
		if c.cgroups, err = openCgroups(o.Cgroup); err != nil {
			c.log.Info("what an app starts in a process session of its own is not ended with it", "cause", err)
		}
	}
	go c.run()
	return c, nil
}

// Add implements osproc.Ledger: it returns nil when the group is on the list and
// the warden knows it, or when there is no warden to be had and none is
// required.
func (c *Client) Add(g samehost.Group) error {
	if err := c.opts.Groups.Add(g); err != nil {
		return err
	}
	e := c.enter(g)
	wait := time.NewTimer(c.patience())
	defer wait.Stop()
	select {
	case <-e.known:
		return nil
	case <-wait.C:
	}
	if c.opts.Required {
		return fmt.Errorf("%w within %v, and one is required", ErrNone, c.opts.Renew)
	}
	c.log.Error("no warden: what runs is ended by the lease and the kernel's timer alone", "app", string(g.App))
	return nil
}

// enter puts the group where the warden of now, and every later one, is told of
// it.
func (c *Client) enter(g samehost.Group) *entry {
	e := &entry{group: groupOf(g), known: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = append(c.live, e)
	c.sendLocked(message{frame{Add: &e.group}, e})
	return e
}

// patience is how much longer a start has to wait for a warden: none where
// there has been none for long enough.
func (c *Client) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up {
		return c.opts.Renew
	}
	return max(c.opts.Renew-time.Since(c.since), 0)
}

// Remove implements osproc.Ledger. What has left the group, but not its cgroup,
// is ended first: the caller says that nothing of the app is alive any more.
func (c *Client) Remove(g samehost.Group) {
	c.mu.Lock()
	i := slices.IndexFunc(c.live, func(e *entry) bool { return e.group.group() == g })
	if i < 0 {
		c.mu.Unlock()
		g.Cgroup.Remove()
		return
	}
	e := c.live[i]
	c.mu.Unlock()
	c.clear(e)
	c.opts.Groups.Remove(g)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = slices.DeleteFunc(c.live, func(o *entry) bool { return o == e })
	c.sendLocked(message{frame: frame{Gone: &e.group}})
}

// Open implements osproc.Cradle.
func (c *Client) Open() *os.File {
	if c.cgroups == nil {
		return nil
	}
	f, err := c.cgroups.open()
	if err != nil {
		c.log.Warn("what an app starts in a process session of its own is not ended with it", "err", err)
		return nil
	}
	return f
}

// clear ends what is left in the group's cgroup, and removes it.
func (c *Client) clear(e *entry) {
	for begin, warned := time.Now(), false; !e.Cgroup.Empty(); time.Sleep(time.Millisecond) {
		e.Cgroup.Kill()
		if !warned && time.Since(begin) > alarmAfter {
			warned = true
			c.log.Error("SIGKILL does not end it", "app", string(e.App), "cgroup", string(e.Cgroup))
		}
	}
	e.Cgroup.Remove()
}

// Arm says when this process must be ended if it has not ended its apps
// itself; 0 is never. It never blocks.
func (c *Client) Arm(doom time.Duration) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if doom != c.doom {
		c.doom, c.stale = doom, true
		c.nudge()
	}
}

// Renew lets the warden of now, and every later one, reach the cluster by other
// credentials. It does not wait for it.
func (c *Client) Renew(reach json.RawMessage) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opts.Life.Reach = reach
	c.sendLocked(message{frame: frame{Reach: reach}})
}

// closeMax is for a warden that has nothing to do but to end.
const closeMax = time.Second

// Close says goodbye: nothing that this process has started is alive any more.
// It returns when the warden has ended.
func (c *Client) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.closing = true
	c.outbox = append(c.outbox, message{frame: frame{Bye: true}})
	c.nudge()
	c.mu.Unlock()
	<-c.ended
	if c.cgroups != nil {
		c.cgroups.close()
	}
}

func (c *Client) sendLocked(m message) {
	c.outbox = append(c.outbox, m)
	c.nudge()
}

func (c *Client) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// take gives what there is to send.
func (c *Client) take() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := c.outbox
	c.outbox = nil
	if c.stale {
		c.stale = false
		ms = append([]message{{frame: c.armFrame()}}, ms...)
	}
	return ms
}

// armFrame lets the agent act first, then the warden. The kernel ends a warden
// that stands still only a lease later: one that is merely late, on a busy host
// or after a freeze, has the most to do, since the kernel has ended the agent and
// reaches nothing of an app but its first process.
func (c *Client) armFrame() frame {
	if c.doom == 0 {
		return frame{Arm: &arm{}}
	}
	return frame{Arm: &arm{At: c.doom - c.opts.Late/2, Last: c.doom + c.opts.Life.TTL}}
}

// greeting is what a new warden has to know before anything else.
func (c *Client) greeting() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	life := c.opts.Life
	if c.cgroups != nil {
		life.Cgroups = c.cgroups.dir
	}
	ms := []message{{frame: frame{Life: &life}}, {frame: c.armFrame()}}
	for _, e := range c.live {
		ms = append(ms, message{frame{Add: &e.group}, e})
	}
	ms = append(ms, message{frame: frame{All: true}})
	c.stale = false
	c.outbox = slices.DeleteFunc(c.outbox, func(m message) bool { return !m.frame.Bye })
	return ms
}

// Between two attempts to start a warden, after the first failure.
const (
	againFirst = 50 * time.Millisecond
	againMax   = 2 * time.Second
)

// run keeps a warden until it may go.
func (c *Client) run() {
	defer close(c.ended)
	for pause := againFirst; ; pause = min(2*pause, againMax) {
		begun := time.Now()
		err := c.keep()
		c.mu.Lock()
		closing := c.closing
		if c.up || c.since.IsZero() {
			c.since = time.Now()
		}
		c.up = false
		c.mu.Unlock()
		if closing {
			return
		}
		c.log.Error("the warden is gone; another one is started", "cause", err)
		if time.Since(begun) > againMax {
			pause = 0
		}
		if c.rest(pause) {
			return
		}
		pause = max(pause, againFirst/2)
	}
}

// rest waits, and reports whether there is nothing to go on for.
func (c *Client) rest(d time.Duration) (closing bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return c.isClosing()
		case <-c.kick:
			if c.isClosing() {
				return true
			}
		}
	}
}

func (c *Client) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// Why a warden was given up.
var (
	errSilent = errors.New("it does not answer")
	errGone   = errors.New("it has ended")
)

// keep starts a warden and serves it until it is gone.
func (c *Client) keep() error {
	p, err := spawn()
	if err != nil {
		return err
	}
	own := samehost.Group{PGID: p.proc.Pid, StartTime: p.start}
	err = c.opts.Groups.Add(own)
	if err == nil {
		err = c.serve(p)
	}
	p.end(c.waitMax(err)) // before its socket is closed: it would take that for this agent's end
	c.opts.Groups.Remove(own)
	return err
}

// waitMax is how long a warden may take to end by itself.
func (c *Client) waitMax(err error) time.Duration {
	if err == nil {
		return closeMax
	}
	return 0
}

// serve returns nil when the warden has acknowledged the goodbye.
func (c *Client) serve(p *process) error {
	acks := make(chan uint64)
	stop := make(chan struct{})
	defer close(stop)
	go p.read(acks, stop)
	t := &talk{process: p, limit: startMax, patience: c.opts.Renew}
	if err := t.send(c.greeting()); err != nil {
		return err
	}
	silence := time.NewTimer(startMax)
	defer silence.Stop()
	for {
		select {
		case <-c.kick:
			if err := t.send(c.take()); err != nil {
				return err
			}
		case seq, open := <-acks:
			if !open {
				return errGone
			}
			if bye := t.acknowledged(seq); bye {
				return nil
			}
			if len(t.open) == 0 && !c.ready() {
				t.limit = c.opts.Renew
				c.log.Info("warden", "pid", p.proc.Pid)
			}
		case <-silence.C:
			if t.silent() {
				return errSilent
			}
		}
		silence.Stop()
		if len(t.open) > 0 {
			silence.Reset(time.Until(t.until()))
		}
	}
}

// startMax is for a process to start on a busy host.
const startMax = 3 * time.Second

// graceMax is for answers that have come and were not read: this process may
// have stood still itself.
const graceMax = 50 * time.Millisecond

// talk is what was said to one warden.
type talk struct {
	*process

	open     []sent        // not acknowledged yet, in order
	limit    time.Duration // for an answer
	patience time.Duration // for taking a message
	grace    time.Time     // with limit over: until when
}

// sent is a message that was not acknowledged yet.
type sent struct {
	message

	seq uint64
	at  time.Time
}

func (t *talk) send(ms []message) error {
	for _, m := range ms {
		seq, err := t.write(m.frame, t.patience)
		if err != nil {
			return err
		}
		t.open = append(t.open, sent{m, seq, time.Now()})
	}
	return nil
}

// acknowledged takes an answer, and reports whether it was to the goodbye.
func (t *talk) acknowledged(seq uint64) (bye bool) {
	t.grace = time.Time{}
	for len(t.open) > 0 && t.open[0].seq <= seq {
		m := t.open[0].message
		t.open = t.open[1:]
		if m.entry != nil {
			m.entry.acknowledged()
		}
		bye = bye || m.frame.Bye
	}
	return bye
}

// silent reports whether an answer is overdue, grace included.
func (t *talk) silent() bool {
	switch {
	case len(t.open) == 0 || time.Now().Before(t.until()):
		return false
	case t.grace.IsZero():
		t.grace = time.Now().Add(graceMax)
		return false
	}
	return true
}

// until is when the next answer is overdue.
func (t *talk) until() time.Time {
	if !t.grace.IsZero() {
		return t.grace
	}
	return t.open[0].at.Add(t.limit)
}

// ready notes that the warden knows everything, and reports whether it did
// before.
func (c *Client) ready() (before bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.up = c.up, true
	return before
}
