package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed7529eb29/regent/bus/cred"
)

// ErrModeChanged is wrapped when a data directory belongs to a server of
// another mode, name or cluster, or was written in a format this version does
// not know. The way from one to the other is backup with the old configuration
// and restore into an empty directory.
var ErrModeChanged = errors.New("data directory belongs to another server")

const (
	markerFile   = "server.json"
	markerFormat = 1
	streamsDir   = "jetstream" // made by JetStream below the data directory
)

// Modes of a data directory.
const (
	standalone = "standalone"
	clustered  = "clustered"
)

// marker says whose data a directory holds. It is written before the server
// first writes, and never changes once there is a stream.
type marker struct {
	Format   int    `json:"format"`
	Mode     string `json:"mode"`
	Name     string `json:"name"`
	Cluster  string `json:"cluster"`
	Identity string `json:"identity"` // see cred.Identity
}

func (o *Options) marker(id cred.Identity) marker {
	m := marker{Format: markerFormat, Mode: standalone, Name: o.Name, Cluster: o.Authority.Cluster(), Identity: id.String()}
	if o.clustered() {
		m.Mode = clustered
	}
	return m
}

// readMarker returns nil for a directory without data.
func readMarker(dir string) (*marker, error) {
	data, err := os.ReadFile(filepath.Join(dir, markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuseUnmarked(dir)
	}
	if err != nil {
		return nil, err
	}
	var m marker
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged: %w", ErrModeChanged, filepath.Join(dir, markerFile), err)
	}
	return &m, nil
}

func refuseUnmarked(dir string) error {
	_, err := os.Stat(filepath.Join(dir, streamsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s holds JetStream data, but no %s says whose", ErrModeChanged, dir, markerFile)
}

// fits reports why data of m cannot be used as data of want.
func (m *marker) fits(want marker, dir string) error {
	have := *m
	have.Identity = want.Identity // a later cookie signs for the identity of the data
	if have == want {
		return nil
	}
	if m.Format != want.Format {
		return fmt.Errorf("%w: %s has format %d, this version writes %d; run backup with the old version and restore with this one", ErrModeChanged, dir, m.Format, want.Format)
	}
	return fmt.Errorf("%w: %s holds the data of %s; it would be lost as %s: run backup with the old configuration, then restore into an empty directory", ErrModeChanged, dir, m, &want)
}

// holdsStreams reports whether JetStream has stored a stream for the accounts
// of id. What can't be read counts as one.
func holdsStreams(dir string, id cred.Identity) bool {
	streams, err := os.ReadDir(filepath.Join(dir, streamsDir, id.App, "streams"))
	return len(streams) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

func (m *marker) String() string {
	return fmt.Sprintf("%s (%s, cluster %s)", m.Name, m.Mode, m.Cluster)
}

// write makes the marker durable before any data can follow.
func (m *marker) write(dir string) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, markerFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
