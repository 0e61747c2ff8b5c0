package samehost

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// The groups file: the header, then one line per event.
const (
	header        = "regent groups 1\n"
	lineAdd  byte = '+'
	lineGone byte = '-'

	// compactAbove bounds the file of a node whose apps restart for ever; it is
	// reached after about a thousand restarts. sizeMax, far above it, bounds what a reader accepts.
	compactAbove = 64 << 10
	sizeMax      = 16 << 20
)

// Groups is the list of process groups of one life of one agent, in a file that
// other regent processes of this host can read. Its methods may be called by
// any goroutine.
type Groups struct {
	path string

	mu   sync.Mutex
	file *os.File // under mu
	size int64    // under mu: of the complete lines
	next int64    // under mu: compact when size is above
	live []Group  // under mu: added and not gone
}

// CreateGroups begins the list of a new life. The path must be one of its own
// for each life (the agent's nonce belongs in its name): the groups of an
// earlier life must stay readable until they are gone.
func CreateGroups(path string) (*Groups, error) {
	g := &Groups{path: path, next: compactAbove}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create groups file: %w", err)
	}
	g.file = file
	if err := g.appendLocked(header); err != nil {
		return nil, errors.Join(fmt.Errorf("create groups file: %w", err), file.Close())
	}
	return g, nil
}

// Path is where the list can be read.
func (g *Groups) Path() string { return g.path }

// Add records a group. It is on the list when Add has returned nil, and what it
// names may then be executed. It needs no fsync: only processes of the same
// boot look at the list.
func (g *Groups) Add(group Group) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.appendLocked(group.line(lineAdd)); err != nil {
		return fmt.Errorf("record process group %d of app %q: %w", group.PGID, group.App, err)
	}
	g.live = append(g.live, group)
	return nil
}

// Remove notes that a group is confirmed gone. It may fail without harm: a
// group that is gone is then found gone by whoever looks.
func (g *Groups) Remove(group Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.live = slices.DeleteFunc(g.live, func(o Group) bool { return o == group })
	if g.appendLocked(group.line(lineGone)) == nil && g.size > g.next {
		g.compactLocked()
	}
}

// Close closes the file; the list stays readable.
func (g *Groups) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.file.Close()
}

// appendLocked adds whole lines. What a full disk left of one is taken back,
// since the rest of a line would make the file unreadable.
func (g *Groups) appendLocked(lines string) error {
	if _, err := io.WriteString(g.file, lines); err != nil {
		return errors.Join(err, g.file.Truncate(g.size))
	}
	g.size += int64(len(lines))
	return nil
}

// compactLocked replaces the file by one with the live groups only. Readers see
// the old one or the new one. If it fails the old one goes on.
func (g *Groups) compactLocked() {
	g.next *= 2
	var b strings.Builder
	b.WriteString(header)
	for _, group := range g.live {
		b.WriteString(group.line(lineAdd))
	}
	file, err := replace(g.path, b.String())
	if err != nil {
		return
	}
	_ = g.file.Close()
	g.file, g.size = file, int64(b.Len())
	g.next = max(compactAbove, 2*g.size)
}

// replace puts a new file with this content in the place of path, and leaves it
// open for appending.
func replace(path, content string) (*os.File, error) {
	next := path + ".next"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(file, content)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(next))
	}
	return file, nil
}

// ReadGroups reads the groups of a list that are not known to be gone. Any
// doubt about the content is an error that wraps ErrNoProof.
func ReadGroups(path string) ([]Group, error) {
	groups, err := readGroups(path)
	if err != nil {
		return nil, fmt.Errorf("%w: groups file %q: %w", ErrNoProof, path, err)
	}
	return groups, nil
}

func readGroups(path string) ([]Group, error) {
	info, err := os.Stat(path) // before opening: a FIFO would block
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > sizeMax:
		return nil, fmt.Errorf("larger than %d bytes", sizeMax)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseGroups(string(content))
}

func parseGroups(content string) ([]Group, error) {
	body, ok := strings.CutPrefix(content, header)
	if !ok {
		return nil, errors.New("no header")
	}
	if body != "" && !strings.HasSuffix(body, "\n") {
		return nil, errors.New("the last line is cut")
	}
	var groups []Group
	for line := range strings.Lines(body) {
		verb, group, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		if verb == lineAdd {
			groups = append(groups, group)
			continue
		}
		groups = slices.DeleteFunc(groups, func(o Group) bool { return o == group })
	}
	return groups, nil
}
