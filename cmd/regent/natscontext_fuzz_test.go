package main

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzContext: a context of the nats CLI is read, or refused with its reason.
func FuzzContext(f *testing.F) {
	for _, text := range []string{`{"description":"d","url":"nats://h","creds":"c","nkey":"n","user":"u","password":"p"}`, `{"url":7}`, `[]`, ``} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "c.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readContext(path)
		if err == nil && s.URL == "" && len(text) == 0 {
			t.Errorf("%+v out of nothing", s)
		}
		_ = mayReplace(path)
	})
}
