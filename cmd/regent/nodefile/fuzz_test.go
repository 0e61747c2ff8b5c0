package nodefile

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzRead: a node file names a node, a URL and a process, or is refused.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{"node":"n@h","cluster":"c","url":"nats://127.0.0.1:4222","pid":77,"started":"2026-01-02T03:04:05Z","start_time":5}`,
		`{"node":"n@h","url":"x","pid":-1}`, `{"node":7}`, `{}`, ``,
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "n.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := read(path); err == nil && (got.Node == "" || got.URL == "" || got.PID <= 0) {
			t.Errorf("%s: %+v", text, got)
		}
	})
}
