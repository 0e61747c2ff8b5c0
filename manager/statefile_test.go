package manager

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
)

const self = "node1@lxw"

var memory = machine.Memory{
	Identity: "2026-01-02T15:04:05Z/abc", Seq: 1<<63 + 7,
	Apps:    []machine.AppMemory{{App: "a", Seen: 3, Allotted: 5}, {App: "b", Seen: 1 << 62, Allotted: 1 << 62}},
	Longest: 20 * time.Second,
	Permits: []machine.PermitMemory{{App: "a", Permitted: true}, {App: "b"}},
}

func saved(t *testing.T) (stateFile, string) {
	t.Helper()
	dir := t.TempDir()
	f := openState(dir)
	if err := f.Save(self, memory); err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func expectMemory(t *testing.T, f stateFile, want machine.Memory) {
	t.Helper()
	if got, err := f.Load(self); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v, %v; want %+v", got, err, want)
	}
}

func TestStateFileKeepsEverything(t *testing.T) {
	f, dir := saved(t)
	expectMemory(t, f, memory)
	expectMemory(t, openState(dir), memory)
	info, err := os.Stat(f.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := f.Save(self, machine.Memory{Identity: "other"}); err != nil {
			t.Fatal(err)
		}
	}
	expectMemory(t, f, machine.Memory{Identity: "other"})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

// Every field of a memory is in the file: one that is added to the type and
// forgotten here would be lost at a restart.
func TestStateFileKnowsEveryFieldOfAMemory(t *testing.T) {
	for _, v := range []reflect.Value{reflect.ValueOf(memory), reflect.ValueOf(memory.Apps[0])} {
		for field, value := range v.Fields() {
			if value.IsZero() {
				t.Errorf("the memory of these tests has no %s", field.Name)
			}
		}
	}
}

func TestNoStateFileIsNoMemory(t *testing.T) {
	expectMemory(t, openState(t.TempDir()), machine.Memory{})
}

func TestStateFileIsNeverGuessedAt(t *testing.T) {
	good, dir := saved(t)
	raw, err := os.ReadFile(good.path)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.Replace(string(raw), old, new, 1) }
	for what, content := range map[string]string{
		"empty":              "",
		"truncated":          string(raw[:len(raw)/2]),
		"without its end":    string(raw[:len(raw)-3]),
		"garbage":            "\x00\x00\x00\x00",
		"two documents":      string(raw) + string(raw),
		"another node's":     edit(self, "node2@lxw"),
		"a newer version":    edit(`"v": 1`, `"v": 2`),
		"no version":         edit(`"v": 1,`, ""),
		"negative epoch":     edit(`"seen": 3`, `"seen": -3`),
		"apps out of order":  edit(`"app": "a"`, `"app": "c"`),
		"app twice":          edit(`"app": "a"`, `"app": "b"`),
		"some other program": `{"hello": "world"}`,
	} {
		f := openState(filepath.Join(dir, what))
		if err := os.Mkdir(filepath.Dir(f.path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load(self)
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), f.path) || !reflect.DeepEqual(got, machine.Memory{}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if now, err := os.ReadFile(f.path); err != nil || string(now) != content {
			t.Errorf("%s: the file was changed to %q, %v", what, now, err)
		}
	}
}

func TestStateFileThatCannotBeRead(t *testing.T) {
	f := openState(t.TempDir())
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(self); !errors.Is(err, ErrState) {
		t.Errorf("a directory: %v", err)
	}
}

// A crash between the writing of the next file and its renaming leaves the old
// one in force, and nothing in the way.
func TestStateFileAfterACrashInSave(t *testing.T) {
	f, _ := saved(t)
	for _, left := range []string{"", `{"v": 1, "no`, `{"v": 1, "node": "node1@lxw", "identity": "never said to be durable"}`} {
		if err := os.WriteFile(f.path+".next", []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		expectMemory(t, f, memory)
	}
	want := machine.Memory{Identity: "next"}
	if err := f.Save(self, want); err != nil {
		t.Fatal(err)
	}
	expectMemory(t, f, want)
}

// What can't be made durable is an error, and the old file stays.
func TestStateFileThatCannotBeWritten(t *testing.T) {
	if err := (disk{openState(filepath.Join(t.TempDir(), "missing")), self}).Save(memory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	f, dir := saved(t)
	if err := os.Mkdir(f.path+".next", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(self, machine.Memory{}); err == nil {
		t.Error("the next file can't be written: no error")
	}
	expectMemory(t, f, memory)
	if err := os.Remove(f.path + ".next"); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		return // nothing is read-only for root
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(self, machine.Memory{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a read-only directory: %v", err)
	}
	expectMemory(t, f, memory)
}

func TestStateFileIsJSONForPeople(t *testing.T) {
	f, _ := saved(t)
	raw, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil || doc["v"] != 1.0 || doc["node"] != self {
		t.Errorf("%v, %v", doc, err)
	}
}

func TestDirectoryIsSynced(t *testing.T) {
	dir := t.TempDir()
	if err := syncDir(dir); err != nil {
		t.Error(err)
	}
	if err := syncDir(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
