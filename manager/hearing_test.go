package manager

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// The core remembers every node it hears of: strangers are counted, and what
// anybody says of unknown apps is left out.
func TestHearingIsBounded(t *testing.T) {
	h := newHearing(configured(t, threeNodes), func() *machine.Status { return &machine.Status{Apps: []machine.AppStatus{{Name: "loaded"}}} }, slog.New(slog.DiscardHandler))
	beat := func(name string) machine.Beat {
		return machine.Beat{Node: node.Name(name), Full: true, Apps: []machine.AppBeat{{App: "here"}, {App: "loaded"}, {App: "myapp"}, {App: "unknown"}}}
	}
	heard := 0
	for range 2 {
		for i := range strangersMax + 50 {
			if _, ok := h.take(beat(fmt.Sprintf("ghost%d@nowhere", i))); ok {
				heard++
			}
		}
	}
	if heard != 2*strangersMax || len(h.strangers) != strangersMax {
		t.Errorf("heard %d beats of %d strangers, want %d strangers each time", heard, len(h.strangers), strangersMax)
	}
	b, ok := h.take(beat("node2@lxw"))
	if !ok || len(b.Apps) != 3 || b.Apps[0].App != policy.App("here") || b.Apps[1].App != "loaded" || b.Apps[2].App != policy.App("myapp") {
		t.Errorf("of a node of the configuration: %+v, %t", b, ok)
	}
}
