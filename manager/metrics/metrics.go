package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Build says whose metrics they are.
type Build struct {
	Version string
	Cluster string
	Node    node.Name
}

// Metrics are those of one node. Its methods may be called from any goroutine
// and never block.
type Metrics struct {
	registry *prometheus.Registry

	doubles, claims, starts, failures, stops, exits *prometheus.CounterVec
	failovers, takeovers, certificates, renewals    *prometheus.CounterVec
	fences, suspicions                              prometheus.Counter
	renewal                                         prometheus.Histogram
}

// New makes the metrics of a node. source is asked whenever somebody looks.
func New(b Build, source Source) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	m.doubles = vec(nameDoubleOwner, "Alarms: this node saw two owners of one app, or epochs that went back. Must stay 0.", labelApp)
	m.claims = vec(nameClaims, "Claims that were acknowledged to this node.", labelApp, labelKind)
	m.starts = vec(nameStarts, "Instances that this node began to start.", labelApp, labelKind)
	m.failures = vec(nameStartFailures, "Starts on this node that failed.", labelApp)
	m.stops = vec(nameStops, "Instances on this node that ended as they were told to.", labelApp)
	m.exits = vec(nameExits, "Instances on this node that ended by themselves.", labelApp)
	m.failovers = vec(nameFailovers, "Apps that this node took from an owner that had ended.", labelApp)
	m.takeovers = vec(nameTakeovers, "Apps that this node took from a live owner, who gave way.", labelApp)
	m.fences = one(nameFences, "Sessions that this node gave up, killing its apps.")
	m.certificates = vec(nameCertificates, "Deaths of nodes that were proved: by a warden (heard), by this node after the lease, or by this node looking at processes of its host.", labelBy)
	m.suspicions = one(nameSuspicions, "Nodes that this node reported as suspected.")
	m.renewals = vec(nameRenewals, "Attempts to renew the lease.", labelOutcome)
	m.renewal = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: nameRenewalSeconds, Help: "How long renewals took that were acknowledged.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .4, 1, 2.5},
	})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: nameBuildInfo, Help: "1, labelled with what runs here.",
		ConstLabels: prometheus.Labels{labelVersion: b.Version, labelCluster: b.Cluster, labelNode: string(b.Node)},
	})
	info.Set(1)
	m.registry.MustRegister(m.renewal, info, snapshot{source},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, by := range []string{byWarden, byLease, bySameHost} {
		m.certificates.WithLabelValues(by)
	}
	return m
}

// Who proved a death.
const (
	byWarden   = "warden"
	byLease    = "lease"
	bySameHost = "same_host"
)

// Know makes an app's alarm visible before it is ever raised: what is not there
// can't be watched.
func (m *Metrics) Know(app policy.App) { m.doubles.WithLabelValues(string(app)) }

// Handler shows the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

// Noted counts a line of history.
func (m *Metrics) Noted(h machine.History) {
	app := string(h.App)
	switch h.Type {
	case "double_owner":
		m.doubles.WithLabelValues(app).Inc()
	case "claimed":
		m.claims.WithLabelValues(app, claimKind(h.Op)).Inc()
	case "app_starting":
		m.starts.WithLabelValues(app, h.Detail).Inc()
	case "app_start_failed":
		m.failures.WithLabelValues(app).Inc()
	case "app_stopped":
		m.stops.WithLabelValues(app).Inc()
	case "app_exited":
		m.exits.WithLabelValues(app).Inc()
	case "failover":
		m.failovers.WithLabelValues(app).Inc()
	case "takeover":
		m.takeovers.WithLabelValues(app).Inc()
	case "fenced":
		m.fences.Inc()
	case "node_suspect":
		m.suspicions.Inc()
	case "certified":
		m.certificates.WithLabelValues(bySameHost).Inc()
	case "node_down":
		if h.Op == machine.OpExpire {
			m.certificates.WithLabelValues(byLease).Inc()
		}
	}
}

func claimKind(op machine.Op) string {
	switch op {
	case machine.OpReserve:
		return "reserve"
	case machine.OpReassert:
		return "reassert"
	}
	return "claim"
}

// Wrote counts the outcome of a write.
func (m *Metrics) Wrote(op machine.Op, outcome policy.Outcome, took time.Duration) {
	if op != machine.OpRenew {
		return
	}
	m.renewals.WithLabelValues(outcome.String()).Inc()
	if outcome == policy.OutcomeOK {
		m.renewal.Observe(took.Seconds())
	}
}

// Heard counts a warden's certificate.
func (m *Metrics) Heard(machine.Certified) { m.certificates.WithLabelValues(byWarden).Inc() }
