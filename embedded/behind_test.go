//go:build !windows

package embedded_test

import (
	"testing"

	"github.com/seed7529eb29/regent/embedded"
	"github.com/seed7529eb29/regent/embedded/embeddedtest"
)

// A voter says of its own copy whether it is complete, in words.
func TestBehind(t *testing.T) {
	options := allOptions(t, embeddedtest.Voters(t, 3))
	servers := startVoters(t, options)
	complete := func() bool {
		for _, s := range servers {
			if s.Behind() != "" {
				return false
			}
		}
		return true
	}
	embeddedtest.Eventually(t, "complete without a stream", complete)
	nc := embeddedtest.Connect(t, servers[1].Authority(), servers[1].ClientURL())
	kv := bucket(t, nc, 3)
	for range 100 {
		if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
			t.Fatal(err)
		}
	}
	embeddedtest.Eventually(t, "three complete copies", complete)

	nc.Close()
	for _, s := range servers {
		embeddedtest.Stop(t, s)
		s.Close()
	}
	alone := embeddedtest.StartWith(t, options[0])
	if why := alone.Behind(); why == "" {
		t.Error("a voter that has no leader to fetch from says that it has everything")
	}
	servers = []*embedded.Server{alone, embeddedtest.StartWith(t, options[1]), embeddedtest.StartWith(t, options[2])}
	embeddedtest.Eventually(t, "three complete copies again", complete)

	single := embeddedtest.StartWith(t, embeddedtest.Options(t, "alone@test"))
	embeddedtest.WaitReady(t, single)
	if why := single.Behind(); why != "" {
		t.Errorf("a server that stands alone is behind: %s", why)
	}
}
