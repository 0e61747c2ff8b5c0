package kv

import (
	"errors"
	"testing"
)

// Servers before the oldest that is known to work are refused; what can't be
// read is not.
func TestServerVersion(t *testing.T) {
	for version, old := range map[string]bool{
		"1.4.1": true, "2.9.25": true, "2.11.10": true,
		"2.12.0": false, "2.12.0-RC.1": false, "2.15.2": false, "3.0.0": false, "": false, "devel": false, "2.x": false,
	} {
		if err := CheckServer(version); errors.Is(err, ErrOldServer) != old {
			t.Errorf("%q: %v, want too old: %v", version, err, old)
		}
	}
	if Hint(CheckServer("2.9.25")) == "" {
		t.Error("no hint")
	}
}
