package osproc

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/seed7529eb29/regent/manager/app"
)

// NATS is where a command finds what it needs to connect to the cluster's NATS
// as its app. All but URL and Inbox are files.
type NATS struct {
	URL                  string // servers, with commas between them
	Inbox                string // prefix of the subjects for replies
	Creds, CA, Cert, Key string
}

// belongings are what one start has beside its command: variables, and files in
// a directory of its own, which goes when the group is gone.
type belongings struct {
	vars    map[string]string
	dir     string // empty: there are no files
	confirm string // the file that says so; empty: nothing is to be confirmed

	mu   sync.Mutex
	gone bool // under mu: removed
}

// belong makes what s needs.
func (r *Runner) belong(s app.Start) (*belongings, error) {
	b := &belongings{vars: map[string]string{}}
	if r.NATS == nil && !s.Provisional {
		return b, nil
	}
	if err := b.fill(r, s); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

func (b *belongings) fill(r *Runner, s app.Start) error {
	var err error
	if b.dir, err = os.MkdirTemp(r.Files, "start-"); err == nil { // mode 0700
		b.dir, err = filepath.Abs(b.dir)
	}
	if err != nil {
		return fmt.Errorf("files of the start: %w", err)
	}
	if s.Provisional {
		b.confirm = filepath.Join(b.dir, "confirmed")
		b.vars[envConfirmed] = b.confirm
	}
	if r.NATS == nil {
		return nil
	}
	n, err := r.NATS(s, b.dir)
	if err != nil {
		return err
	}
	b.vars[envNATSURL], b.vars[envNATSInbox] = n.URL, n.Inbox
	b.vars[envNATSCreds], b.vars[envNATSCA] = n.Creds, n.CA
	b.vars[envNATSCert], b.vars[envNATSKey] = n.Cert, n.Key
	return nil
}

// confirmed lets the command see that its epoch is the owner's. It is a file,
// since that can be looked at from any language, at any time, by any process of
// the group.
func (b *belongings) confirmed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.confirm == "" || b.gone {
		return nil
	}
	f, err := os.OpenFile(b.confirm, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (b *belongings) remove() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // what stays is removed by the next life of the node
	}
}
