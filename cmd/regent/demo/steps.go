package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy/node"
)

// rehearsal is the state of a demo between its steps.
type rehearsal struct {
	*observer
	current run    // the instance that runs
	record_ record // what the ownership record said of it
}

// step is a part of the demo: it makes something happen and returns what was
// not observed.
type step struct {
	title string
	run   func(*rehearsal, context.Context) error
}

var steps = []step{
	{"The barrier: a node waits for the nodes it must have", (*rehearsal).barrier},
	{"Start: the app runs on the first node of its list", (*rehearsal).firstStart},
	{"kill -9: another node takes over after the timeout, not before", (*rehearsal).failover},
	{"Return: the first node of the list gets its app back", (*rehearsal).takeover},
	{"A short absence: back within the timeout, no failover", (*rehearsal).blip},
	{"Stop", (*rehearsal).stop},
	{"End", (*rehearsal).end},
}

func (d *rehearsal) launch(n node.Name) error {
	d.say("$ regent %s", commandLine(n))
	return d.cluster.start(n)
}

func commandLine(n node.Name) string {
	args := arguments(n)
	args[len(args)-1] = `"` + evalStart + `"`
	return strings.Join(args, " ")
}

func (d *rehearsal) barrier(ctx context.Context) error {
	if err := d.launch(node1); err != nil {
		return err
	}
	if err := d.connect(ctx); err != nil {
		return err
	}
	if err := d.await(ctx, 4*time.Second, "node1@lxw waits for node2@lxw and node3@lxw", d.waits); err != nil {
		return err
	}
	d.say("node1@lxw waits for node2@lxw and node3@lxw, as sync_nodes_mandatory says")
	for _, n := range []node.Name{node2, node3} {
		if err := d.launch(n); err != nil {
			return err
		}
	}
	if err := d.await(ctx, 15*time.Second, "all three nodes are up", d.allUp); err != nil {
		return err
	}
	d.say("all three have met and are up")
	return nil
}

func (d *rehearsal) waits(ctx context.Context) (sight, error) {
	doc, err := d.status(ctx, node1)
	if err != nil {
		return sight{seen: err.Error()}, nil
	}
	i := slices.IndexFunc(doc.Nodes, named(node1))
	return sight{
		ok:   i >= 0 && doc.Nodes[i].State == machine.NodeSyncing && slices.Equal(doc.WaitingFor, []node.Name{node2, node3}),
		seen: fmt.Sprintf("waiting for %v", doc.WaitingFor),
	}, nil
}

func (d *rehearsal) allUp(ctx context.Context) (sight, error) {
	doc, err := d.status(ctx, node1)
	if err != nil {
		return sight{seen: err.Error()}, nil
	}
	var states []string
	up := 0
	for _, n := range doc.Nodes {
		states = append(states, fmt.Sprintf("%s %s", n.Name, n.State))
		if n.State == machine.NodeUp {
			up++
		}
	}
	return sight{up == len(allNodes), strings.Join(states, ", ")}, nil
}

func (d *rehearsal) firstStart(ctx context.Context) error {
	if err := d.starts(ctx, 15*time.Second, "the app runs on node1@lxw", time.Time{}, onNode(node1, "normal")); err != nil {
		return err
	}
	d.say("it runs: %s", d.current)
	d.say("%s", d.record_)
	return nil
}

// onNode accepts an instance by its node and start type.
func onNode(n node.Name, kind string) func(run) error {
	return func(r run) error {
		if r.first.Node != string(n) || r.first.StartType != kind {
			return fmt.Errorf("the app's log has a start at %s, expected one at %s (%s)", r, n, kind)
		}
		return nil
	}
}

// starts waits until an instance that began after t runs, and the record
// agrees.
func (d *rehearsal) starts(ctx context.Context, most time.Duration, expected string, t time.Time, accept func(run) error) error {
	before := d.current.first.Epoch
	return d.await(ctx, most, expected, func(ctx context.Context) (sight, error) {
		r, rec, s, err := d.running(ctx, t, accept)
		if err != nil || !s.ok {
			return s, err
		}
		if r.first.Epoch <= before {
			return s, fmt.Errorf("epoch %d after epoch %d: it must grow", r.first.Epoch, before)
		}
		d.current, d.record_ = r, rec
		return s, nil
	})
}

// murder kills the agent of the node that runs the app, and waits for the death
// of the app.
func (d *rehearsal) murder(ctx context.Context) (at time.Time, err error) {
	victim := d.cluster.nodes[node.Name(d.current.first.Node)]
	at = time.Now()
	d.say("$ kill -9 %d    # %s", victim.pid(), victim.node)
	if err := victim.kill(); err != nil {
		return at, err
	}
	pid := d.current.first.PID
	err = d.await(ctx, 2*time.Second, fmt.Sprintf("the app's process %d dies with its node", pid), func(context.Context) (sight, error) {
		return sight{gone(pid), "it lives"}, nil
	})
	if err != nil {
		return at, err
	}
	d.say("its app (pid %d) died with it", pid)
	return at, nil
}

func (d *rehearsal) failover(ctx context.Context) error {
	killed, err := d.murder(ctx)
	if err != nil {
		return err
	}
	asked, err := d.nobody(ctx, killed)
	if err != nil {
		return err
	}
	d.say("for %v nobody ran it: nothing in its log, and the record was read %d times", d.cluster.timeout, asked)
	if err := d.starts(ctx, 10*time.Second, "node2@lxw or node3@lxw runs the app", killed, d.survivor(killed)); err != nil {
		return err
	}
	d.say("%.3f s after the kill it was started: %s", d.current.first.Time.Sub(killed).Seconds(), d.current)
	d.say("%s", d.record_)
	return nil
}

// nobody watches log and record until the timeout has passed since t.
func (d *rehearsal) nobody(ctx context.Context, t time.Time) (asked int, err error) {
	for {
		rec, err := d.record(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return asked, context.Cause(ctx)
		}
		if now.Sub(t) >= d.cluster.timeout {
			return asked, nil
		}
		if err == nil {
			asked++
			if rec.Owner != node1 || rec.Epoch != d.record_.Epoch {
				return asked, fmt.Errorf("%.3f s after the kill %s: too early", now.Sub(t).Seconds(), rec)
			}
		}
		if err := d.anyDead(); err != nil {
			return asked, err
		}
		pause(ctx, lookEvery)
	}
}

// survivor accepts an instance on the other nodes that began after the
// timeout. (Its type is normal: OTP says failover only for apps with start
// phases.)
func (d *rehearsal) survivor(killed time.Time) func(run) error {
	return func(r run) error {
		after := r.first.Time.Sub(killed)
		switch n := node.Name(r.first.Node); {
		case n != node2 && n != node3:
			return fmt.Errorf("the app's log has a start at %s, expected one at node2@lxw or node3@lxw", r)
		case after < d.cluster.timeout:
			return fmt.Errorf("the app's log has a start at %s %.3f s after the kill: too early", r, after.Seconds())
		case r.first.StartType != "normal":
			return fmt.Errorf("the app was started as %s, expected normal", r)
		}
		return nil
	}
}

func (d *rehearsal) takeover(ctx context.Context) error {
	other := d.current
	back := time.Now()
	if err := d.launch(node1); err != nil {
		return err
	}
	err := d.starts(ctx, 20*time.Second, "node1@lxw takes the app over", back, func(r run) error {
		if r.first.From != other.first.Node {
			return fmt.Errorf("the app's log has a start at %s, expected a takeover from %s", r, other.first.Node)
		}
		return onNode(node1, "takeover")(r)
	})
	if err != nil {
		return err
	}
	stop, err := d.endOf(other)
	if err != nil {
		return err
	}
	d.say("%s was asked to stop, and stopped", other.first.Node)
	d.say("%.0f ms later node1@lxw started it: %s", float64(d.current.first.Time.Sub(stop).Microseconds())/1000, d.current)
	d.say("%s", d.record_)
	return nil
}

// endOf finds the regular end of an instance, which must lie before the start
// of the present one.
func (d *rehearsal) endOf(old run) (time.Time, error) {
	h, err := d.log()
	if err != nil {
		return time.Time{}, err
	}
	runs := h.runs()
	i := slices.IndexFunc(runs, func(r run) bool { return r.first == old.first })
	switch {
	case i < 0 || !runs[i].stopped:
		return time.Time{}, fmt.Errorf("the app's log has no stop of %s", old)
	case runs[i].last.Time.After(d.current.first.Time):
		return time.Time{}, fmt.Errorf("the app's log has the stop of %s after the start of %s", old, d.current)
	}
	return runs[i].last.Time, nil
}

func (d *rehearsal) blip(ctx context.Context) error {
	session := d.record_.Session
	killed, err := d.murder(ctx)
	if err != nil {
		return err
	}
	if err := d.launch(node1); err != nil {
		return err
	}
	err = d.starts(ctx, d.cluster.timeout+10*time.Second, "node1@lxw runs the app again", killed, onNode(node1, "normal"))
	if err != nil {
		return err
	}
	after := d.current.first.Time.Sub(killed)
	switch {
	case after >= d.cluster.timeout:
		return fmt.Errorf("node1@lxw ran the app again only after %.3f s: this machine is too slow for the demo", after.Seconds())
	case d.record_.Session == session:
		return errors.New("the record names the session of the dead node")
	}
	d.say("%.3f s after the kill node1@lxw runs it again: %s; new session, higher epoch, no failover", after.Seconds(), d.current)
	d.say("%s", d.record_)
	return nil
}

func (d *rehearsal) stop(ctx context.Context) error {
	d.say("$ regent stop %s --all", app)
	if _, err := d.cluster.run(ctx, "stop", app, "--all"); err != nil {
		return err
	}
	if err := d.await(ctx, 5*time.Second, "the app is stopped everywhere", d.isStopped); err != nil {
		return err
	}
	d.say("stopped: its process said so and is gone, it is started at no node, and the record names no owner")
	return nil
}

func (d *rehearsal) isStopped(ctx context.Context) (sight, error) {
	h, err := d.log()
	if err != nil {
		return sight{}, err
	}
	runs := h.runs()
	last := runs[len(runs)-1]
	if !last.stopped || !gone(last.first.PID) {
		return sight{seen: fmt.Sprintf("%s has not stopped", last)}, nil
	}
	rec, err := d.record(ctx)
	if err != nil || rec.Owner != "" || rec.Want != "stopped" {
		return sight{seen: fmt.Sprint(rec, err)}, nil
	}
	doc, err := d.status(ctx, node1)
	if err != nil || len(doc.Apps) != 1 {
		return sight{seen: fmt.Sprint("status of node1@lxw: ", err)}, nil
	}
	a := doc.Apps[0]
	return sight{
		ok:   a.State == machine.AppStopped && len(a.StartedOn) == 0,
		seen: fmt.Sprintf("the app is %s, started on %v", a.State, a.StartedOn),
	}, nil
}

func (d *rehearsal) end(ctx context.Context) error {
	d.say("$ kill %d %d %d", d.cluster.nodes[node1].pid(), d.cluster.nodes[node2].pid(), d.cluster.nodes[node3].pid())
	for _, n := range allNodes {
		p := d.cluster.nodes[n]
		p.expected = true
		if err := terminate(p.pid()); err != nil {
			return fmt.Errorf("stop %s: %w", n, err)
		}
	}
	if err := d.await(ctx, 15*time.Second, "all nodes end with exit code 0", d.allEnded); err != nil {
		return err
	}
	d.say("all nodes have ended with exit code 0")
	return d.verdict()
}

func (d *rehearsal) allEnded(context.Context) (sight, error) {
	for _, n := range allNodes {
		p := d.cluster.nodes[n]
		if !p.ended() {
			return sight{seen: fmt.Sprintf("%s still runs", n)}, nil
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return sight{}, fmt.Errorf("%s has ended: %s", n, p.cmd.ProcessState)
		}
	}
	return sight{ok: true}, nil
}

// verdict looks at the whole history once more.
func (d *rehearsal) verdict() error {
	h, err := d.log()
	if err != nil {
		return err
	}
	if a, b, found := h.overlap(); found {
		return fmt.Errorf("two instances ran at once: %s and %s", a, b)
	}
	if !h.epochsGrow() {
		return errors.New("the epochs in the app's log don't grow")
	}
	d.say("in %d starts no two instances ever ran at once, and each had a higher epoch", len(h.runs()))
	return nil
}
