package manager

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
)

// stateFile is what a node remembers over restarts: one JSON file, replaced as
// a whole, so that a crash leaves the old one or the new one.
type stateFile struct{ path string }

// ErrState is wrapped by errors about a state file that can't be used. It is
// never guessed at or overwritten: what it held keeps epochs from repeating.
var ErrState = errors.New("state file can't be used")

// stateVersion is raised when older programs could misread the file.
const stateVersion = 1

// longestMax is more than any lease.
const longestMax = 24 * time.Hour

type stateDoc struct {
	Version  int           `json:"v"`
	Node     string        `json:"node"`
	Identity string        `json:"identity"`
	Seq      uint64        `json:"seq"`
	Apps     []stateDocApp `json:"apps"`
	Permits  []permitDoc   `json:"permits,omitempty"`
	Longest  int64         `json:"longest_lease_ms,omitempty"` // rounded up
}

type permitDoc struct {
	App       policy.App `json:"app"`
	Permitted bool       `json:"permitted"`
}

type stateDocApp struct {
	App      policy.App   `json:"app"`
	Seen     policy.Epoch `json:"seen"`
	Allotted policy.Epoch `json:"allotted"`
}

func openState(dir string) stateFile { return stateFile{filepath.Join(dir, "state.json")} }

// Load reads what an earlier life saved; nothing if there was none.
func (f stateFile) Load(name string) (machine.Memory, error) {
	raw, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return machine.Memory{}, nil
	}
	if err != nil {
		return machine.Memory{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	var doc stateDoc
	if err := json.Unmarshal(raw, &doc); err != nil {
		return machine.Memory{}, fmt.Errorf("%w: %s: %w", ErrState, f.path, err)
	}
	switch {
	case doc.Version != stateVersion:
		return machine.Memory{}, fmt.Errorf("%w: %s: version %d, expected %d", ErrState, f.path, doc.Version, stateVersion)
	case doc.Node != name:
		return machine.Memory{}, fmt.Errorf("%w: %s: it belongs to node %q", ErrState, f.path, doc.Node)
	}
	mem := machine.Memory{Identity: policy.Identity(doc.Identity), Seq: policy.Revision(doc.Seq)}
	if doc.Longest < 0 || doc.Longest > int64(longestMax/time.Millisecond) {
		return machine.Memory{}, fmt.Errorf("%w: %s: longest_lease_ms is %d", ErrState, f.path, doc.Longest)
	}
	mem.Longest = time.Duration(doc.Longest) * time.Millisecond
	for i, a := range doc.Apps {
		if i > 0 && doc.Apps[i-1].App >= a.App {
			return machine.Memory{}, fmt.Errorf("%w: %s: apps are not in order", ErrState, f.path)
		}
		mem.Apps = append(mem.Apps, machine.AppMemory(a))
	}
	for _, p := range doc.Permits {
		mem.Permits = append(mem.Permits, machine.PermitMemory(p))
	}
	return mem, nil
}

// encodeState is the content of the file.
func encodeState(name string, mem machine.Memory) ([]byte, error) {
	doc := stateDoc{Version: stateVersion, Node: name, Identity: string(mem.Identity), Seq: uint64(mem.Seq), Apps: []stateDocApp{}}
	doc.Longest = int64((min(mem.Longest, longestMax) + time.Millisecond - 1) / time.Millisecond)
	for _, a := range mem.Apps {
		doc.Apps = append(doc.Apps, stateDocApp(a))
	}
	for _, p := range mem.Permits {
		doc.Permits = append(doc.Permits, permitDoc(p))
	}
	raw, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return append(raw, '\n'), nil
}

// Save makes mem durable: written, synced, renamed, and the directory synced.
func (f stateFile) Save(name string, mem machine.Memory) error {
	raw, err := encodeState(name, mem)
	if err != nil {
		return err
	}
	next := f.path + ".next"
	if err := writeSynced(next, raw); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(next, f.path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncDir(filepath.Dir(f.path))
}

func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncDir makes a rename durable. Where directories can't be synced the rename
// is as durable as it gets.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_ = d.Sync()
	return d.Close()
}

// disk is the agent's port to the state file.
type disk struct {
	file stateFile
	name string
}

func (d disk) Save(mem machine.Memory) error { return d.file.Save(d.name, mem) }
