package manager

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/manager/agent"
	"github.com/seed7529eb29/regent/manager/machine"
)

func line(n uint64, what string) agent.Line {
	return agent.Line{History: machine.History{Type: what, Node: "n1@h", At: 5}, Wall: 1767366245123, Life: "life", N: n}
}

// What a life said and no ledger took is there for the next, and for the one
// after that, until it is written.
func TestJournalOutlivesItsLife(t *testing.T) {
	dir, s := t.TempDir(), &store{opts: kv.Options{Node: "n1@h"}}
	for life := range 3 {
		j, left, err := openJournal(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 2*life {
			t.Fatalf("life %d finds %d events", life, len(left))
		}
		if life > 0 {
			if e := left[len(left)-1]; e.Type != "fenced" || e.N != uint64(2*life) || e.Life != "life" || e.By != "n1@h" || e.Mono != 5 || e.Clock == "" {
				t.Errorf("the last is %+v", e)
			}
		}
		for i, what := range []string{"claimed", "fenced"} {
			if err := j.Add(line(uint64(2*life+i+1), what)); err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
	}
}

func TestJournalForgetsWhatTheLedgerHas(t *testing.T) {
	dir, s := t.TempDir(), &store{}
	j, _, err := openJournal(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Add(line(1, "claimed")); err != nil {
		t.Fatal(err)
	}
	if err := j.Clear(); err != nil {
		t.Fatal(err)
	}
	if err := j.Add(line(2, "fenced")); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, left, err := openJournal(dir, s); err != nil || len(left) != 1 || left[0].N != 2 {
		t.Errorf("left %+v, %v", left, err)
	}
}

// A file that was cut, or holds anything else, gives what can be read.
func TestJournalReadsWhatItCan(t *testing.T) {
	dir, s := t.TempDir(), &store{}
	whole := `{"schema":1,"type":"fenced","life":"l","n":1}`
	text := "garbage\n{}\n" + whole + "\n" + strings.Repeat("x", 100) + "\n" + whole[:20]
	if err := os.WriteFile(filepath.Join(dir, journalNow), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, left, err := openJournal(dir, s); err != nil || len(left) != 1 || left[0].Life != "l" {
		t.Errorf("left %+v, %v", left, err)
	}
}
