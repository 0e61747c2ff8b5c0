package warden

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestSlim: less is in memory, and the program goes on.
func TestSlim(t *testing.T) {
	resident := func() int {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "RssFile:")
		n, err := strconv.Atoi(strings.Fields(after)[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := resident()
	if err := slim(); err != nil {
		t.Fatal(err)
	}
	if after := resident(); after >= before {
		t.Errorf("%d kB of files in memory, before %d", after, before)
	}
}
