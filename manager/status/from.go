package status

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Extra is what a document says beside the machine's status.
type Extra struct {
	Cluster string
	Quorum  Quorum
	Absent  []node.Name // servers that the quorum lacks

	// Now and Wall (Unix milliseconds) are one moment on two clocks: instants
	// are told as times of day.
	Now  machine.Instant
	Wall int64
}

// From makes the document of s. It shares nothing with s.
func From(s *machine.Status, x Extra) Document {
	d := Document{
		Schema: Schema, Cluster: x.Cluster, Node: s.Node, Quorum: x.Quorum,
		WaitingFor: waitingFor(s.Missing, x), Waiting: slices.Clone(s.Waiting),
		Nodes: make([]Node, 0, len(s.Nodes)), Apps: make([]App, 0, len(s.Apps)),
	}
	for i := range s.Nodes {
		d.Nodes = append(d.Nodes, nodeFrom(&s.Nodes[i]))
	}
	for i := range s.Apps {
		d.Apps = append(d.Apps, appFrom(&s.Apps[i], x))
	}
	slices.SortFunc(d.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Apps, func(a, b App) int { return cmp.Compare(a.Name, b.Name) })
	return d
}

// waitingFor lists absent servers only while they are missed.
func waitingFor(missing []node.Name, x Extra) []node.Name {
	names := slices.Clone(missing)
	if !x.Quorum.OK {
		names = append(names, x.Absent...)
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

func nodeFrom(s *machine.NodeStatus) Node {
	return Node{
		Name: s.Name, State: s.State, Hidden: s.Hidden, Session: s.Session,
		Since: UnixMilli(s.Since), Host: s.Name.Host(), Version: s.Version,
		Running: sorted(s.Running),
	}
}

func appFrom(s *machine.AppStatus, x Extra) App {
	a := App{
		Name: s.Name, State: s.State, Node: s.Node, Epoch: s.Epoch,
		StartType: s.StartKind, From: s.From, Since: UnixMilli(s.Since),
		FailoverAt: x.timeOf(s.FailoverAt),
		Nodes:      make([][]node.Name, 0, len(s.Groups)),
		StartedOn:  sorted(s.StartedOn),
		Permitted:  map[node.Name]bool{},
		RunningOn:  slices.Clone(s.RunningOn),
		WaitingFor: s.WaitingFor, Next: s.Next, Error: s.Error,
		Cause: s.Cause, Candidates: candidates(s.Verdicts),
	}
	slices.Sort(a.RunningOn)
	for _, g := range s.Groups {
		a.Nodes = append(a.Nodes, sorted(g))
		for _, n := range g {
			a.Permitted[n] = s.Permitted[n]
		}
	}
	if !s.Local && s.Timeout != policy.Infinite {
		a.TimeoutMS = new(time.Duration(s.Timeout).Milliseconds())
	}
	return a
}

// timeOf is the time of day of an instant; 0 has none.
func (x Extra) timeOf(i machine.Instant) Time {
	if i == 0 {
		return Time{}
	}
	return UnixMilli(x.Wall + i.Sub(x.Now).Milliseconds())
}

// sorted is a sorted copy that is [] in JSON when it is empty.
func sorted[T ~string](list []T) []T {
	return append([]T{}, slices.Sorted(slices.Values(list))...)
}
