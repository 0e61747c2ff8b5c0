//go:build linux

package conformance

import (
	"net"
	"sync"
)

// wire is what a node's connections go through: it can be cut. Nothing is lost
// then, it only does not arrive, as on a network whose cable is out.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	whole *sync.Cond
	isCut bool
	over  bool
	conns []net.Conn
}

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, to: to}
	w.whole = sync.NewCond(&w.mu)
	go w.accept()
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) cut(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = is
	w.whole.Broadcast()
}

func (w *wire) end() {
	_ = w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.whole.Broadcast()
	for _, c := range w.conns {
		_ = c.Close()
	}
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil || !w.keep(near, far) {
			_ = near.Close()
			continue
		}
		go w.carry(near, far)
		go w.carry(far, near)
	}
}

// keep is false when the wire is gone.
func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	}
	w.conns = append(w.conns, conns...)
	return true
}

// carry brings bytes from one end to the other while the wire is whole; so it
// is with the news that one end has closed.
func (w *wire) carry(from, to net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32*1024)
	for {
		n, err := from.Read(buf)
		if !w.wait() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns when the wire is whole; false when it is gone.
func (w *wire) wait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.isCut && !w.over {
		w.whole.Wait()
	}
	return !w.over
}
