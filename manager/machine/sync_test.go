package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func barrier(mandatory, optional []node.Name, d policy.Timeout) rigOption {
	return config(func(c *Config) {
		c.Sync = Sync{Mandatory: mandatory, Optional: optional, Timeout: d, Defined: true}
		c.Apps[0].Start = true
	})
}

const fiveSeconds = policy.Timeout(5 * time.Second)

func (r *rig) phase() BeatPhase { return r.m.Status().Phase }

func TestBarrier(t *testing.T) {
	t.Run("without a timeout nothing is waited for (A-8)", func(t *testing.T) {
		r := bareRig(t, config(func(c *Config) { c.Sync.Mandatory = nodes(n1) }))
		if r.phase() != BeatUp {
			t.Error("waits")
		}
	})
	t.Run("opens as soon as all are there, whatever the timeout (A-9)", func(t *testing.T) {
		for _, d := range []policy.Timeout{fiveSeconds, policy.Infinite} {
			r := bareRig(t, barrier(nodes(n1, n2), nodes(n3), d)) // itself in its list does no harm
			r.snapshot()
			r.join(n1)
			r.pass(time.Second)
			if got := r.m.Status().Missing; len(got) != 1 || got[0] != n3 {
				t.Errorf("missing = %v", got)
			}
			r.noWrite()
			r.join(n3)
			if r.phase() != BeatUp {
				t.Error("still waits")
			}
			r.write(OpRegister)
		}
	})
	t.Run("the timer fires without optional ones: on it goes (A-9, A-14)", func(t *testing.T) {
		r := bareRig(t, barrier(nil, nodes(n3), fiveSeconds))
		r.pass(4950 * time.Millisecond)
		if r.phase() != BeatSyncing {
			t.Error("up early")
		}
		r.pass(50 * time.Millisecond)
		if r.phase() != BeatUp {
			t.Error("still waits")
		}
	})
	t.Run("the timer fires without a mandatory one: exit 3 (A-11)", func(t *testing.T) {
		r := bareRig(t, barrier(nodes(n1, n3), nil, fiveSeconds))
		r.step(RefusedBy{Node: n3})
		r.join(n1)
		r.pass(5 * time.Second)
		if r.exit == nil || r.exit.Code != 3 || r.exit.Reason != "mandatory nodes down: n3@h (refused: other cookie)" {
			t.Errorf("exit = %+v", r.exit)
		}
		r.noWrite()
	})
	t.Run("one that has died again does not count (B-14)", func(t *testing.T) {
		r := bareRig(t, barrier(nodes(n1, n3), nil, fiveSeconds))
		r.join(n1).suspected()
		r.join(n3)
		r.pass(time.Second)
		if r.phase() != BeatSyncing {
			t.Error("up")
		}
	})
	t.Run("hidden nodes take no part (B-25)", func(t *testing.T) {
		r := bareRig(t, barrier(nodes(n1), nil, fiveSeconds))
		r.step(Heard{Beat: Beat{Node: n1, Agent: "a", N: 1, Phase: BeatUp, Hidden: true}})
		if r.phase() != BeatSyncing {
			t.Error("a hidden node counted")
		}
		r = bareRig(t, barrier(nodes(n1), nil, fiveSeconds), config(func(c *Config) { c.Hidden = true }))
		if r.phase() != BeatUp {
			t.Error("a hidden node waits")
		}
	})
	t.Run("never ends with infinity", func(t *testing.T) {
		r := bareRig(t, barrier(nodes(n1), nil, policy.Infinite))
		r.pass(time.Hour / 60)
		if r.phase() != BeatSyncing || r.exit != nil {
			t.Error("ended")
		}
	})
	t.Run("a start meanwhile is pending", func(t *testing.T) {
		r := bareRig(t, barrier(nodes(n1), nil, policy.Infinite))
		r.snapshot()
		r.call(VerbStart)
		r.pass(time.Second)
		r.pending()
		r.quiet()
	})
}

// two nodes of one name.
func TestDuplicateName(t *testing.T) {
	other := func(r *rig, agent policy.Nonce, session policy.Session, n int) {
		for i := range n {
			r.now = r.now.Add(250 * time.Millisecond)
			r.step(Heard{Beat: Beat{Node: n2, Agent: agent, Session: session, N: uint64(i + 1), Phase: BeatUp}})
		}
	}
	exits := func(t *testing.T, r *rig, want bool) {
		t.Helper()
		if got := r.exit != nil && r.exit.Code == 7; got != want {
			t.Errorf("exit = %+v, want 7: %t", r.exit, want)
		}
	}
	t.Run("one with a session is heard: this one ends", func(t *testing.T) {
		r := bareRig(t)
		other(r, "zzz", "s", 6)
		exits(t, r, true)
		if !strings.Contains(r.exit.Reason, "seems to be in use by another node") {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("of two without one the lesser nonce stays", func(t *testing.T) {
		r := bareRig(t)
		other(r, "zzz", "", 6)
		exits(t, r, false)
		r = bareRig(t)
		other(r, "aaa", "", 6)
		exits(t, r, true)
	})
	t.Run("stragglers of a dead life are none", func(t *testing.T) {
		r := bareRig(t)
		other(r, "zzz", "s", 2)
		r.pass(5 * time.Second)
		exits(t, r, false)
	})
	t.Run("who has a session stays", func(t *testing.T) {
		r := newRig(t)
		other(r, "aaa", "s", 10)
		exits(t, r, false)
	})
	t.Run("a foreign agent renews the cell of this name", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		r.write(OpRegister)
		rec := former(policy.SessionLive)
		for range 3 {
			rec.Seq++
			r.putNode(rec)
		}
		exits(t, r, true)
	})
}

// B-10: whoever joins with another specification is refused; who runs stays.
func TestDigest(t *testing.T) {
	differs := func(r *rig) {
		r.step(Heard{Beat: Beat{Node: n1, Agent: "a", Session: "s", N: 1, Phase: BeatUp, Full: true, Digest: "another"}})
	}
	t.Run("the joining node ends with 6", func(t *testing.T) {
		r := bareRig(t)
		differs(r)
		if r.exit == nil || r.exit.Code != 6 || !strings.Contains(r.exit.Reason, "n1@h") {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("calls that wait are answered before the end", func(t *testing.T) {
		r := bareRig(t)
		r.call(VerbStart)
		differs(r)
		if err := r.answer(); err == nil || err.Kind != RefuseClosing {
			t.Errorf("start: %v", err)
		}
	})
	t.Run("one with a session stays", func(t *testing.T) {
		r := newRig(t)
		differs(r)
		if r.exit != nil {
			t.Errorf("exit = %+v", r.exit)
		}
	})
	t.Run("a hidden one does not care", func(t *testing.T) {
		r := bareRig(t, config(func(c *Config) { c.Hidden = true }))
		differs(r)
		if r.exit != nil {
			t.Errorf("exit = %+v", r.exit)
		}
	})
}

func TestBeats(t *testing.T) {
	r := newRig(t)
	count := func() (full, brief int) {
		for range 20 { // five seconds
			r.now = r.now.Add(250 * time.Millisecond)
			for _, a := range r.m.Step(r.now, Tick{}) {
				switch b, ok := a.(SendBeat); {
				case !ok:
				case b.Beat.Full:
					full++
				default:
					brief++
				}
			}
		}
		return full, brief
	}
	if full, brief := count(); full < 2 || full+brief != 20 {
		t.Errorf("%d full and %d brief beats in five seconds", full, brief)
	}
	t.Run("at once when something changes", func(t *testing.T) {
		r := newRig(t)
		n := r.beat.N
		r.call(VerbPermit, permitted(false))
		if r.beat.N != n+1 || !r.beat.Apps[0].Denied {
			t.Errorf("beat = %+v", r.beat)
		}
	})
	t.Run("a brief one leaves what a full one said", func(t *testing.T) {
		r := newRig(t)
		p := r.standby(n1)
		r.step(Heard{Beat: Beat{Node: n1, Agent: p.agent, Session: p.session, N: 99, Phase: BeatUp}})
		if !r.m.memberOf[n1].apps[theApp].Started || !r.m.memberOf[n1].known {
			t.Error("forgotten")
		}
	})
}
