package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzMarker: a data directory is known for what it is, or refused; never
// guessed at.
func FuzzMarker(f *testing.F) {
	for _, text := range []string{
		`{"format":1,"mode":"clustered","name":"n","cluster":"c","identity":"A.B"}`, `{"format":2}`, `{"format":"1"}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	want := marker{Format: markerFormat, Mode: standalone, Name: "n", Cluster: "c", Identity: "X.Y"}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, markerFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := readMarker(dir)
		if err != nil {
			if !errors.Is(err, ErrModeChanged) {
				t.Error(err)
			}
			return
		}
		fits := m.Format == want.Format && m.Mode == want.Mode && m.Name == want.Name && m.Cluster == want.Cluster
		if err := m.fits(want, dir); (err == nil) != fits || err != nil && !errors.Is(err, ErrModeChanged) {
			t.Errorf("%s: %v", text, err)
		}
	})
}
