package bus

import (
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// alternate is the second connection, made when it is first asked for.
type alternate struct {
	mu      sync.Mutex
	nc      *nats.Conn // nil: none
	dialing bool
	closed  bool
	wg      sync.WaitGroup
}

// Alternate gives a connection to another server than that of NATS, so that a
// cut between two hosts doesn't stop a node that a third could serve. It never
// blocks: nil means that there is none yet, and that one is being made. Ask
// again at the next need; the connection may be gone or replaced by then.
func (c *Conn) Alternate() *nats.Conn {
	a := &c.alternate
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.elsewhere(a.nc) {
		return a.nc
	}
	if !a.dialing && !a.closed {
		a.dialing = true
		a.wg.Go(c.dialAlternate)
	}
	return nil
}

// elsewhere reports whether nc is a connection to another server than the
// primary's, which may have moved since.
func (c *Conn) elsewhere(nc *nats.Conn) bool {
	return nc != nil && nc.IsConnected() && nc.ConnectedServerId() != c.NATS().ConnectedServerId()
}

// dialAlternate asks all other servers at once: one that doesn't answer must
// not delay a renewal. The first to answer is taken.
func (c *Conn) dialAlternate() {
	urls := c.otherServers()
	made := make(chan *nats.Conn, len(urls))
	for _, addr := range urls {
		c.alternate.wg.Go(func() { made <- c.dialOther(addr) })
	}
	var found *nats.Conn
	for range urls {
		nc := <-made
		switch {
		case nc == nil:
		case found == nil:
			found = nc
			c.alternate.replace(nc)
		default:
			nc.Close()
		}
	}
	c.alternate.doneDialing()
}

func (c *Conn) otherServers() []string {
	urls := c.opts.Alternates
	if len(urls) == 0 {
		urls = c.NATS().Servers()
	}
	here := c.NATS().ConnectedUrl()
	return slices.DeleteFunc(slices.Clone(urls), func(addr string) bool { return addr == here })
}

// dialOther makes a connection that isn't renewed when it is lost: Alternate
// makes another. It returns nil when there is none, or one to the same server.
func (c *Conn) dialOther(addr string) *nats.Conn {
	o, err := c.common()
	if err != nil {
		return nil
	}
	o.AllowReconnect = false
	o.InProcessServer = nil
	o.Name += " (alternate)"
	o.AsyncErrorCB = func(_ *nats.Conn, sub *nats.Subscription, err error) { c.asyncError(sub, err) }
	nc, err := c.connectTo(o, addr)
	if err != nil {
		c.log.Debug("no alternate connection", "cause", classify(addr, err))
		return nil
	}
	if !c.elsewhere(nc) {
		nc.Close()
		return nil
	}
	return nc
}

// replace puts nc in the place of the connection before it.
func (a *alternate) replace(nc *nats.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nc != nil {
		a.nc.Close()
	}
	if a.closed {
		nc.Close()
		return
	}
	a.nc = nc
}

func (a *alternate) doneDialing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialing = false
}

// forget ends the connection that is there; the next need makes another.
func (a *alternate) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nc != nil {
		a.nc.Close()
		a.nc = nil
	}
}

// close waits until nothing is being made any more.
func (a *alternate) close() {
	a.mu.Lock()
	a.closed = true
	if a.nc != nil {
		a.nc.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}
