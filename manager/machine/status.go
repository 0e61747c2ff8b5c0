package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Status is what a node knows, for people and programs: a copy, safe to keep.
type Status struct {
	Node    node.Name
	Phase   BeatPhase
	Waiting []string // what this node waits for, in words a person can act on
	Missing []node.Name
	Session policy.Session
	Fence   Instant // when the apps of Session must be gone; 0 without a session
	Trusted bool    // the bucket is known and acted on
	Nodes   []NodeStatus
	Apps    []AppStatus

	// CertificatesIgnored counts those about no life that is known as live.
	CertificatesIgnored uint64
}

// NodeState is the state of a node as this one sees it.
type NodeState string

// Node states.
const (
	NodeSyncing NodeState = "syncing"
	NodeUp      NodeState = "up"
	NodeSuspect NodeState = "suspect"
	NodeDown    NodeState = "down"
	NodeLeft    NodeState = "left"
)

// NodeStatus is one node.
type NodeStatus struct {
	Name    node.Name
	State   NodeState
	Hidden  bool
	Session policy.Session
	Since   int64 // Unix milliseconds
	Version string
	Running []policy.App
}

// AppState is the state of an app in the cluster.
type AppState string

// App states.
const (
	AppStopped     AppState = "stopped"
	AppWaiting     AppState = "waiting"
	AppStarting    AppState = "starting"
	AppRunning     AppState = "running"
	AppStopping    AppState = "stopping"
	AppFailingOver AppState = "failing_over"
	AppFailed      AppState = "failed"
)

// AppStatus is one app.
type AppStatus struct {
	Name       policy.App
	State      AppState
	Node       node.Name // where it runs
	Epoch      policy.Epoch
	StartKind  policy.StartKind
	From       node.Name
	Since      int64   // Unix milliseconds of the last change
	FailoverAt Instant // with AppFailingOver: when the Timeout ends; 0 otherwise or with infinity
	Timeout    policy.Timeout
	Groups     [][]node.Name
	StartedOn  []node.Name
	Permitted  map[node.Name]bool // never ranged over here
	Local      bool
	RunningOn  []node.Name // local apps
	WaitingFor node.Name
	Next       node.Name // who has asked for it, or has precedence
	Error      string
	Cause      Cause
	Verdicts   []Verdict // one per node of the list, in priority order
}

// Status describes everything this node knows.
func (m *Machine) Status() Status {
	s := Status{
		Node: m.cfg.Self, Phase: m.phase(), Waiting: m.waitingFor(), Missing: m.missing(),
		Session: m.session.id, Fence: m.session.deadline, Trusted: m.mayWrite(),
		CertificatesIgnored: m.certsIgnored,
	}
	s.Nodes = append(s.Nodes, m.selfStatus())
	for _, mb := range m.members {
		if st, known := m.nodeStatus(mb); known {
			s.Nodes = append(s.Nodes, st)
		}
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	load := m.countWeights()
	for _, a := range m.apps {
		if a.dropped && !m.inUse(a) {
			continue
		}
		st := m.appStatus(a)
		st.Cause, st.Verdicts = m.explain(a, load)
		s.Apps = append(s.Apps, st)
	}
	for i := range s.Nodes {
		s.Nodes[i].Running = runningOn(s.Apps, s.Nodes[i].Name)
	}
	return s
}

func runningOn(apps []AppStatus, n node.Name) []policy.App {
	var out []policy.App
	for _, a := range apps {
		if a.Node == n && (a.State == AppRunning || a.State == AppStopping) || slices.Contains(a.RunningOn, n) {
			out = append(out, a.Name)
		}
	}
	return out
}

// missing lists the nodes that the barrier still waits for.
func (m *Machine) missing() []node.Name {
	if m.life != lifeSyncing {
		return nil
	}
	return append(m.absent(m.cfg.Sync.Mandatory), m.absent(m.cfg.Sync.Optional)...)
}

// waitingFor says what holds this node up.
func (m *Machine) waitingFor() []string {
	var out []string
	for _, n := range m.missing() {
		out = append(out, m.describeAbsent([]node.Name{n}))
	}
	switch b := &m.bucket; {
	case m.life != lifeUp:
	case !b.ready && b.lost != "":
		out = append(out, "the store: "+b.lost)
	case !b.ready:
		out = append(out, "the store to answer")
	case b.regress:
		out = append(out, "the store went back in time: until nothing can run by what it forgot")
	case !m.spec.settled() && m.session.id != "" && m.spec.record() != nil:
		out = append(out, "the nodes that may go by the specification of "+string(m.spec.record().Node))
	case !m.spec.settled() && m.session.id != "":
		out = append(out, "the specification to be stored")
	case !b.trusted:
		out = append(out, "a bucket this node does not know: until its lease and fence have passed, or for "+strings.Join(m.unheardFirst(), ", ")+" (or --new-cluster)")
	case m.disk.broken:
		out = append(out, "the data directory: its state file can't be written")
	case m.session.id == "" && m.self.liveCell() != nil && m.self.liveCell().Agent != m.cfg.Agent:
		out = append(out, "the lease of this node's former life to end")
	}
	return out
}

func (m *Machine) selfStatus() NodeStatus {
	s := NodeStatus{
		Name: m.cfg.Self, State: NodeUp, Hidden: m.cfg.Hidden,
		Session: m.session.id, Since: m.cfg.Since, Version: m.cfg.Version,
	}
	if m.life == lifeSyncing {
		s.State = NodeSyncing
	}
	return s
}

// nodeStatus joins what a node says with what its cell says. A node that was
// never heard and has no cell is not known. The session is that of the life that
// was heard last: while a cell is still a former life's, there is none.
func (m *Machine) nodeStatus(mb *member) (NodeStatus, bool) {
	s := NodeStatus{Name: mb.name, State: NodeDown, Hidden: mb.beat.Hidden, Session: mb.beat.Session, Since: mb.beat.Since, Version: mb.beat.Version}
	rec := mb.cell.Node
	if rec != nil && (mb.agent == "" || mb.beat.Session == "" && rec.Agent == mb.agent) {
		s.Session, s.Since = rec.Session, rec.Since
	}
	switch {
	case mb.agent == "" && rec == nil:
		return s, false
	case mb.present() && mb.beat.Phase == BeatSyncing:
		s.State = NodeSyncing
	case mb.present():
		s.State = NodeUp
	case mb.agent != "" && mb.beat.Phase == BeatLeft || rec != nil && rec.State == policy.SessionClosed:
		s.State = NodeLeft
	case rec != nil && rec.State == policy.SessionLive:
		s.State = NodeSuspect
	}
	return s, true
}

func (m *Machine) appStatus(a *app) AppStatus {
	s := AppStatus{
		Name: a.App, State: AppStopped, Epoch: a.seen, StartKind: policy.StartNormal,
		Permitted: map[node.Name]bool{}, Local: a.Spec == nil, Error: a.failed,
	}
	s.StartedOn = m.startedOn(a)
	if a.Spec == nil {
		m.localStatus(a, &s)
		return s
	}
	s.Timeout, s.Groups = a.Spec.Timeout, a.Spec.Groups
	for _, n := range a.Spec.Nodes() {
		s.Permitted[n] = m.permittedOn(a, n)
	}
	if a.rec != nil {
		s.Epoch, s.Since = a.rec.Owner.Epoch, a.rec.Since
		s.StartKind, s.From = a.rec.StartKind, a.rec.StartFrom
		s.Error = cmp.Or(a.rec.Error, s.Error)
		if next := a.rec.Next; !next.Empty() && !m.ended(next) {
			s.Next = next.Node
		}
	}
	s.State = m.appState(a, len(s.StartedOn) > 0)
	s.WaitingFor = a.awaited
	switch s.State {
	case AppRunning, AppStarting, AppStopping:
		s.Node = a.rec.Owner.Node
	case AppFailed:
		s.Error = m.failures(a)
	case AppFailingOver:
		if a.Spec.Timeout != policy.Infinite {
			s.FailoverAt = a.suspected.Add(a.timeout())
		}
	}
	return s
}

func (m *Machine) localStatus(a *app, s *AppStatus) {
	if a.run != nil && a.run.up {
		s.RunningOn = append(s.RunningOn, m.cfg.Self)
	}
	for _, mb := range m.members {
		if mb.present() && mb.apps[a.App].Running {
			s.RunningOn = append(s.RunningOn, mb.name)
		}
	}
	slices.Sort(s.RunningOn)
	switch {
	case len(s.RunningOn) > 0:
		s.State = AppRunning
	case a.failed != "":
		s.State = AppFailed
	}
}

func (m *Machine) startedOn(a *app) []node.Name {
	var out []node.Name
	if a.started {
		out = append(out, m.cfg.Self)
	}
	for _, mb := range m.members {
		if mb.present() && mb.apps[a.App].Started {
			out = append(out, mb.name)
		}
	}
	slices.Sort(out)
	return out
}

func (m *Machine) permittedOn(a *app, n node.Name) bool {
	if n == m.cfg.Self {
		return a.permitted
	}
	mb := m.memberOf[n]
	return mb == nil || !mb.apps[a.App].Denied
}

// appState is derived from the record and from what is heard; it is written
// nowhere (B-16).
func (m *Machine) appState(a *app, startedSomewhere bool) AppState {
	rec := a.rec
	switch {
	case rec == nil && startedSomewhere:
		return AppWaiting
	case rec == nil:
		return AppStopped
	case rec.Want == policy.WantStopped && !rec.Owner.Empty() && !m.ended(rec.Owner):
		return AppStopping
	case rec.Want == policy.WantStopped:
		return AppStopped
	case !rec.Owner.Empty() && !m.ended(rec.Owner) && (m.mine(rec.Owner) || m.ownerHeard(a)):
		return m.ownedState(a)
	case !startedSomewhere:
		return AppStopped
	case m.allFailed(a):
		return AppFailed
	case rec.Owner.Empty() || rec.First != policy.FirstNone || m.ended(rec.Owner) && m.timeoutOver(a) && !m.anyCandidate(a):
		return AppWaiting
	}
	return AppFailingOver
}

func (m *Machine) ownedState(a *app) AppState {
	rec := a.rec
	switch {
	case m.mine(rec.Owner) && a.run != nil && a.run.ordered, rec.First != policy.FirstNone:
		return AppStopping
	case rec.Phase == policy.PhaseStarting:
		return AppStarting
	}
	return AppRunning
}

// failures is why an app can't start on any node, with every reason (B-7).
func (m *Machine) failures(a *app) string {
	var out []string
	if a.failed != "" {
		out = append(out, fmt.Sprintf("%s: %s", m.cfg.Self, a.failed))
	}
	for _, mb := range m.members {
		if ab := mb.apps[a.App]; mb.present() && ab.Failed {
			out = append(out, fmt.Sprintf("%s: %s", mb.name, ab.Error))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// anyCandidate: somebody could run it now.
func (m *Machine) anyCandidate(a *app) bool {
	return slices.ContainsFunc(a.Spec.Nodes(), func(n node.Name) bool { return m.candidate(a, n) })
}

// allFailed: every node that has it started says that it can't start there.
func (m *Machine) allFailed(a *app) bool {
	some := false
	if a.started {
		some = true
		if a.failed == "" {
			return false
		}
	}
	for _, mb := range m.members {
		if ab := mb.apps[a.App]; mb.present() && ab.Started {
			some = true
			if !a.failedThere(ab) {
				return false
			}
		}
	}
	return some
}
