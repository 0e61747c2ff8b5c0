package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/node"
)

// observer looks at the cluster from outside and tells what it sees.
type observer struct {
	out     io.Writer
	begun   time.Time
	cluster *cluster
	nc      *nats.Conn
}

const (
	lookEvery  = 20 * time.Millisecond
	requestMax = 400 * time.Millisecond // one question to NATS
)

// say prints a line with the time since the beginning.
func (o *observer) say(format string, args ...any) {
	fmt.Fprintf(o.out, "T+%6.2fs  %s\n", time.Since(o.begun).Seconds(), fmt.Sprintf(format, args...))
}

// sight is what one look has shown: ok says that it is what was looked for.
type sight struct {
	ok   bool
	seen string
}

// await looks until what is expected is seen. The error says what was expected
// and what was seen instead.
func (o *observer) await(ctx context.Context, most time.Duration, expected string, look func(context.Context) (sight, error)) error {
	deadline := time.Now().Add(most)
	for {
		s, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("expected that %s: %w", expected, err)
		case s.ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not seen within %v: %s; seen: %s", most, expected, s.seen)
		}
		if err := o.anyDead(); err != nil {
			return fmt.Errorf("expected that %s: %w", expected, err)
		}
		pause(ctx, lookEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// anyDead notices a node that has ended without being asked to.
func (o *observer) anyDead() error {
	for _, n := range allNodes {
		if p := o.cluster.nodes[n]; p != nil && p.ended() && !p.expected {
			return fmt.Errorf("%s has ended: %s", n, p.cmd.ProcessState)
		}
	}
	return nil
}

// connect connects as any NATS client with the cookie's credentials could, to
// node1 first, since it is alone in the beginning.
func (o *observer) connect(ctx context.Context) error {
	a, err := o.cluster.authority()
	if err != nil {
		return err
	}
	opts, err := a.ConnOptions(cred.App, "regent demo")
	if err != nil {
		return err
	}
	var urls []string
	for _, n := range allNodes {
		urls = append(urls, o.cluster.url(n))
	}
	opts = append(opts, nats.DontRandomize(), nats.Timeout(time.Second),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // servers come and go; the default writes to standard error
	return o.await(ctx, 10*time.Second, "node1@lxw has a NATS server", func(context.Context) (sight, error) {
		nc, err := nats.Connect(strings.Join(urls, ","), opts...)
		if err != nil {
			return sight{seen: err.Error()}, nil
		}
		o.nc = nc
		return sight{ok: true}, nil
	})
}

// status asks a node.
func (o *observer) status(ctx context.Context, n node.Name) (*status.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestMax)
	defer cancel()
	c := service.Client{Conn: o.nc, Cluster: bus.Cluster(clusterName)}
	var doc status.Document
	if err := c.Call(ctx, n, service.VerbStatus, service.StatusRequest{}, &doc); err != nil {
		return nil, err
	}
	return &doc, nil
}

// record is what the demo reads of the ownership record.
type record struct {
	Owner   node.Name `json:"owner"`
	Epoch   uint64    `json:"epoch"`
	Session string    `json:"session"`
	Phase   string    `json:"phase"`
	Want    string    `json:"want"`
}

func (r record) String() string {
	if r.Owner == "" {
		return fmt.Sprintf("the record names no owner (epoch %d, want %s)", r.Epoch, r.Want)
	}
	return fmt.Sprintf("the record names %s (epoch %d, %s)", r.Owner, r.Epoch, r.Phase)
}

var errNoRecord = errors.New("no ownership record")

// record reads the ownership record as "nats kv get" does.
func (o *observer) record(ctx context.Context) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	js, err := jetstream.New(o.nc)
	if err != nil {
		return record{}, err
	}
	kv, err := js.KeyValue(ctx, "regent_"+clusterName)
	if err != nil {
		return record{}, err
	}
	value, err := kv.Get(ctx, "app."+app)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return record{}, errNoRecord
	}
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(value.Value(), &r); err != nil {
		return record{}, fmt.Errorf("ownership record %s: %w", value.Value(), err)
	}
	return r, nil
}

func (o *observer) log() (history, error) { return readLog(o.cluster.appLog()) }

// running looks for the one instance that a check accepts, alive and named by
// the record, among those that began after t.
func (o *observer) running(ctx context.Context, t time.Time, accept func(run) error) (run, record, sight, error) {
	h, err := o.log()
	if err != nil {
		return run{}, record{}, sight{}, err
	}
	starts := h.startsAfter(t)
	if len(starts) == 0 {
		return run{}, record{}, sight{seen: "the app's log has no new start"}, nil
	}
	r := starts[0]
	if err := accept(r); err != nil {
		return run{}, record{}, sight{}, err
	}
	if len(starts) > 1 {
		return run{}, record{}, sight{}, fmt.Errorf("the app's log has another start, %s, after %s", starts[1], r)
	}
	rec, err := o.record(ctx)
	if err != nil {
		return run{}, record{}, sight{seen: err.Error()}, nil
	}
	agree := string(rec.Owner) == r.first.Node && rec.Epoch == r.first.Epoch && rec.Phase == "running"
	return r, rec, sight{agree, fmt.Sprintf("the app's log has %s, %s", r, rec)}, nil
}
