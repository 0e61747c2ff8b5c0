//go:build linux

package external

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestNodeJS: a client in another language, with the stock NATS library, does
// start and takeover and follows the events.
func TestNodeJS(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s is not here", program)
		}
	}
	w := newWorld(t, "", "node1", "node2")
	dir := w.path("nodejs")
	if err := os.CopyFS(dir, os.DirFS("../../examples/nodejs")); err != nil {
		t.Fatal(err)
	}
	if out, err := inDir(t, dir, "npm", "install", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		if regexp.MustCompile(`ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|network`).MatchString(out) {
			t.Skipf("SKIPPED: the npm registry can't be reached: %s", out)
		}
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	s := startServer(t, withJetStream+w.must("cookie", "creds", "--stanza"))
	for _, name := range w.names {
		w.node(name, "--server", s.url(""))
	}
	w.must("cookie", "creds", "--dir", filepath.Join(dir, "creds"), "--server", s.url(""))
	within(t, 40*time.Second, "both nodes are up", func() bool {
		out, _, code := w.run("nodes", "--server", s.url(""))
		return code == 0 && strings.Count(out, " up ") == 2
	})
	out, err := inDir(t, dir, "node", "demo.mjs", "creds", app, "node1@lxw", "node2@lxw")
	if err != nil {
		t.Fatalf("demo.mjs: %v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^event app_started myapp node1@lxw 1$`, `(?m)^started: node1@lxw$`,
		`(?m)^event app_started myapp node2@lxw 2$`, `(?m)^taken over: node2@lxw, epoch 2$`, `(?m)^refused: 409 already started: myapp$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func inDir(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
