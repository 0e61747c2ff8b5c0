package policy

import (
	"fmt"
	"time"
)

// Lease holds the durations of one node's lease. They are relations, not
// tastes: see Validate.
type Lease struct {
	TTL       time.Duration // others may expire a session unchanged for this long
	Renew     time.Duration // between two renewals
	Request   time.Duration // how long one request to the store may take
	Kill      time.Duration // longest time from the decision to "the processes are gone"
	Late      time.Duration // how late a timer may fire
	Heartbeat time.Duration // between two heartbeats
	KVOutage  time.Duration // longest outage of the store that must not move an app
}

// Defaults of the lease. With servers embedded, elections take 0.3 to 0.6 s; a
// stock NATS cluster stops KV writes for 4 to 10 s when a stream leader dies.
const (
	EmbeddedTTL      = 3 * time.Second
	EmbeddedKVOutage = 1300 * time.Millisecond
	ExternalTTL      = 20 * time.Second
	ExternalKVOutage = 10 * time.Second
)

// NewLease derives every duration from ttl.
func NewLease(ttl, kvOutage time.Duration) Lease {
	return Lease{
		TTL:       ttl,
		Renew:     ttl / 6,
		Request:   ttl * 2 / 15,
		Kill:      200 * time.Millisecond,
		Late:      100 * time.Millisecond,
		Heartbeat: min(ttl/12, 250*time.Millisecond),
		KVOutage:  kvOutage,
	}
}

// driftPerMille bounds the difference in rate of two clocks: one in a thousand.
const driftPerMille = 1

// Fence is how long after the sending of an acknowledged renewal the holder
// may go on: TTL·(1−ρ)/(1+ρ) − Kill − Late. The holder's processes are gone
// before any observer, however stale its view, can have counted TTL.
func (l Lease) Fence() time.Duration {
	return l.TTL*(1000-driftPerMille)/(1000+driftPerMille) - l.Kill - l.Late
}

// Suspicion is the silence after which a node is suspected: three heartbeats.
func (l Lease) Suspicion() time.Duration { return 3 * l.Heartbeat }

// TRes is how long a free app stays reserved for a live node that does nothing.
func (l Lease) TRes() time.Duration { return l.TTL }

// FailoverMax is the longest time from the loss of a host to the claim by
// another, with the lease alone and a Timeout of 0.
func (l Lease) FailoverMax() time.Duration { return l.TTL + time.Second }

// Validate checks the inequality that keeps an app where it is through an
// outage of KVOutage: Fence ≥ Renew + 2·Request + KVOutage.
func (l Lease) Validate() error {
	need := l.Renew + 2*l.Request + l.KVOutage
	if fence := l.Fence(); fence <= 0 || fence < need {
		return fmt.Errorf("lease %v is too short: %v are left before the fence, but renewal (%v), two requests (%v each) and kv_outage (%v) need %v; raise lease or lower kv_outage",
			l.TTL, max(fence, 0), l.Renew, l.Request, l.KVOutage, need)
	}
	return nil
}
