package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Knobs are what stays the same through one life.
type Knobs struct {
	Nodes      []node.Name
	Hosts      []int          // of each node
	Leases     []policy.Lease // of each node: their TTLs may differ
	Proofs     bool           // nodes of one host may look at one another's processes
	DriftPPM   int64          // clocks are at most this much too fast or too slow
	Specs      []*policy.Spec
	Apps       []AppKnobs
	AutoStart  [][]bool // by node and app: started at boot
	Sync       machine.Sync
	Audit      time.Duration // between two comparisons of the picture with the store
	Round      time.Duration // faults last about this long, then comes a calm
	Only       []faultKind   // the only faults there are; nil: all kinds
	BucketLoss bool          // the bucket is deleted and made again now and then
	Rollback   bool          // the store is set back now and then
	Sleeps     bool          // hosts are paused from outside, clocks and all
	Pauses     bool          // agents alone may stand still; the kernel's timer ends them at their deadline
	Warden     wardenMode
	Busy       float64 // makes faults and commands this many times as frequent
	Lively     bool    // many commands
	Big        bool    // many nodes and apps: its life is shorter
}

// AppKnobs are how an app behaves.
type AppKnobs struct {
	Type      policy.RestartType
	Restart   machine.Restart
	StartMax  time.Duration
	StopMax   time.Duration // the stop timeout: then it is killed
	FailStart float64
	CrashMean time.Duration // 0: it never ends by itself
	Clan      float64       // how often it has processes that the death of the agent does not end
	Stubborn  float64       // how often it ignores a stop until its timeout
}

// One seed in bigEvery is a big cluster, which lives bigShare as long: a simulated
// hour of it costs that much more.
const (
	bigEvery = 25
	bigShare = 1.0 / 20
)

// DriftPPM is the most a clock may be off: two of them then differ in rate by
// one in a thousand.
const DriftPPM = 500

// chance is a stream of random numbers for one concern: a draw added to one
// does not move the others.
type chance struct{ *rand.Rand }

// Streams of chance.
const (
	streamKnobs = iota
	streamNet
	streamStore
	streamFaults
	streamWork
	streamApps
	streamClock
)

func newChance(seed uint64, stream uint64) chance {
	return chance{rand.New(rand.NewPCG(seed, stream))}
}

func (c chance) happens(p float64) bool { return p > 0 && c.Float64() < p }

// upTo is uniform in [0, d].
func (c chance) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(c.Int64N(int64(d) + 1))
}

func (c chance) between(lo, hi time.Duration) time.Duration { return lo + c.upTo(hi-lo) }

// scale is log-uniform: as often between 1 and 10 as between 10 and 100.
func (c chance) scale(lo, hi time.Duration) time.Duration {
	l, h := math.Log(float64(lo)), math.Log(float64(hi))
	return time.Duration(math.Exp(l + (h-l)*c.Float64()))
}

// mean is exponential.
func (c chance) mean(d time.Duration) time.Duration {
	return time.Duration(c.ExpFloat64() * float64(d))
}

func pick[T any](c chance, of ...T) T { return of[c.IntN(len(of))] }

// NewKnobs draws the knobs of a seed.
func NewKnobs(seed uint64) *Knobs {
	c := newChance(seed, streamKnobs)
	k := &Knobs{DriftPPM: DriftPPM, Busy: 1}
	k.Big = seed%bigEvery == 0
	nodes := pick(c, 2, 2, 3, 3, 3, 4, 5)
	if k.Big {
		nodes = pick(c, 5, 6, 7)
	}
	for i := range nodes {
		k.Nodes = append(k.Nodes, node.Name(fmt.Sprintf("n%d@sim", i+1)))
	}
	k.drawHosts(c)
	k.drawLeases(c)
	apps := pick(c, 1, 1, 2, 3)
	if k.Big {
		apps = pick(c, 10, 20, 50)
	}
	for i := range apps {
		k.drawApp(c, i)
	}
	for range k.Nodes {
		k.AutoStart = append(k.AutoStart, starts(c, len(k.Specs)))
	}
	k.drawSync(c)
	k.Audit = c.between(time.Second, 4*time.Second)
	k.Round = c.scale(3*time.Minute, 30*time.Minute)
	k.Lively = c.happens(0.4)
	k.BucketLoss = c.happens(0.25)
	k.Pauses = c.happens(0.4)
	k.Rollback = c.happens(0.2)
	k.Sleeps = c.happens(0.3)
	k.Warden = pick(c, wardenAuto, wardenAuto, wardenAuto, wardenAuto, wardenOff, wardenRequire)
	for i := range k.Apps {
		if c.happens(0.5) {
			k.Apps[i].Clan = c.Float64()
		}
	}
	return k
}

func (k *Knobs) drawHosts(c chance) {
	layout := c.IntN(4)
	for i := range k.Nodes {
		host := i // each has its own
		switch layout {
		case 0:
			host = 0
		case 1:
			host = i / 2
		}
		k.Hosts = append(k.Hosts, host)
	}
	k.Proofs = c.happens(0.7)
}

// drawLeases makes heartbeats rarer than in production: they cost most of the
// time of a simulation and decide least.
func (k *Knobs) drawLeases(c chance) {
	ttl, skew := c.scale(2*time.Second, 20*time.Second), c.happens(0.15)
	beat := ttl / time.Duration(3+c.IntN(5))
	for range k.Nodes {
		if skew {
			ttl = c.scale(2*time.Second, 20*time.Second)
		}
		l := policy.NewLease(ttl, 0)
		l.Heartbeat = beat
		k.Leases = append(k.Leases, l)
	}
}

func (k *Knobs) drawApp(c chance, i int) {
	k.Specs = append(k.Specs, &policy.Spec{
		App:       appName(i),
		Timeout:   pick(c, 0, 0, policy.Timeout(c.upTo(10*time.Second)), policy.Timeout(c.upTo(3*time.Second)), policy.Infinite),
		Groups:    k.drawGroups(c),
		Takeover:  pick(c, policy.Exclusive, policy.Exclusive, policy.Overlap, policy.Overlap, policy.Never),
		FullStart: c.happens(0.5),
	})
	a := AppKnobs{
		Type:     pick(c, policy.Temporary, policy.Temporary, policy.Transient, policy.Permanent, policy.Permanent),
		Restart:  machine.Restart{Max: c.IntN(4), Within: c.scale(time.Second, time.Minute), Backoff: c.upTo(time.Second)},
		StartMax: c.scale(time.Millisecond, 3*time.Second),
		StopMax:  c.scale(10*time.Millisecond, 5*time.Second),
	}
	if c.happens(0.3) {
		a.FailStart = 0.3 * c.Float64()
	}
	if c.happens(0.4) {
		a.CrashMean = c.scale(3*time.Second, 10*time.Minute)
	}
	if c.happens(0.3) {
		a.Stubborn = c.Float64()
	}
	k.Apps = append(k.Apps, a)
}

// appName keeps the order of names that of numbers.
func appName(i int) policy.App {
	if names := []string{"red", "sea", "tin"}; i < len(names) {
		return policy.App(names[i])
	}
	return policy.App(fmt.Sprintf("u%02d", i))
}

// drawGroups is a priority list of some or all nodes, with or without tuples.
func (k *Knobs) drawGroups(c chance) (groups [][]node.Name) {
	order := slices.Clone(k.Nodes)
	c.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	if c.happens(0.2) {
		order = order[:1+c.IntN(len(order))]
	}
	tuples := pick(c, 0, 0, 0.5, 1)
	for _, n := range order {
		if last := len(groups) - 1; last >= 0 && c.happens(tuples) {
			groups[last] = append(groups[last], n)
			continue
		}
		groups = append(groups, []node.Name{n})
	}
	return groups
}

// starts draws which apps a node starts at boot: mostly all.
func starts(c chance, apps int) []bool {
	s := make([]bool, apps)
	for i := range s {
		s[i] = c.happens(0.85)
	}
	return s
}

func (k *Knobs) drawSync(c chance) {
	if c.happens(0.6) {
		return
	}
	k.Sync = machine.Sync{Defined: true, Timeout: policy.Timeout(c.between(time.Second, 6*time.Second))}
	for _, n := range k.Nodes {
		switch c.IntN(4) {
		case 0:
			k.Sync.Mandatory = append(k.Sync.Mandatory, n)
		case 1, 2:
			k.Sync.Optional = append(k.Sync.Optional, n)
		}
	}
	if len(k.Sync.Mandatory) == 0 && c.happens(0.2) {
		k.Sync.Timeout = policy.Infinite
	}
}

// leaseMax is the longest lease of all nodes.
func (k *Knobs) leaseMax() time.Duration {
	d := time.Duration(0)
	for _, l := range k.Leases {
		d = max(d, l.TTL)
	}
	return d
}

// Describe is the knobs in a few lines, for people.
func (k *Knobs) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes on hosts %v, TTL", len(k.Nodes), k.Hosts)
	for _, l := range k.Leases {
		fmt.Fprintf(&b, " %v", l.TTL.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, ", heartbeat %v, proofs %t, drift ±%d ppm, rounds of %v, sync %+v\n",
		k.Leases[0].Heartbeat.Round(time.Millisecond), k.Proofs, k.DriftPPM, k.Round.Round(time.Second), k.Sync)
	for i, s := range k.Specs {
		fmt.Fprintf(&b, "%s %s %+v\n", s.Canonical(), k.Apps[i].Type, k.Apps[i])
	}
	return b.String()
}
