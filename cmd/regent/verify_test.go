package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/audit"
	"github.com/seed7529eb29/regent/policy/node"
)

var rewriteVerify = flag.Bool("rewrite", false, "write the golden files anew")

// told makes the events of two nodes on one host.
type told struct {
	events []kv.Event
	n      map[node.Name]uint64
}

func (s *told) by(n node.Name, at time.Duration, e kv.Event) {
	s.n[n]++
	e.Schema, e.Seq, e.Time = 1, uint64(len(s.events)+1), time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC).Add(at)
	e.Node, e.By, e.Life, e.N, e.Clock, e.Mono = n, n, policy.Nonce("life of "+n), s.n[n], "boot", int64(time.Hour+at)
	s.events = append(s.events, e)
}

// life is a claim, a start and a stop of myapp.
func (s *told) life(n node.Name, epoch policy.Epoch, from, to time.Duration) {
	e := kv.Event{App: "myapp", Epoch: epoch, Session: policy.Session("session of " + n), Claim: policy.Nonce("claim of " + n)}
	e.Type, e.Op, e.Sent = kv.Claimed, string(machine.OpClaim), int64(time.Hour+from-time.Millisecond)
	s.by(n, from, e)
	e.Type, e.Op, e.Sent, e.Run = kv.AppStarting, "", 0, 1
	s.by(n, from+time.Millisecond, e)
	e.Type = kv.AppStopped
	s.by(n, to, e)
}

func judged(events []kv.Event, records []policy.Cell) *verified {
	v := &verified{cluster: "default", skew: skewDefault, events: map[uint64]kv.Event{}}
	var all []audit.Event
	for _, e := range events {
		v.events[e.Seq] = e
		all = append(all, auditEvent(e))
	}
	v.report = audit.Check(all, records, audit.Options{Skew: v.skew})
	return v
}

func TestVerifyPrints(t *testing.T) {
	clean := &told{n: map[node.Name]uint64{}}
	clean.life("node1@lxw", 1, 0, time.Second)
	clean.life("node2@lxw", 2, 2*time.Second, 3*time.Second)
	broken := &told{n: map[node.Name]uint64{}}
	broken.life("node1@lxw", 1, 0, 5*time.Second)
	broken.life("node2@lxw", 2, 2*time.Second, 9*time.Second)
	broken.events = slices.DeleteFunc(broken.events, func(e kv.Event) bool { return e.Seq == 4 })
	record := func(rev policy.Revision, high policy.Epoch) policy.Cell {
		return policy.Cell{Key: policy.AppKey("myapp"), Rev: rev, App: &policy.AppRecord{
			App: "myapp", High: high, Owner: policy.Slot{Node: "node1@lxw", Session: "s", Nonce: policy.Nonce(rune('a' + rev)), Epoch: high},
		}}
	}
	for name, v := range map[string]*verified{
		"clean":   judged(clean.events, []policy.Cell{record(1, 1), record(2, 2)}),
		"broken":  judged(append(clean.events, kv.Event{Seq: 7, Time: clean.events[5].Time, Type: kv.DoubleOwner, App: "myapp", Detail: "seen"}), []policy.Cell{record(1, 2), record(2, 1)}),
		"missing": judged(broken.events, nil),
		"empty":   judged(nil, nil),
	} {
		for form, asJSON := range map[string]bool{"txt": false, "json": true} {
			var out bytes.Buffer
			if err := v.print(&out, asJSON); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "verify", name+"."+form), out.Bytes())
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *rewriteVerify {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: printed\n%s\nwant\n%s", path, got, want)
	}
}

// What the audit calls events is what the ledger calls them.
func TestAuditKnowsTheTypesOfEvents(t *testing.T) {
	s := &told{n: map[node.Name]uint64{}}
	s.life("node1@lxw", 1, 0, time.Second)
	s.by("node1@lxw", 2*time.Second, kv.Event{Type: kv.Fenced, Session: "session of node1@lxw"})
	s.by("node1@lxw", 3*time.Second, kv.Event{Type: kv.AppStarting, App: "myapp", Epoch: 1, Session: "session of node1@lxw", Claim: "claim of node1@lxw", Run: 2})
	r := judged(s.events, nil).report
	if len(r.Findings) != 1 || r.Findings[0].Kind != audit.AfterEnd || r.Claims != 1 || r.Instances != 2 {
		t.Errorf("%+v", r)
	}
}
