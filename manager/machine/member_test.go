package machine

import (
	"reflect"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func nodes(ns ...node.Name) []node.Name { return ns }

// wantsState checks a write that only ends the session in a node's cell.
func (r *rig) wantsState(op Op, old policy.Cell, state policy.SessionState) Write {
	r.t.Helper()
	w := r.write(op)
	want := *old.Node
	want.State = state
	if got := *w.Write.Cell.Node; !reflect.DeepEqual(got, want) || w.Write.Expect != old.Rev {
		r.t.Errorf("%s writes %+v at %d, want %+v at %d", op, got, w.Write.Expect, want, old.Rev)
	}
	return w
}

// frozen is a node that neither beats nor renews any more; its cell is old.
func (r *rig) frozen(n node.Name, change func(*policy.SessionRecord)) policy.Cell {
	r.t.Helper()
	p := r.stranger(n)
	p.rec.Session, p.rec.Agent = "s-old", p.agent
	if change != nil {
		change(&p.rec)
	}
	return r.putNode(p.rec)
}

func TestS3Expire(t *testing.T) {
	for _, tc := range []struct {
		name   string
		theirs time.Duration
		after  time.Duration
	}{
		{"own lease is longer", time.Second, 3 * time.Second},
		{"stated lease is longer", 7 * time.Second, 7 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			c := r.frozen(n1, func(s *policy.SessionRecord) { s.TTL = tc.theirs })
			r.pass(tc.after - time.Millisecond)
			r.noWrite()
			r.pass(time.Millisecond)
			r.ok(r.wantsState(OpExpire, c, policy.SessionExpired))
			r.pass(10 * time.Second)
			r.noWrite()
		})
	}
	t.Run("without a session of its own", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		c := r.frozen(n1, nil)
		r.fenceNow()
		r.writes = nil
		r.pass(r.lease().TTL)
		r.wantsState(OpExpire, c, policy.SessionExpired)
		if r.m.session.id != "" || r.killed() != run {
			t.Error("it was to have no session")
		}
	})
	for _, state := range []policy.SessionState{policy.SessionClosed, policy.SessionExpired, policy.SessionDead} {
		t.Run("not one that is "+string(state), func(t *testing.T) {
			r := newRig(t)
			r.frozen(n1, func(s *policy.SessionRecord) { s.State = state })
			r.pass(10 * time.Second)
			r.noWrite()
		})
	}
	t.Run("not one that is renewed, however silent", func(t *testing.T) {
		r := newRig(t)
		r.join(n1).mute = true
		r.pass(10 * time.Second)
		r.noWrite()
	})
	t.Run("one that beats and does not renew", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		p.stuck = true
		r.pass(r.lease().TTL)
		r.wantsState(OpExpire, r.cells[policy.NodeKey(n1)], policy.SessionExpired)
	})
	t.Run("refused: not done, count again", func(t *testing.T) {
		r := newRig(t)
		p := r.stranger(n1)
		p.rec.Session, p.rec.Agent = "s-old", p.agent
		r.putNode(p.rec)
		r.pass(r.lease().TTL)
		w := r.write(OpExpire)
		r.unheard = true
		p.rec.Seq++
		c := r.putNode(p.rec)
		r.refuse(w)
		r.reread()
		r.step(r.change(c))
		r.pass(r.lease().TTL - time.Millisecond)
		r.noWrite()
		r.pass(time.Millisecond)
		r.wantsState(OpExpire, c, policy.SessionExpired)
	})
	t.Run("unknown: read again", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, nil)
		r.pass(r.lease().TTL)
		w := r.write(OpExpire)
		r.unknown(w)
		r.reread() // not landed
		r.pass(100 * time.Millisecond)
		w = r.wantsState(OpExpire, c, policy.SessionExpired)
		r.commit(w)
		r.unknown(w)
		r.reread() // landed
		r.pass(time.Second)
		r.noWrite()
	})
}

func TestS4Certify(t *testing.T) {
	sameHost := func(s *policy.SessionRecord) { s.Host, s.UID = hostA, 1000 }
	t.Run("proved gone", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		if len(r.proves) != 1 || !reflect.DeepEqual(r.proves[0].Record, *c.Node) {
			t.Fatalf("proves = %+v", r.proves)
		}
		r.noWrite()
		r.step(Proved{Node: n1, Agent: c.Node.Agent, Gone: true})
		r.ok(r.wantsState(OpCertify, c, policy.SessionDead))
		r.noWrite()
	})
	t.Run("not proved: look again, later the lease", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		for range 3 {
			r.step(Proved{Node: n1, Agent: c.Node.Agent})
			r.pass(50 * time.Millisecond)
		}
		r.noWrite()
		if len(r.proves) != 4 {
			t.Errorf("looked %d times, want 4", len(r.proves))
		}
		r.pass(r.lease().TTL)
		r.wantsState(OpExpire, c, policy.SessionExpired)
	})
	for _, tc := range []struct {
		name   string
		change func(*policy.SessionRecord)
	}{
		{"another machine", func(s *policy.SessionRecord) { s.Host.MachineID = "x" }},
		{"another boot", func(s *policy.SessionRecord) { s.Host.BootID = "x" }},
		{"another PID namespace", func(s *policy.SessionRecord) { s.Host.PIDNamespace = 8 }},
		{"another user", func(s *policy.SessionRecord) { s.UID = 0 }},
		{"no longer live", func(s *policy.SessionRecord) { s.State = policy.SessionClosed }},
	} {
		t.Run("no proof: "+tc.name, func(t *testing.T) {
			r := newRig(t)
			r.frozen(n1, func(s *policy.SessionRecord) { sameHost(s); tc.change(s) })
			r.pass(time.Second)
			r.noWrite()
			if len(r.proves) > 0 {
				t.Errorf("asked for %+v", r.proves)
			}
		})
	}
	t.Run("no look at one that is heard", func(t *testing.T) {
		r := newRig(t)
		p := r.stranger(n1)
		sameHost(&p.rec)
		p.register("s1")
		r.proves = nil // at the first sight of the cell nothing was heard yet
		r.step(Proved{Node: n1, Agent: p.agent})
		r.pass(time.Second)
		if len(r.proves) > 0 {
			t.Errorf("asked for %+v", r.proves)
		}
	})
	t.Run("a proof for another agent process proves nothing", func(t *testing.T) {
		r := newRig(t)
		r.frozen(n1, sameHost)
		r.step(Proved{Node: n1, Agent: "another", Gone: true})
		r.noWrite()
	})
	t.Run("a record that names no agent process is not proved gone by default", func(t *testing.T) {
		r := newRig(t)
		r.frozen(n1, func(s *policy.SessionRecord) { s.Agent = "" })
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("the next life came in between", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		next := *c.Node
		next.Agent, next.Session = "next-agent", "s-next"
		r.putNode(next)
		r.step(Proved{Node: n1, Agent: c.Node.Agent, Gone: true})
		r.noWrite()
	})
	t.Run("refused by a late renewal of the dead: again", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		r.step(Proved{Node: n1, Agent: c.Node.Agent, Gone: true})
		w := r.write(OpCertify)
		r.unheard = true
		late := *c.Node
		late.Seq++
		c = r.putNode(late)
		r.refuse(w)
		r.reread()
		r.wantsState(OpCertify, c, policy.SessionDead)
	})
	t.Run("refused by another life: finished", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		r.step(Proved{Node: n1, Agent: c.Node.Agent, Gone: true})
		w := r.write(OpCertify)
		r.unheard = true
		next := *c.Node
		next.Agent, next.Session = "next-agent", "s-next"
		r.putNode(next)
		r.refuse(w)
		r.reread()
		r.noWrite()
	})
	t.Run("unknown: read again, idempotent", func(t *testing.T) {
		r := newRig(t)
		c := r.frozen(n1, sameHost)
		r.step(Proved{Node: n1, Agent: c.Node.Agent, Gone: true})
		r.unknown(r.write(OpCertify))
		r.reread()
		r.pass(100 * time.Millisecond)
		r.wantsState(OpCertify, c, policy.SessionDead)
	})
	t.Run("its own former life on this host, before it registers", func(t *testing.T) {
		r := bareRig(t)
		r.unheard = true
		life := former(policy.SessionLive)
		sameHost(&life)
		c := r.putNode(life)
		r.snapshot()
		if len(r.proves) != 1 {
			t.Fatalf("proves = %+v", r.proves)
		}
		r.step(Proved{Node: n2, Agent: "old-agent", Gone: true})
		dead := r.ok(r.wantsState(OpCertify, c, policy.SessionDead))
		if w := r.write(OpRegister); w.Write.Expect != dead.Rev {
			t.Errorf("S1 expects %d, want %d", w.Write.Expect, dead.Rev)
		}
	})
}

// Suspicion: three beats missed, or a connection that ended (never proof).
func TestSuspicion(t *testing.T) {
	t.Run("three heartbeats missed", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		p.silent = true
		r.pass(r.lease().Suspicion() - time.Millisecond)
		if !r.m.memberOf[n1].present() {
			t.Error("suspected early")
		}
		r.pass(time.Millisecond)
		if r.m.memberOf[n1].present() || countHistory(r, "node_suspect") != 1 {
			t.Error("not suspected")
		}
	})
	t.Run("a connection ended", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		r.step(Disconnected{Node: n1})
		if r.m.memberOf[n1].present() {
			t.Error("not suspected")
		}
		p.speak()
		if !r.m.memberOf[n1].present() {
			t.Error("still suspected though heard")
		}
	})
	t.Run("its death is certified", func(t *testing.T) {
		r := newRig(t, timeout(0))
		p := r.standby(n1)
		r.put(ownedBy(p, 4))
		r.call(VerbStart)
		p.ends(policy.SessionDead) // nobody has said so beside, and its connection is still thought to be there
		if r.m.memberOf[n1].present() || countHistory(r, "node_suspect") != 1 {
			t.Error("not suspected")
		}
		r.write(OpClaim)
	})
	t.Run("the death of another life is certified", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		p.agent += "'"
		p.n = 0
		p.speak()
		p.suspected() // the life before
		p.speak()
		p.ends(policy.SessionDead)
		if !r.m.memberOf[n1].present() {
			t.Error("the next life is suspected")
		}
	})
	t.Run("one node writes it down", func(t *testing.T) {
		r := newRig(t)
		r.join(n1)
		p := r.join(n3)
		p.suspected()
		if countHistory(r, "node_suspect") != 0 {
			t.Error("n1 is there to write it")
		}
	})
	t.Run("late and foreign beats count for nothing", func(t *testing.T) {
		r := newRig(t)
		p := r.join(n1)
		old := Beat{Node: n1, Agent: p.agent, Session: p.session, N: 99, Phase: BeatUp}
		p.returns()
		p.suspected()
		r.step(Heard{Beat: old})                                                          // a straggler of the life before
		r.step(Heard{Beat: Beat{Node: n1, Agent: p.agent, N: p.n, Phase: BeatUp}})        // repeated
		r.step(Heard{Beat: Beat{Node: n1, Agent: r.m.cfg.Agent, N: 1000, Phase: BeatUp}}) // its own
		r.step(Heard{Beat: Beat{Agent: "x", N: 1}})                                       // of nobody
		r.step(Heard{Beat: Beat{Node: n1, N: 1}})                                         // of no process
		if r.m.memberOf[n1].present() {
			t.Error("heard")
		}
	})
}

func countHistory(r *rig, typ string) int {
	n := 0
	for _, h := range r.history {
		if h.Type == typ {
			n++
		}
	}
	return n
}

// Somebody who knows the cookie can make a live node look gone, but not for
// long: it goes on speaking, and what was made up does not.
func TestForgedBeatsHeal(t *testing.T) {
	for name, forged := range map[string]func(*peer) Beat{
		"a count that can't be reached": func(p *peer) Beat {
			return Beat{Node: n1, Agent: p.agent, Session: p.session, N: 1 << 60, Phase: BeatLeft}
		},
		"another life without a session": func(*peer) Beat {
			return Beat{Node: n1, Agent: "forged", N: 1, Phase: BeatLeft}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.join(n1)
			r.step(Heard{Beat: forged(p)})
			r.pass(3 * time.Second)
			if !r.m.memberOf[n1].present() {
				t.Error("not heard any more")
			}
		})
	}
}

// A store that went back gives revisions to other values: the life that is read
// at a known revision is another one, and is not certified by the death of the
// one before (S4).
func TestRevisionGivenTwice(t *testing.T) {
	r := newRig(t)
	old := r.putNode(policy.SessionRecord{Node: n1, Session: "u", Agent: "a", State: policy.SessionLive, Host: hostA, UID: 1000, TTL: 3 * time.Second})
	rec := *old.Node
	rec.Session, rec.Agent = "v", "b"
	again := old
	again.Node = &rec
	r.step(r.change(again))
	if got := r.m.member(n1).cell.Node.Session; got != "v" {
		t.Errorf("it is taken for session %s", got)
	}
	for _, p := range r.proves {
		r.step(Proved{Node: n1, Agent: p.Record.Agent, Gone: p.Record.Agent == "a"})
	}
	r.noWrite()
}

// Of a node that came back the status tells no session until its new life has
// one: whoever waits for it must not take the former life's for it.
func TestStatusHasNoSessionOfAFormerLife(t *testing.T) {
	r := newRig(t)
	seen := func() (s NodeStatus) {
		for _, n := range r.m.Status().Nodes {
			if n.Name == n1 {
				s = n
			}
		}
		return s
	}
	p := r.join(n1)
	if s := seen(); s.State != NodeUp || s.Session != p.session {
		t.Errorf("joined: %+v", s)
	}
	p.suspected()
	former := p.session
	p.agent, p.n, p.session, p.silent, p.stuck = p.agent+"'", 0, "", false, true
	p.speak()
	if s := seen(); s.State != NodeUp || s.Session != "" {
		t.Errorf("the next life, while the cell is the former's: %+v", s)
	}
	p.register(string(former) + "'")
	if s := seen(); s.State != NodeUp || s.Session != former+"'" {
		t.Errorf("registered: %+v", s)
	}
}
