// Package natscli gives tests the stock nats CLI, built from its module once
// for all runs, below the user's cache directory.
package natscli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The nats CLI that docs/nats-cli.md was written with.
const (
	natsPackage = "github.com/nats-io/natscli/nats"
	natsVersion = "v0.5.1"
)

// unreachable is what the go command says when there is no module proxy.
var unreachable = regexp.MustCompile(`dial tcp|no such host|connection refused|i/o timeout|TLS handshake timeout|proxyconnect|network is unreachable|module lookup disabled`)

// Path is where the program lies. Where it is not there and can't be fetched,
// the test is skipped.
func Path(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "regent-test", "natscli-"+natsVersion)
	path := filepath.Join(dir, "nats")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	install := exec.Command("go", "install", natsPackage+"@"+natsVersion)
	install.Env = append(os.Environ(), "GOBIN="+dir)
	out, err := install.CombinedOutput()
	switch {
	case err != nil && unreachable.Match(out):
		t.Skipf("SKIPPED: the nats CLI is not here and can't be fetched: %s", bytes.TrimSpace(out))
	case err != nil:
		t.Fatalf("install the nats CLI: %v\n%s", err, out)
	}
	return path
}
