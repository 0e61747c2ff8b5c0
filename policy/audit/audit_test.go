package audit

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

var opts = Options{Skew: testSkew}

// A history that keeps the rules has no finding, and every succession in it is
// judged or said not to be.
func TestCorrectHistoriesHaveNoFinding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		r := Check(w.events(), nil, opts)
		for _, f := range r.Findings {
			t.Errorf("%s: %s\n%s", f.Kind, f.Text, lines(f.Evidence))
		}
		if r.Events != len(w.written) {
			t.Errorf("%d events of %d", r.Events, len(w.written))
		}
		ran := map[policy.App]bool{}
		for _, e := range w.written {
			ran[e.App] = ran[e.App] || e.Type == typeStarting
		}
		delete(ran, "")
		want := r.Instances
		for _, some := range ran {
			if some {
				want--
			}
		}
		if got := r.Exact + r.TimeOfDay + r.Unjudged; got != want {
			t.Errorf("%d successions were judged, not %d: %+v", got, want, r)
		}
	})
}

// Nothing is concluded from silence: whatever is missing, there is no finding.
func TestMissingEventsAreNoFinding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		events, share := w.events(), 1+w.rng(10)
		events = slices.DeleteFunc(events, func(Event) bool { return w.rng(share) == 0 })
		if r := Check(events, nil, opts); len(r.Findings) > 0 {
			t.Errorf("%s\n%s", r.Findings[0].Text, lines(r.Findings[0].Evidence))
		}
		cut := w.rng(len(events) + 1)
		if r := Check(events[cut:], nil, Options{Skew: testSkew, Middle: true}); len(r.Findings) > 0 {
			t.Errorf("from %d: %s\n%s", cut, r.Findings[0].Text, lines(r.Findings[0].Evidence))
		}
	})
}

// The order of what is given, and repetitions, make no difference.
func TestOrderMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		events := w.events()
		again := rapid.Permutation(append(slices.Clone(events), events...)).Draw(t, "order")
		if a, b := Check(events, nil, opts), Check(again, nil, opts); !reflect.DeepEqual(a, b) {
			t.Errorf("%+v\n%+v", a, b)
		}
	})
}

// plants are violations: what is written into the history of a cluster that
// otherwise keeps the rules, and what it is found as.
var plants = map[string]struct {
	kind  Kind
	plant func(w *world, a *testApp, n, other *testNode)
}{
	"two at once on one host": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		other.host = n.host
		x := w.claim(a, n, "A1 claim", "")
		w.start(a, x)
		y := w.claim(a, other, "A1 claim", n.name)
		w.start(a, y)
		w.about(a, x, typeStopped)
	}},
	"two at once on two hosts": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		x := w.claim(a, n, "A1 claim", "")
		w.start(a, x)
		y := w.claim(a, other, "A1 claim", n.name)
		w.start(a, y)
		w.now += 3 * testSkew
		w.about(a, x, typeStopped)
	}},
	"two at once in one life": {Overlap, func(w *world, a *testApp, n, _ *testNode) {
		w.start(a, w.claim(a, n, "A1 claim", ""))
		w.start(a, w.claim(a, n, "A1 claim", ""))
	}},
	"the other's session went on": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		w.start(a, w.claim(a, n, "A1 claim", ""))
		w.start(a, w.claim(a, other, "A1 claim", n.name))
		w.now += 3 * testSkew
		w.claim(&testApp{name: "another"}, n, "A1 claim", "")
	}},
	"before the end was proved": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		w.start(a, w.claim(a, n, "A1 claim", ""))
		w.start(a, w.claim(a, other, "A1 claim", n.name))
		w.now += 3 * testSkew
		w.fence(n)
	}},
	"three in an overlap takeover": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		x := w.claim(a, n, "A1 claim", "")
		w.start(a, x)
		y := w.claim(a, other, opReserve, n.name)
		w.start(a, y)
		z := w.claim(a, &testNode{name: "n9@h", host: n.host, life: "the third life", session: "the third session"}, opReserve, n.name)
		w.start(a, z)
		w.now += 3 * testSkew
		w.about(a, x, typeStopped)
		w.about(a, y, typeStopped)
	}},
	"a reservation from somebody else": {Overlap, func(w *world, a *testApp, n, other *testNode) {
		other.host = n.host
		x := w.claim(a, n, "A1 claim", "")
		w.start(a, x)
		w.start(a, w.claim(a, other, opReserve, "n9@h"))
		w.about(a, x, typeStopped)
	}},
	"one epoch, two claims": {DoubleOwner, func(w *world, a *testApp, n, other *testNode) {
		w.claim(a, n, "A1 claim", "")
		a.epoch--
		w.claim(a, other, "A1 claim", "")
	}},
	"started under another's epoch": {DoubleOwner, func(w *world, a *testApp, n, other *testNode) {
		r := *w.claim(a, n, "A1 claim", "")
		r.node, r.session, r.claim = other, other.session, "made up"
		w.start(a, &r)
	}},
	"a lower epoch later": {WentBack, func(w *world, a *testApp, n, other *testNode) {
		other.host = n.host
		a.epoch += 10
		w.claim(a, n, "A1 claim", "")
		a.epoch -= 5
		w.claim(a, other, "A1 claim", "")
		a.epoch += 5
	}},
	"a lower epoch later, on another host": {WentBack, func(w *world, a *testApp, n, other *testNode) {
		a.epoch += 10
		w.claim(a, n, "A1 claim", "")
		a.epoch -= 5
		w.now += 3 * testSkew
		w.claim(a, other, "A1 claim", "")
		a.epoch += 5
	}},
	"started without a claim": {WithoutClaim, func(w *world, a *testApp, n, _ *testNode) {
		a.epoch++
		w.start(a, &testRun{node: n, session: n.session, claim: "made up", epoch: a.epoch})
	}},
	"started after its fence": {AfterEnd, func(w *world, a *testApp, n, _ *testNode) {
		r := w.claim(a, n, "A1 claim", "")
		w.fence(n)
		w.start(a, r)
	}},
	"started after a certificate": {AfterEnd, func(w *world, a *testApp, n, other *testNode) {
		r := w.claim(a, n, "A1 claim", "")
		w.write(other, Event{Type: typeCertified, Node: n.name, Session: n.session})
		w.now += 3 * testSkew
		w.start(a, r)
	}},
	"claimed after its session was closed": {AfterEnd, func(w *world, a *testApp, n, _ *testNode) {
		w.write(n, Event{Type: typeLeft, Node: n.name, Session: n.session})
		w.claim(a, n, "A1 claim", "")
	}},
	"somebody saw it": {Alarm, func(w *world, a *testApp, n, _ *testNode) {
		w.write(n, Event{Type: typeDouble, App: a.name, Node: n.name, Detail: "two"})
	}},
}

// Each planted violation is found, amid everything else, as what it is.
func TestPlantedViolationsAreFound(t *testing.T) {
	for name, tt := range plants {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := drawWorld(t)
				for _, n := range w.nodes {
					if n.down {
						w.boot(n)
					}
				}
				w.pass(time.Second)
				// On a host of its own each, and an app that nobody runs.
				n, other := w.nodes[0], w.nodes[1]
				w.crash(other)
				other.host = &testHost{clock: "another boot", boot: time.Hour}
				w.boot(other)
				a := &testApp{name: "planted"}
				tt.plant(w, a, n, other)
				r := Check(w.events(), nil, opts)
				if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == tt.kind && f.App == a.name }) {
					t.Errorf("not found: %+v\n%s", r.Findings, lines(w.events()))
				}
				for _, f := range r.Findings {
					if f.App != a.name || len(f.Evidence) == 0 {
						t.Errorf("found besides: %+v", f)
					}
				}
			})
		})
	}
}

func lines(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		text, _ := json.Marshal(e)
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.String()
}

func record(rev policy.Revision, rec policy.AppRecord) policy.Cell {
	rec.App = "a"
	return policy.Cell{Key: policy.AppKey("a"), Rev: rev, App: &rec}
}

func slot(n node.Name, epoch policy.Epoch, nonce policy.Nonce) policy.Slot {
	return policy.Slot{Node: n, Session: policy.Session(n), Epoch: epoch, Nonce: nonce}
}

func TestRecords(t *testing.T) {
	owned := func(rev policy.Revision, n node.Name, epoch policy.Epoch, nonce policy.Nonce) policy.Cell {
		return record(rev, policy.AppRecord{Owner: slot(n, epoch, nonce), High: epoch})
	}
	free := record(3, policy.AppRecord{Owner: policy.Slot{Epoch: 2, Nonce: "b"}, High: 2})
	for name, tt := range map[string]struct {
		cells []policy.Cell
		want  []Kind
	}{
		"owners one after the other": {[]policy.Cell{owned(1, "n1@h", 1, "a"), owned(2, "n2@h", 2, "b"), free, owned(4, "n1@h", 3, "c")}, nil},
		"reserved, then taken": {[]policy.Cell{
			owned(1, "n1@h", 1, "a"), record(2, policy.AppRecord{Owner: slot("n1@h", 1, "a"), Next: slot("n2@h", 2, "b"), High: 2}), owned(3, "n2@h", 2, "b"),
		}, nil},
		"given twice":                 {[]policy.Cell{owned(1, "n1@h", 1, "a"), owned(2, "n2@h", 1, "b")}, []Kind{DoubleOwner}},
		"given again after a release": {[]policy.Cell{free, owned(4, "n1@h", 2, "c")}, []Kind{DoubleOwner}},
		"went back":                   {[]policy.Cell{owned(1, "n1@h", 4, "a"), owned(2, "n2@h", 3, "b")}, []Kind{WentBack}},
		"the revisions are the order": {[]policy.Cell{owned(9, "n2@h", 3, "b"), owned(2, "n1@h", 2, "a")}, nil},
		"unreadable":                  {[]policy.Cell{{Key: policy.AppKey("a"), Rev: 1, Damaged: "no JSON"}}, nil},
		"sessions are passed over":    {[]policy.Cell{{Key: policy.NodeKey("n1@h"), Rev: 1}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(nil, tt.cells, opts)
			var got []Kind
			for _, f := range r.Findings {
				got = append(got, f.Kind)
				if len(f.Records) != 2 || f.Records[0].Rev >= f.Records[1].Rev || !f.Exact {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatCannotBeJudgedIsSaid(t *testing.T) {
	begin := func() (*world, *testApp) {
		w := newWorld(numbers(1), 2, 2, 1)
		return w, &testApp{name: "a"}
	}
	gaps := func(r Report) string {
		var texts []string
		for _, g := range r.Gaps {
			texts = append(texts, g.Text)
		}
		return strings.Join(texts, "; ")
	}
	t.Run("the claim is missing", func(t *testing.T) {
		w, a := begin()
		w.start(a, w.claim(a, w.nodes[0], "A1 claim", ""))
		events := slices.DeleteFunc(w.events(), func(e Event) bool { return e.Type == typeClaimed })
		if r := Check(events, nil, opts); !strings.Contains(gaps(r), "whose claim would be among") || len(r.Findings) > 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("nobody knows how it ended", func(t *testing.T) {
		w, a := begin()
		w.start(a, w.claim(a, w.nodes[0], "A1 claim", ""))
		w.start(a, w.claim(a, w.nodes[1], "A1 claim", w.nodes[0].name))
		if r := Check(w.events(), nil, opts); r.Unjudged != 1 || r.Running != 1 || !strings.Contains(gaps(r), "end is not recorded") || len(r.Findings) > 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("an older version", func(t *testing.T) {
		r := Check([]Event{{Seq: 1, Type: typeClaimed, App: "a", Epoch: 1}, {Seq: 2, Type: typeClaimed, App: "a", Epoch: 1}}, nil, opts)
		if !strings.Contains(gaps(r), "older version") || len(r.Findings) > 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the middle of a stream", func(t *testing.T) {
		w, _ := begin()
		w.nodes[0].n = 41
		w.claim(&testApp{name: "a"}, w.nodes[0], "A1 claim", "")
		rest := slices.DeleteFunc(w.events(), func(e Event) bool { return e.Type == "node_up" })
		r := Check(rest, nil, Options{Skew: testSkew, Middle: true})
		if !strings.Contains(gaps(r), "everything before the beginning") || !strings.Contains(gaps(r), "lives whose first events") {
			t.Errorf("%+v", r)
		}
	})
}

// Whatever stands in a stream, there is an answer.
func FuzzCheck(f *testing.F) {
	for seed := range uint64(5) {
		w := newWorld(numbers(seed), 1+int(seed%3), 3, 2)
		for range 20 {
			w.move()
		}
		text, err := json.Marshal(w.events())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var events []Event
		if json.Unmarshal(text, &events) != nil {
			return
		}
		r := Check(events, nil, opts)
		if r.Events > len(events) || r.Instances > len(events) {
			t.Errorf("%+v of %d events", r, len(events))
		}
		slices.Reverse(events)
		distinct := map[uint64]bool{}
		for _, e := range events {
			distinct[e.Seq] = true
		}
		if again := Check(events, nil, opts); len(distinct) == len(events) && !reflect.DeepEqual(r, again) {
			t.Errorf("backwards\n%+v\n%+v", again, r)
		}
	})
}
