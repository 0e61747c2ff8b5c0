package manager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/metrics"
)

// web is what a node shows over HTTP, to those who watch over it: /metrics,
// /healthz (the node's loop turns) and /readyz (it is up, its session is valid,
// the store has a quorum, and its own copy of it is complete). It changes nothing
// and says no secret.
type web struct {
	node    *Node
	metrics *metrics.Metrics
	listen  net.Listener
	served  chan struct{}
	server  *http.Server

	mu    sync.Mutex // guards parts
	parts *parts     // nil until the node is connected

	asked   sync.Mutex // one question to the store at a time
	at      time.Time
	servers int
	quorum  bool
}

// Limits of the HTTP server: whoever watches asks small questions, quickly.
const (
	webTimeout = 10 * time.Second
	webHeaders = 16 << 10
	webClose   = time.Second
	quorumFor  = time.Second // an answer of the store is used again
	healthMax  = 5 * time.Second
)

// errHTTP is why a node shows nothing over HTTP, and does not start.
var errHTTP = errors.New("http")

// openWeb binds the address before anything else is done: that it is taken is
// the operator's to know at once.
func (p *parts) openWeb() error {
	n := p.node
	if n.opts.HTTP == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.opts.HTTP)
	if err != nil {
		return fmt.Errorf("%w: %w", errHTTP, err)
	}
	w := &web{node: n, listen: l, served: make(chan struct{})}
	w.metrics = metrics.New(metrics.Build{Version: n.opts.Version, Cluster: n.opts.Cluster, Node: n.plan.self}, metrics.Source{
		Status: w.status, Now: clock{}.Now, Quorum: w.askQuorum, Dropped: w.dropped,
	})
	for i := range n.opts.Config.Apps {
		w.metrics.Know(n.opts.Config.Apps[i].Name)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.unhealthy()) })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.unready()) })
	w.server = &http.Server{
		Handler: mux, ReadTimeout: webTimeout, WriteTimeout: webTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: webHeaders,
	}
	go func() {
		defer close(w.served)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Warn("http", "err", err)
		}
	}()
	n.log.Info("http", "address", l.Addr().String())
	p.web = w
	p.stops = append(p.stops, w.close)
	return nil
}

func (w *web) close() {
	ctx, cancel := context.WithTimeout(context.Background(), webClose)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close() // whoever is still being answered
	}
	<-w.served
}

// observe lets the metrics hear of what happens; without them nobody does.
func (w *web) observe() agent.Observer {
	if w == nil {
		return agent.Observer{}
	}
	return agent.Observer{History: w.metrics.Noted, Wrote: w.metrics.Wrote}
}

// heard counts a warden's certificate.
func (w *web) heard(c machine.Certified) {
	if w != nil {
		w.metrics.Heard(c)
	}
}

// connected says that there is something to look at.
func (w *web) connected(p *parts) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = p
}

// open is what there is to look at; nil before the node is connected.
func (w *web) open() *parts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parts
}

func (w *web) status() *machine.Status {
	if p := w.open(); p != nil {
		return p.agent.Status()
	}
	return nil
}

// askQuorum asks the store, or uses what it said a moment ago.
func (w *web) askQuorum() (servers int, ok bool) {
	w.asked.Lock()
	defer w.asked.Unlock()
	if now := time.Now(); now.Sub(w.at) > quorumFor {
		w.at, w.servers, w.quorum = now, len(w.node.plan.voters), false
		if p := w.open(); p != nil {
			ctx, cancel := context.WithTimeout(context.Background(), quorumMax)
			defer cancel()
			q, err := p.store.quorum(ctx)
			said := w.node.quorum(q, err)
			w.servers, w.quorum = said.Servers, said.OK
		}
	}
	return w.servers, w.quorum
}

func (w *web) dropped() metrics.Dropped {
	p := w.open()
	if p == nil {
		return metrics.Dropped{}
	}
	b, a := p.bus.Stats(), p.agent.Stats()
	return metrics.Dropped{
		Malformed: b.Malformed, Newer: b.Newer, Foreign: b.Foreign, TooLarge: b.TooLarge, Overflow: b.Overflow,
		Unheard: a.BeatsUnheard, Unsent: a.BeatsUnsent, BadCertificates: p.bus.BadCertificates(),
		EventsLost: a.LinesLost, EventsWaiting: a.LinesWaiting,
	}
}

// unhealthy says why this process should be ended: its loop stands still. A node
// that waits for others, or has no quorum, is healthy.
func (w *web) unhealthy() []string {
	p := w.open()
	if p == nil {
		return nil
	}
	if idle := (clock{}).Now().Sub(p.agent.Turned()); idle > healthMax {
		return []string{fmt.Sprintf("the node's loop has not turned for %v", idle.Round(time.Millisecond))}
	}
	return nil
}

// unready says why this node can't run apps now.
func (w *web) unready() (why []string) {
	st := w.status()
	if st == nil {
		return []string{"not connected yet"}
	}
	if st.Phase != machine.BeatUp {
		why = append(why, string(st.Phase))
	}
	if !w.node.opts.Hidden && (st.Session == "" || (clock{}).Now() >= st.Fence) {
		why = append(why, "no valid session")
	}
	if _, ok := w.askQuorum(); !ok {
		why = append(why, "no quorum")
	}
	if behind := w.node.copy.behind(clock{}.Now()); behind != "" {
		why = append(why, "its copy of the records is behind: "+behind)
	}
	return append(why, st.Waiting...)
}

// answer says ok, or what is wrong, a line each.
func answer(rw http.ResponseWriter, wrong []string) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	if len(wrong) == 0 {
		_, _ = io.WriteString(rw, "ok\n")
		return
	}
	rw.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(rw, strings.Join(wrong, "\n")+"\n")
}
