package scenario

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var only = flag.String("scenario", "*", "play the scenarios that match this pattern")

// TestMachine plays every scenario on the pure machine, in virtual time.
func TestMachine(t *testing.T) {
	for _, s := range load(t) {
		if ok, err := filepath.Match(*only, s.Name); err != nil || !ok {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			trace, err := Play(Virtual{t}, s)
			if err != nil {
				t.Error(err)
			} else if testing.Verbose() {
				t.Logf("\n%s", trace)
			}
		})
	}
}

func load(t *testing.T) []*Scenario {
	t.Helper()
	all, err := Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var _ = os.ReadFile
