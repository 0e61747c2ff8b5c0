package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed7529eb29/regent/manager/machine"
)

// Source gives what is true now. Nothing in it may block.
type Source struct {
	Status  func() *machine.Status // nil: there is nothing yet
	Now     func() machine.Instant
	Quorum  func() (servers int, ok bool)
	Dropped func() Dropped
}

// Dropped counts messages and lines that were not used, by reason.
type Dropped struct {
	Malformed, Newer, Foreign, TooLarge uint64 // heartbeats that could not be read
	Overflow                            uint64 // heartbeats that the connection had no room for
	Unheard                             uint64 // heartbeats that the node had no time for
	Unsent                              uint64 // own heartbeats that the connection had no room for
	BadCertificates                     uint64 // that could not be read
	EventsLost, EventsWaiting           uint64
}

// snapshot collects from a Source when it is looked at.
type snapshot struct{ source Source }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descSession  = desc(nameSession, "1 while this node has a valid session.")
	descDeadline = desc(nameDeadline, "Seconds until this node must end its apps, unless a renewal is acknowledged before; 0 without a session.")
	descQuorum   = desc(nameQuorum, "1 while the store has a quorum, as far as this node knows.")
	descServers  = desc(nameServers, "NATS servers that keep the store.")
	descNodes    = desc(nameNodes, "Nodes that this one knows, by state.", labelState)
	descRunning  = desc(nameAppRunning, "1 if the app runs somewhere, as this node sees it.", labelApp)
	descOwned    = desc(nameAppOwned, "1 if the app runs on this node.", labelApp)
	descEpoch    = desc(nameAppEpoch, "The app's epoch, as this node sees it. Must never go down.", labelApp)
	descMessages = desc(nameMessages, "Messages that were dropped, by reason.", labelReason)
	descLost     = desc(nameEventsLost, "Events of this node that are missing in the ledger.")
	descWaiting  = desc(nameEventsWaiting, "Events of this node that the ledger has not taken yet.")
)

// Describe implements prometheus.Collector.
func (snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descSession, descDeadline, descQuorum, descServers, descNodes, descRunning, descOwned, descEpoch,
		descMessages, descLost, descWaiting,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s snapshot) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st := s.source.Status()
	if st == nil {
		st = &machine.Status{}
	}
	left := 0.0
	if st.Session != "" && st.Fence != 0 {
		left = max(st.Fence.Sub(s.source.Now()).Seconds(), 0)
	}
	gauge(descSession, one(left > 0))
	gauge(descDeadline, left)
	servers, ok := s.source.Quorum()
	gauge(descQuorum, one(ok))
	gauge(descServers, float64(servers))
	s.collectNodes(st, gauge)
	s.collectApps(st, gauge)
	d := s.source.Dropped()
	count(descMessages, d.Malformed, "malformed")
	count(descMessages, d.Newer, "newer")
	count(descMessages, d.Foreign, "foreign")
	count(descMessages, d.TooLarge, "too_large")
	count(descMessages, d.Overflow, "overflow")
	count(descMessages, d.Unheard, "unheard")
	count(descMessages, d.Unsent, "unsent")
	count(descMessages, d.BadCertificates, "bad_certificate")
	count(descMessages, st.CertificatesIgnored, "unknown_certificate")
	count(descLost, d.EventsLost)
	gauge(descWaiting, float64(d.EventsWaiting))
}

func (snapshot) collectNodes(st *machine.Status, gauge func(*prometheus.Desc, float64, ...string)) {
	for _, state := range []machine.NodeState{machine.NodeSyncing, machine.NodeUp, machine.NodeSuspect, machine.NodeDown, machine.NodeLeft} {
		n := 0
		for _, node := range st.Nodes {
			if node.State == state {
				n++
			}
		}
		gauge(descNodes, float64(n), string(state))
	}
}

func (snapshot) collectApps(st *machine.Status, gauge func(*prometheus.Desc, float64, ...string)) {
	for _, a := range st.Apps {
		here := a.Node == st.Node && a.State == machine.AppRunning
		for _, n := range a.RunningOn {
			here = here || n == st.Node
		}
		gauge(descRunning, one(a.State == machine.AppRunning), string(a.Name))
		gauge(descOwned, one(here), string(a.Name))
		if !a.Local {
			gauge(descEpoch, float64(a.Epoch), string(a.Name))
		}
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
