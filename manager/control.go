package manager

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

// control lets the micro service of a node do what it is asked.
type control struct{ node *Node }

// errBusyStarting: the node has its connection and is not ready for calls yet,
// or not any more.
var errBusyStarting = &service.Error{Code: service.CodeUnavailable, Description: ErrNotRunning.Error()}

func (c control) Do(ctx context.Context, verb string, raw json.RawMessage) (any, error) {
	reply, err := c.do(ctx, verb, raw)
	if errors.Is(err, ErrNotRunning) {
		err = errBusyStarting
	}
	return reply, err
}

func (c control) do(ctx context.Context, verb string, raw json.RawMessage) (any, error) {
	switch verb {
	case service.VerbStatus:
		return c.node.Status(ctx)
	case service.VerbStart:
		return decode(raw, func(r *service.StartRequest) error { return c.node.StartApp(ctx, r.App, r.Type) })
	case service.VerbStop:
		return decode(raw, func(r *service.StopRequest) error { return c.stop(ctx, r.App, r.All) })
	case service.VerbTakeover:
		return decode(raw, func(r *service.TakeoverRequest) error { return c.node.Takeover(ctx, r.App, r.Type) })
	case service.VerbPermit:
		return decode(raw, func(r *service.PermitRequest) error { return c.permit(ctx, r) })
	case service.VerbLoad:
		return decode(raw, func(r *service.LoadRequest) error { return c.load(ctx, r) })
	case service.VerbConfig:
		return c.config(ctx, raw)
	case service.VerbCookie:
		return c.cookie(ctx, raw)
	case service.VerbAllow, service.VerbConnect, service.VerbDisconnect:
		return decode(raw, func(r *service.NodeRequest) error { return c.net(ctx, verb, r.Node) })
	}
	return nil, &service.Error{Code: service.CodeBadRequest, Description: "unknown verb " + verb}
}

// net does what net_kernel does, for the messages of this node.
func (c control) net(ctx context.Context, verb string, n node.Name) error {
	s := c.node.Processes()
	switch {
	case s == nil:
		return ErrNotRunning
	case verb == service.VerbAllow:
		return s.Allow(n)
	case verb == service.VerbDisconnect && !s.Disconnect(n):
		return &service.Error{Code: service.CodeUnknown, Description: "not connected to " + string(n)}
	case verb == service.VerbConnect:
		if err := s.Connect(ctx, n); err != nil {
			return &service.Error{Code: service.CodeRefused, Description: err.Error()}
		}
	}
	return nil
}

func (c control) stop(ctx context.Context, a policy.App, all bool) error {
	if all {
		return c.node.StopEverywhere(ctx, a)
	}
	return c.node.StopApp(ctx, a)
}

func (c control) permit(ctx context.Context, r *service.PermitRequest) error {
	if r.Persist {
		return c.node.PermitPersist(ctx, r.App, *r.Permitted)
	}
	return c.node.Permit(ctx, r.App, *r.Permitted)
}

func (c control) load(ctx context.Context, r *service.LoadRequest) error {
	if len(r.Nodes) == 0 {
		return c.node.Load(ctx, r.App)
	}
	s, err := r.Spec()
	if err != nil {
		return err
	}
	return c.node.LoadDistributed(ctx, r.App, Distribution{Timeout: time.Duration(s.Timeout), Nodes: s.Groups})
}

func (c control) config(ctx context.Context, raw json.RawMessage) (any, error) {
	var r service.ConfigRequest
	if err := service.Decode(raw, &r); err != nil {
		return nil, err
	}
	specs, err := specjson.Specs(r.Apps)
	if err != nil {
		return nil, err
	}
	applied, err := c.node.apply(ctx, r.Voters, specs)
	if err != nil {
		return nil, err
	}
	return service.ConfigReply(applied), nil
}

func decode[T any](raw json.RawMessage, do func(*T) error) (any, error) {
	var request T
	if err := service.Decode(raw, &request); err != nil {
		return nil, err
	}
	return nil, do(&request)
}

// serve answers requests from now on: in the barrier and without a quorum too,
// since core NATS is all it needs.
func (p *parts) serve() error {
	n := p.node
	s, err := service.Start(service.Options{
		Conn: p.conn.NATS(), Cluster: bus.Cluster(n.opts.Cluster), Node: n.plan.self,
		Version: n.opts.Version, Control: control{n}, Logger: n.log,
	})
	if err != nil {
		return err
	}
	p.service = s
	p.stops = append(p.stops, func() { _ = s.Stop() })
	return nil
}

// watchStatus keeps the service's metadata up to date, and the log about what
// this node waits for.
func (n *Node) watchStatus(ctx context.Context, p *parts) {
	var announced policy.Session
	var waiting []string
	for {
		changed := p.agent.Changed()
		st := p.agent.Status()
		if st.Session != announced {
			announced = st.Session
			if err := p.service.SetSession(announced); err != nil {
				n.log.Debug("announce session", "err", err)
			}
		}
		if !slices.Equal(waiting, st.Waiting) {
			if waiting = st.Waiting; len(waiting) > 0 {
				n.log.Info("waits for " + strings.Join(waiting, ", "))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
