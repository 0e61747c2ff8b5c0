package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/manager/status"
)

// The last move is what was noticed about the owner before, the claim, and what
// followed; neither the former moves nor other apps' and nodes' business.
func TestLastMove(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	ms := func(n int) time.Time { return at.Add(time.Duration(n) * time.Millisecond) }
	events := []kv.Event{
		{Time: ms(-9000), Type: kv.Claimed, App: "a", Node: "n1@h", Epoch: 1},
		{Time: ms(-8990), Type: kv.AppStarted, App: "a", Node: "n1@h", Epoch: 1},
		{Time: ms(0), Type: kv.NodeSuspect, Node: "n1@h", Detail: "connection closed"},
		{Time: ms(1), Type: kv.NodeSuspect, Node: "n9@h"},
		{Time: ms(7), Type: kv.Certified, Node: "n1@h"},
		{Time: ms(12), Type: kv.Claimed, App: "b", Node: "n3@h", From: "n1@h", Epoch: 4},
		{Time: ms(13), Type: kv.Claimed, App: "a", Node: "n2@h", From: "n1@h", Epoch: 2},
		{Time: ms(14), Type: kv.AppStarting, App: "a", Node: "n2@h", Epoch: 2},
		{Time: ms(20), Type: kv.AppStarted, App: "a", Node: "n2@h", Epoch: 2},
	}
	var got []string
	for _, e := range moveOf(events, "a") {
		got = append(got, momentText(e))
	}
	want := []string{
		"node suspect n1@h (connection closed)", "certified n1@h", "claimed n2@h, from n1@h, epoch 2",
		"app starting n2@h, epoch 2", "app started n2@h, epoch 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the last move is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := moveOf(events, "c"); got != nil {
		t.Errorf("an app without a claim has the move %v", got)
	}
}

func TestPrintWhy(t *testing.T) {
	d := status.Document{Apps: []status.App{{
		Name: "a", State: machine.AppRunning, Node: "node2@h", Epoch: 2, StartType: "failover", From: "n1@h",
		Nodes: nil, Cause: machine.CauseBest,
		Candidates: []status.Candidate{{Node: "n1@h", Standing: machine.StandingAbsent}, {Node: "node2@h", Standing: machine.StandingRuns}, {Node: "n3@h", Standing: machine.StandingPriority}},
	}}}
	w := d.Explain(&d.Apps[0])
	w.History = []status.WhyMoment{
		{Time: status.UnixMilli(1_767_366_245_000), Text: "node suspect n1@h"},
		{Time: status.UnixMilli(1_767_366_245_013), After: 13 * time.Millisecond, Text: "claimed node2@h, from n1@h, epoch 2"},
	}
	var b bytes.Buffer
	if err := printWhy(&b, &w); err != nil {
		t.Fatal(err)
	}
	const want = `a runs on node2@h, epoch 2 (failover from n1@h)
  the first node of its list that is there, permitted, and was told to start it runs it (A-16, B-4)

its list, best first:
  n1@h     not there: not heard, or ended
* node2@h  has it
  n3@h     could run it, but comes later in the list (A-16)

the last move:
  15:04:05.000            node suspect n1@h
  15:04:05.013     +13ms  claimed node2@h, from n1@h, epoch 2
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
