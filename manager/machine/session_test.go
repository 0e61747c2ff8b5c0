package machine

import (
	"reflect"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// former is a cell of n2 that another agent process wrote.
func former(state policy.SessionState) policy.SessionRecord {
	return policy.SessionRecord{
		Node: n2, Session: "old", Agent: "old-agent", State: state, TTL: 3 * time.Second,
		Host: policy.Host{MachineID: "elsewhere"},
	}
}

func TestS1Register(t *testing.T) {
	t.Run("absent cell", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		w := r.write(OpRegister)
		got := *w.Write.Cell.Node
		want := policy.SessionRecord{
			Node: n2, Session: got.Session, Agent: "agent-2", State: policy.SessionLive, Host: hostA, PID: 22,
			StartTime: 222, UID: 1000, Groups: "/run/groups", TTL: 3 * time.Second, Seq: 1, Since: rigWall,
		}
		if got.Session == "" || !reflect.DeepEqual(got, want) || w.Write.Expect != 0 {
			t.Errorf("S1 writes %+v at %d", got, w.Write.Expect)
		}
		r.ok(w)
		if !r.m.session.valid(r.now) || r.beat.Session != got.Session {
			t.Errorf("session %+v, beat %q after OK", r.m.session, r.beat.Session)
		}
	})
	for _, state := range []policy.SessionState{policy.SessionClosed, policy.SessionExpired, policy.SessionDead} {
		t.Run("former life "+string(state), func(t *testing.T) {
			r := bareRig(t)
			r.unheard = true
			c := r.putNode(former(state))
			r.snapshot()
			if w := r.write(OpRegister); w.Write.Expect != c.Rev || w.Write.Cell.Node.Session == "old" {
				t.Errorf("S1 = %+v, want a new session at %d", w.Write, c.Rev)
			}
		})
	}
	t.Run("live cell of a foreign agent is never overwritten", func(t *testing.T) {
		r := bareRig(t)
		r.unheard = true
		r.putNode(former(policy.SessionLive))
		r.snapshot()
		r.pass(2900 * time.Millisecond)
		r.noWrite()
		if len(r.proves) > 0 {
			t.Error("looked for processes of another host")
		}
		r.pass(150 * time.Millisecond)
		c := r.ok(r.write(OpExpire))
		if w := r.write(OpRegister); w.Write.Expect != c.Rev {
			t.Errorf("S1 expects %d, want %d", w.Write.Expect, c.Rev)
		}
	})
	t.Run("live cell of this agent after its fence", func(t *testing.T) {
		r := newRig(t, manualRenew)
		s, _ := r.starting()
		before := r.m.session.id
		r.fenceNow()
		if id := r.killed(); id != s.Run {
			t.Errorf("killed run %d, want %d", id, s.Run)
		}
		r.writes = nil
		r.pass(time.Second)
		r.noWrite() // a process of its own may be alive
		r.step(Exited{Run: s.Run})
		w := r.write(OpRegister)
		if got := w.Write.Cell.Node; got.Session == before || w.Write.Expect != r.cells[policy.NodeKey(n2)].Rev {
			t.Errorf("S1 = %+v at %d", got, w.Write.Expect)
		}
	})
	t.Run("not in the barrier, not when hidden, not in an unknown bucket", func(t *testing.T) {
		for _, opt := range []rigOption{
			config(func(c *Config) { c.Sync = Sync{Mandatory: nodes(n1), Timeout: policy.Infinite, Defined: true} }),
			config(func(c *Config) { c.Hidden = true }),
			config(func(c *Config) { c.Memory = Memory{} }),
		} {
			r := bareRig(t, opt)
			r.snapshot()
			r.pass(time.Second)
			r.noWrite()
		}
	})
	t.Run("refused: read again and decide again", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		w := r.write(OpRegister)
		r.unheard = true
		c := r.putNode(former(policy.SessionDead))
		r.refuse(w)
		r.noWrite()
		r.reread()
		if again := r.write(OpRegister); again.Write.Expect != c.Rev || again.Write.ID == w.Write.ID {
			t.Errorf("S1 = %+v, want a new request at %d", again.Write, c.Rev)
		}
	})
	t.Run("refused by a live foreign session: wait", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		w := r.write(OpRegister)
		r.unheard = true
		r.putNode(former(policy.SessionLive))
		r.refuse(w)
		r.reread()
		r.pass(time.Second)
		r.noWrite()
	})
	t.Run("unknown and landed: adopt the revision, not the time", func(t *testing.T) {
		r := bareRig(t, manualRenew)
		r.put(free(4))
		r.snapshot()
		w := r.write(OpRegister)
		r.call(VerbStart)
		r.jump(400 * time.Millisecond)
		c := r.commit(w)
		r.unknown(w)
		r.reread()
		if r.m.session.id != c.Node.Session || r.m.session.valid(r.now) {
			t.Fatalf("session %+v, want adopted and not valid", r.m.session)
		}
		renew := r.write(OpRenew) // and no claim before it is acknowledged
		if renew.Write.Expect != c.Rev {
			t.Errorf("S2 expects %d, want %d", renew.Write.Expect, c.Rev)
		}
		sent := r.now
		r.jump(100 * time.Millisecond)
		r.ok(renew)
		if got, want := r.m.session.deadline, sent.Add(r.lease().Fence()); got != want {
			t.Errorf("deadline %v, want %v", got, want)
		}
		r.write(OpClaim)
	})
	t.Run("unknown and not landed: again at the same revision", func(t *testing.T) {
		r := bareRig(t)
		r.snapshot()
		w := r.write(OpRegister)
		r.unknown(w)
		r.reread()
		r.noWrite() // it may still land: not at once
		r.pass(100 * time.Millisecond)
		again := r.write(OpRegister)
		if again.Write.Expect != 0 || again.Write.Cell.Node.Session == w.Write.Cell.Node.Session {
			t.Errorf("S1 = %+v", again.Write)
		}
		r.commit(w) // the first lands after all, its answer is for nobody
		r.step(Wrote{Req: w.Req, Outcome: policy.OutcomeOK, Rev: r.rev})
		if r.m.session.id != "" {
			t.Error("a late acknowledgement made a session")
		}
	})
}

func TestS2Renew(t *testing.T) {
	t.Run("after R, on its own revision", func(t *testing.T) {
		r := newRig(t, manualRenew)
		c := r.cells[policy.NodeKey(n2)]
		r.pass(r.lease().Renew - time.Millisecond)
		r.noWrite()
		r.pass(time.Millisecond)
		w := r.write(OpRenew)
		want := *c.Node
		want.Seq++
		if got := *w.Write.Cell.Node; !reflect.DeepEqual(got, want) || w.Write.Expect != c.Rev {
			t.Errorf("S2 writes %+v at %d, want %+v at %d", got, w.Write.Expect, want, c.Rev)
		}
	})
	t.Run("refused, the session is gone: kill and forget", func(t *testing.T) {
		for _, foreign := range []policy.SessionRecord{
			former(policy.SessionLive),
			func() policy.SessionRecord { s := former(policy.SessionExpired); s.Agent = "agent-2"; return s }(),
		} {
			r := newRig(t, manualRenew)
			run, _ := r.owns()
			r.jump(r.lease().Renew)
			w := r.write(OpRenew)
			r.unheard = true
			r.putNode(foreign)
			r.refuse(w)
			r.reread()
			if r.killed() != run || r.m.session.id != "" || r.m.appOf[theApp].claim != nil {
				t.Errorf("session %+v, claim %+v", r.m.session, r.m.appOf[theApp].claim)
			}
		}
	})
	t.Run("refused, still mine: adopt the revision, renew again", func(t *testing.T) {
		r := newRig(t, manualRenew)
		deadline := r.m.session.deadline
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		r.unheard = true
		mine := *w.Write.Cell.Node
		mine.Seq += 7
		c := r.putNode(mine)
		r.refuse(w)
		r.reread()
		if again := r.write(OpRenew); again.Write.Expect != c.Rev {
			t.Errorf("S2 expects %d, want %d", again.Write.Expect, c.Rev)
		}
		if r.m.session.deadline != deadline {
			t.Error("a read moved the deadline")
		}
	})
	t.Run("unknown: the identical request again", func(t *testing.T) {
		r := newRig(t, manualRenew)
		r.jump(r.lease().Renew)
		w := r.write(OpRenew)
		r.jump(r.lease().Request)
		r.unknown(w)
		again := r.write(OpRenew)
		if again.Write.ID != w.Write.ID || again.Write.Expect != w.Write.Expect || again.Write.Cell != w.Write.Cell {
			t.Errorf("%+v, want the identical request %+v", again.Write, w.Write)
		}
	})
	t.Run("none while fenced, none when closing with nothing alive", func(t *testing.T) {
		r := newRig(t, manualRenew)
		run, _ := r.owns()
		r.fenceNow()
		r.writes = nil
		r.pass(2 * time.Second)
		r.noWrite()
		if r.killed() != run {
			t.Error("not killed")
		}

		r = newRig(t, manualRenew)
		r.call(VerbShutdown)
		r.write(OpClose)
		r.pass(r.lease().Renew + 50*time.Millisecond)
		r.noWrite()
	})
}
