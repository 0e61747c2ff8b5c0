//go:build linux

package conformance

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain: the scenarios wait far more than they compute; -together bounds
// how many are played at once.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "64"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
