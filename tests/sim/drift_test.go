package sim

import (
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// TestDrift: the lease holds up to the drift of clocks that it was made for,
// and breaks beyond what Kill and Late leave of it. Both say that the figures
// in Lease.Fence are what they must be.
func TestDrift(t *testing.T) {
	const lives, hours = 12, 1
	broken := 0
	for seed := range uint64(lives) {
		w := New(seed+1, drifting(seed+1, DriftPPM))
		if v := w.Live(hours); v != nil {
			t.Errorf("seed %d: drift within its bound: %v at %v", seed+1, v, w.Now())
		}
		w = New(seed+1, drifting(seed+1, 100*DriftPPM))
		if v := w.Live(hours); v != nil {
			broken++
		}
	}
	if broken == 0 {
		t.Errorf("clocks that are 5%% off broke nothing in %d lives", lives)
	}
	t.Logf("%d of %d lives broke with clocks that are 5%% off", broken, lives)
}

// drifting makes a life of long leases, of which a drift takes much, with the
// faults that make a difference.
func drifting(seed uint64, ppm int64) *Knobs {
	k := NewKnobs(seed)
	k.DriftPPM, k.BucketLoss, k.Proofs = ppm, false, false
	k.Only, k.Lively, k.Busy = []faultKind{faultCutOff}, false, 3
	for i := range k.Hosts {
		k.Hosts[i] = i
	}
	for i := range k.Apps {
		k.Apps[i].CrashMean = 0
	}
	for i := range k.Leases {
		k.Leases[i] = policy.NewLease(20*time.Second, 0)
		k.Leases[i].Heartbeat = 3 * time.Second
	}
	return k
}
