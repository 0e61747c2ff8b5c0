//go:build linux

package external

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/cmd/regent/doctor"
)

// Files that are no backup, or another cluster's, are errors of usage before
// anybody is asked; a backup that fails leaves no file.
func TestKeeperMistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	for name, c := range map[string]struct{ text, says string }{
		"empty":   {"", "not a backup"},
		"nothing": {"{}", "schema 0"},
		"text":    {"hello", "not a backup"},
		"newer":   {`{"schema":2,"cluster":"default","keys":[]}`, "schema 2"},
		"theirs":  {`{"schema":1,"cluster":"theirs","keys":[]}`, `a backup of cluster "theirs"`},
		"damaged": {`{"schema":1,"cluster":"default","keys":[{"key":"app.a"}]}`, "without name or value"},
	} {
		_, errOut, code := w.run("restore", w.write(name+".json", c.text), "--server", "nats://127.0.0.1:1")
		if code != 2 || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: exit %d, want 2 and %q:\n%s", name, code, c.says, errOut)
		}
	}
	if _, _, code := w.run("restore", w.path("none.json")); code != 2 {
		t.Errorf("a file that is not there: exit %d", code)
	}
	before, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := w.run("backup", w.path("new.json"), "--server", "nats://127.0.0.1:1"); code != 5 || !strings.Contains(errOut, "hint: ") {
		t.Errorf("no server: exit %d\n%s", code, errOut)
	}
	s := startServer(t, withJetStream)
	if _, errOut, code := w.run("backup", w.path("new.json"), "--server", s.url("")); code != 5 || !strings.Contains(errOut, "bucket does not exist") {
		t.Errorf("no cluster: exit %d\n%s", code, errOut)
	}
	after, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range after {
		if len(after) != len(before) && !strings.HasSuffix(f.Name(), ".keys") && strings.Contains(f.Name(), "new.json") {
			t.Errorf("left behind: %s", f.Name())
		}
	}
}

// Every verb has a schema of its requests.
func TestVerbsHaveSchemas(t *testing.T) {
	for _, v := range service.Verbs() {
		if _, err := os.Stat("../../docs/schema/" + v.Name + ".request.json"); err != nil {
			t.Errorf("verb %s: %v", v.Name, err)
		}
	}
}

// doctor --json says the same as doctor, for programs.
func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	out, errOut, code := w.run("doctor", "--json", "--config", w.path("cluster.yaml"), "--sname", "node1@lxw")
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Schema != 1 || len(r.Checks) < 6 {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	if (code == 0) != r.OK {
		t.Errorf("exit %d of %+v", code, r)
	}
	if err := os.Chmod(w.path("cookie"), 0o444); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := w.run("doctor"); code != 1 || !strings.Contains(out, "failed   cookie") || !strings.Contains(out, "hint: chmod 0400") {
		t.Errorf("a cookie that others can read: exit %d\n%s%s", code, out, errOut)
	}
}
