package nodefile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seed7529eb29/regent/policy/node"
)

// home points both places at directories of the test and returns them.
func home(t *testing.T) (run, temp string) {
	t.Helper()
	run, temp = t.TempDir(), t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	t.Setenv("TMPDIR", temp)
	return filepath.Join(run, "regent"), filepath.Join(temp, "regent-"+strconv.Itoa(os.Getuid()))
}

func mustWrite(t *testing.T, f File) func() {
	t.Helper()
	remove, err := Write(f)
	if err != nil {
		t.Fatal(err)
	}
	return remove
}

func mustList(t *testing.T) []File {
	t.Helper()
	files, err := List()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func names(files []File) (out []node.Name) {
	for _, f := range files {
		out = append(out, f.Node)
	}
	return out
}

func TestWriteListRemove(t *testing.T) {
	run, _ := home(t)
	if got := mustList(t); len(got) != 0 {
		t.Fatalf("listed %v in a fresh home", got)
	}
	removeB := mustWrite(t, File{Node: "b@h", Cluster: "default", URL: "nats://127.0.0.1:4223"})
	removeA := mustWrite(t, File{Node: "a@h", Cluster: "default", URL: "nats://127.0.0.1:4222"})
	files := mustList(t)
	if len(files) != 2 || files[0].Node != "a@h" || files[1].Node != "b@h" {
		t.Fatalf("listed %v, want a@h and b@h", names(files))
	}
	if f := files[0]; f.PID != os.Getpid() || f.URL != "nats://127.0.0.1:4222" || f.Cluster != "default" || f.Started.IsZero() {
		t.Errorf("read %+v", f)
	}
	if info, err := os.Stat(run); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v, error %v, want 0700", info.Mode(), err)
	}
	removeA()
	if files := mustList(t); len(files) != 1 || files[0].Node != "b@h" {
		t.Errorf("after the removal of a@h: %v", names(files))
	}
	removeB()
	removeB() // harmless
	if entries, err := os.ReadDir(run); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestOtherPlaceIsListedToo(t *testing.T) {
	_, temp := home(t)
	run := os.Getenv("XDG_RUNTIME_DIR")
	t.Setenv("XDG_RUNTIME_DIR", "") // as a service without a login session
	mustWrite(t, File{Node: "a@h", Cluster: "default", URL: "nats://127.0.0.1:4222"})
	if _, err := os.Stat(temp); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", run)
	if files := mustList(t); len(files) != 1 {
		t.Errorf("listed %v, want a@h", names(files))
	}
}

// ended is the process id of a process that has ended.
func ended(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestStaleFilesAreSkippedAndRemoved(t *testing.T) {
	run, _ := home(t)
	mustWrite(t, File{Node: "a@h", Cluster: "default", URL: "nats://127.0.0.1:4222"})
	put(t, run, "default.gone.json", `{"node":"gone@h","cluster":"default","url":"nats://h:1","pid":`+strconv.Itoa(ended(t))+`}`)
	put(t, run, "default.reused.json", `{"node":"reused@h","cluster":"default","url":"nats://h:1","start_time":1,"pid":`+strconv.Itoa(os.Getpid())+`}`)
	if files := mustList(t); len(files) != 1 || files[0].Node != "a@h" {
		t.Errorf("listed %v, want a@h alone", names(files))
	}
	for _, name := range []string{"default.gone.json", "default.reused.json"} {
		if _, err := os.Stat(filepath.Join(run, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestForeignFilesDoNotDisturb(t *testing.T) {
	run, _ := home(t)
	mustWrite(t, File{Node: "a@h", Cluster: "default", URL: "nats://127.0.0.1:4222"})
	put(t, run, "garbage.json", "\x00\xff{")
	put(t, run, "empty.json", "")
	put(t, run, "other.json", `{"pid": 0}`)
	put(t, run, "README", "hello")
	if files := mustList(t); len(files) != 1 {
		t.Errorf("listed %v, want a@h alone", names(files))
	}
}

func TestRemoveLeavesTheFileOfALaterLife(t *testing.T) {
	run, _ := home(t)
	remove := mustWrite(t, File{Node: "a@h", Cluster: "default", URL: "nats://127.0.0.1:4222"})
	later := filepath.Join(run, "default.a=40h.json")
	put(t, run, filepath.Base(later), `{"node":"a@h","cluster":"default","url":"nats://h:1","pid":1}`)
	remove()
	if _, err := os.Stat(later); err != nil {
		t.Errorf("the file of the later life: %v", err)
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	run, temp := home(t)
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(File{Node: "a@h", Cluster: "default", URL: "nats://h:1"}); !errors.Is(err, ErrUnsafe) {
		t.Errorf("Write: %v, want ErrUnsafe", err)
	}
	if _, err := List(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("List: %v, want ErrUnsafe", err)
	}
	if err := os.Symlink(t.TempDir(), temp); err != nil {
		t.Fatal(err)
	}
	if err := check(temp); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a symbolic link: %v, want ErrUnsafe", err)
	}
}
