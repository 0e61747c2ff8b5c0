package vigil

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

var lifeA = Life{Node: "n@h", Agent: "a", TTL: time.Second}

func watching(groups ...int) *Vigil[int] {
	v := &Vigil[int]{}
	v.Meet(lifeA)
	for _, g := range groups {
		v.Add(g)
	}
	v.All()
	return v
}

func TestAgentIsKilledFirst(t *testing.T) {
	v := watching(7, 8)
	v.Gone(7)
	want := []Target[int]{{Agent: true}, {Group: 8}}
	if got := v.Begin(0); !reflect.DeepEqual(got, want) {
		t.Errorf("targets = %v, want %v", got, want)
	}
}

func TestDeadline(t *testing.T) {
	v := watching()
	if v.Passed(time.Hour) {
		t.Error("passed, and never armed")
	}
	v.Arm(5)
	if v.Passed(4) || !v.Passed(5) {
		t.Error("armed at 5")
	}
	v.Arm(0)
	if v.Passed(time.Hour) {
		t.Error("passed, and armed for never")
	}
}

// Certified is what was confirmed gone, all of it.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name      string
		agentGone bool
		gone      []int
		untold    bool
		at        time.Duration
		want      Verdict
		targets   int
	}{
		{name: "the agent lives", gone: []int{7, 8}, want: Wait},
		{name: "a group lives", agentGone: true, gone: []int{7}, want: Wait, targets: 1},
		{name: "all are gone", agentGone: true, gone: []int{7, 8}, want: Certify},
		{name: "a successor that was not told all", agentGone: true, gone: []int{7, 8}, untold: true, want: Unknown},
		{name: "SIGKILL does not end it", agentGone: true, gone: []int{8}, at: 2*time.Second + 1, want: GiveUp, targets: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := watching(7, 8)
			v.all = !tt.untold
			v.Begin(0)
			targets, got := v.Look(tt.at, tt.agentGone, func(g int) bool {
				return slices.Contains(tt.gone, g)
			})
			if got != tt.want || len(targets) != tt.targets {
				t.Errorf("verdict %d, targets %v; want %d, %d", got, targets, tt.want, tt.targets)
			}
		})
	}
}

// Row S4: exactly the agent's nonce, exactly the revision that was read.
func TestCertificate(t *testing.T) {
	cell := func(agent policy.Nonce, s policy.SessionState) policy.Cell {
		return policy.Cell{Key: policy.NodeKey("n@h"), Rev: 9, Node: &policy.SessionRecord{Node: "n@h", Session: "s", Agent: agent, State: s, Seq: 4}}
	}
	live := cell("a", policy.SessionLive)
	w, over := lifeA.Certificate(live)
	if over || w.Expect != 9 || w.Cell.Key != live.Key || w.Cell.Node.State != policy.SessionDead || w.Cell.Node.Session != "s" || w.Cell.Node.Seq != 4 {
		t.Errorf("certificate = %+v, over %t", w, over)
	}
	if live.Node.State != policy.SessionLive {
		t.Error("the cell that was read was changed")
	}
	for name, c := range map[string]policy.Cell{
		"absent": {}, "damaged": {Rev: 3, Damaged: "garbage"}, "the next life": cell("b", policy.SessionLive),
		"dead": cell("a", policy.SessionDead), "expired": cell("a", policy.SessionExpired), "closed": cell("a", policy.SessionClosed),
	} {
		if w, over := lifeA.Certificate(c); !over {
			t.Errorf("%s: %+v", name, w)
		}
	}
}
