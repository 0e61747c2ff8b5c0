package osproc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/manager/app"
)

// withNATS gives every start one file, which says for which epoch it is.
func withNATS(t *testing.T, r *rig) {
	r.Files = t.TempDir()
	r.NATS = func(s app.Start, dir string) (NATS, error) {
		path := filepath.Join(dir, "creds")
		return NATS{URL: "tls://h:4222", Inbox: "in", Creds: path, CA: path, Cert: path, Key: path}, os.WriteFile(path, []byte(s.App), 0o600)
	}
}

func empty(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

// TestCredentialsLastAsLongAsTheGroup: they are there before the command is, and
// gone when everything of it is.
func TestCredentialsLastAsLongAsTheGroup(t *testing.T) {
	r := shell(`cat "$REGENT_NATS_CREDS"; echo " $REGENT_NATS_URL $REGENT_NATS_INBOX $REGENT_NATS_CA $REGENT_NATS_CERT $REGENT_NATS_KEY"; echo up; exec sleep 1000`)
	withNATS(t, r)
	i := r.up(t)
	words := strings.Fields(r.text())
	if len(words) != 7 || words[0] != "a" || words[1] != "tls://h:4222" || words[2] != "in" {
		t.Fatalf("the command saw %q", words)
	}
	dir := filepath.Dir(words[3])
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(dir) != r.Files {
		t.Errorf("%v, %v", info, err)
	}
	i.Kill(nil)
	i.Exit()
	if !empty(t, r.Files) {
		t.Error("files are left after the end")
	}
}

func TestFailedStartsLeaveNoFiles(t *testing.T) {
	r := newRig("/no/such/program")
	withNATS(t, r)
	if e := r.run(t).Exit(); e.Started || !empty(t, r.Files) {
		t.Errorf("exit %+v, or files are left", e)
	}
	r.NATS = func(app.Start, string) (NATS, error) { return NATS{}, errors.New("no key") }
	if e := r.run(t).Exit(); e.Started || e.Reason != "no key" || !empty(t, r.Files) {
		t.Errorf("exit %+v, or files are left", e)
	}
	r.Files = filepath.Join(t.TempDir(), "missing")
	if e := r.run(t).Exit(); e.Started || !errors.Is(e.Err, os.ErrNotExist) {
		t.Errorf("exit %+v", e)
	}
}

// TestCommandsAreConfirmed: a provisional one is told by a file, all others by
// nothing.
func TestCommandsAreConfirmed(t *testing.T) {
	r := shell(`echo "file=$REGENT_CONFIRMED"; echo up; until [ -e "$REGENT_CONFIRMED" ]; do sleep 0.01; done; echo confirmed`)
	r.Files = t.TempDir()
	i := r.Start(app.Start{App: "a", Session: "s", Provisional: true})
	t.Cleanup(func() { i.Kill(nil); <-i.Done() })
	eventually(t, "script up", func() bool { return strings.Contains(r.text(), "up\n") })
	if strings.Contains(r.text(), "\nconfirmed\n") {
		t.Fatal("confirmed by nobody")
	}
	i.Confirm()
	i.Confirm()
	if e := i.Exit(); !e.Normal || !strings.Contains(r.text(), "\nconfirmed\n") || !empty(t, r.Files) {
		t.Errorf("exit %+v\n%s", e, r.text())
	}
	i.Confirm() // too late, and harmless
	if !empty(t, r.Files) {
		t.Error("a file came back")
	}

	// Who can't be told would wait for ever, as the owner.
	r = shell(`echo up; exec sleep 1000`)
	r.Files = t.TempDir()
	i = r.Start(app.Start{App: "a", Session: "s", Provisional: true})
	t.Cleanup(func() { i.Kill(nil); <-i.Done() })
	eventually(t, "script up", func() bool { return strings.Contains(r.text(), "up\n") })
	if err := os.RemoveAll(r.Files); err != nil {
		t.Fatal(err)
	}
	i.Confirm()
	if e := i.Exit(); e.Normal || !strings.Contains(e.Reason, "it can't be told that it is confirmed") {
		t.Errorf("exit %+v", e)
	}

	r = shell(`echo "file=$REGENT_CONFIRMED"`)
	r.Files = t.TempDir()
	i = r.run(t)
	i.Confirm()
	if i.Exit(); r.text() != "file=\n" || !empty(t, r.Files) {
		t.Errorf("an owner saw %q", r.text())
	}
}
