package specjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

func TestSpecsAreReadBack(t *testing.T) {
	specs := []policy.Spec{
		{App: "a", Timeout: policy.Infinite, Groups: [][]node.Name{{"n1@h"}}, Takeover: policy.Never},
		{App: "b", Timeout: policy.Timeout(5 * time.Second), Groups: [][]node.Name{{"n1@h"}, {"n2@h", "n3@h"}}, Takeover: policy.Exclusive, FullStart: true,
			StartPhases: []policy.Phase{{Name: "init"}, {Name: "go", Args: `[1]`}, {Name: "go", Args: `2`, Of: "db"}}},
		{App: "c", Groups: [][]node.Name{{"n1@h"}}, Takeover: policy.Overlap},
	}
	raw, err := json.Marshal(FromAll(specs))
	if err != nil {
		t.Fatal(err)
	}
	var apps []App
	if err := json.Unmarshal(raw, &apps); err != nil {
		t.Fatal(err)
	}
	if got, err := Specs(apps); err != nil || !reflect.DeepEqual(got, specs) {
		t.Errorf("%s\nread back as %+v, %v", raw, got, err)
	}
}

// what load/2 and other specifications from outside may not say.
func TestBadSpecs(t *testing.T) {
	for text, want := range map[string]string{
		`{"app":"a","timeout_ms":-1,"nodes":[["n@h"]]}`:                        "timeout of -1 ms",
		`{"app":"a","timeout_ms":0,"nodes":[]}`:                                "an empty list",
		`{"app":"a","timeout_ms":0,"nodes":[["n@h"],[]]}`:                      "an empty list",
		`{"app":"a","timeout_ms":0,"nodes":[["n"]]}`:                           "no host part",
		`{"app":"a","timeout_ms":0,"nodes":[["n@h","n@h"]]}`:                   "n@h is repeated",
		`{"app":"a","timeout_ms":0,"nodes":[["n@h"],["m@h.x"]]}`:               "short and long",
		`{"app":"a","nodes":[["n@h"]],"start_phases":[{"name":"x","of":"1"}]}`: "start phase x: invalid app name",
		`{"app":"1","timeout_ms":0,"nodes":[["n@h"]]}`:                         "invalid app name",
		`{"app":"a","nodes":[["n@h"]],"takeover":"whenever"}`:                  `takeover "whenever"`,
	} {
		var a App
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Spec(); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Specs([]App{{App: "a", Nodes: [][]node.Name{{"n@h"}}}, {App: "a", Nodes: [][]node.Name{{"n@h"}}}}); !errors.Is(err, ErrSpec) {
		t.Errorf("an app twice: %v", err)
	}
}
