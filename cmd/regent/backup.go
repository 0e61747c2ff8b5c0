package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/kv"
	"github.com/seed7529eb29/regent/policy"
)

// backup is the file of backup and restore.
type backup struct {
	Schema   int         `json:"schema"` // 1
	Cluster  string      `json:"cluster"`
	Taken    time.Time   `json:"taken"`
	Identity string      `json:"identity"` // of the bucket
	Keys     []backupKey `json:"keys"`
}

// backupKey has its value as JSON, or in base64 where it is none.
type backupKey struct {
	Key      string          `json:"key"`
	Revision uint64          `json:"revision"`
	Value    json.RawMessage `json:"value,omitempty"`
	Raw      []byte          `json:"raw,omitempty"`
}

func newBackup() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the cluster's records into a file",
		Long: `Writes what the cluster keeps in its bucket into a file: who owns which app, the
highest epoch of each, permissions that were made to last, the specification. It
needs a quorum and disturbs nothing. The file, mode 0600, holds no secret but
what an app handed over when it stopped. FILE is replaced as a whole, or not at
all; - is standard output.`,
		Example: `  regent backup cluster.json
  regent backup - --server nats://nats.example:4222 --creds keeper.creds > cluster.json`,
		Args: arguments(false, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keeperError("backup", t.backup(cmd, args[0]))
		},
	}
	t.bind(cmd)
	return cmd
}

func (t *target) backup(cmd *cobra.Command, file string) error {
	store, done, err := t.bucket(cmd)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), quorumMax, errNoQuorum)
	defer cancel()
	entries, err := persistent(ctx, func() ([]kv.Entry, error) { return store.Entries(ctx) })
	if err != nil {
		return err
	}
	b := backup{Schema: 1, Cluster: t.cluster, Taken: time.Now().UTC().Truncate(time.Millisecond), Identity: string(store.Identity())}
	for _, e := range entries {
		k := backupKey{Key: e.Key, Revision: uint64(e.Revision)}
		if json.Valid(e.Value) {
			k.Value = e.Value
		} else {
			k.Raw = e.Value
		}
		b.Keys = append(b.Keys, k)
	}
	if file == "-" {
		return writeBackup(cmd.OutOrStdout(), b)
	}
	if err := saveBackup(file, b); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %d keys of cluster %s\n", file, len(b.Keys), b.Cluster)
	return err
}

func writeBackup(w io.Writer, b backup) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

// saveBackup puts a whole file in the place of an older one.
func saveBackup(file string, b backup) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = errors.Join(writeBackup(f, b), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func newRestore() *cobra.Command {
	var t target
	var dry bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring back records from a backup, without ever lowering an epoch",
		Long: `Brings back what a backup has and the cluster does not: records of apps,
permissions that were made to last, the specification. The nodes run meanwhile,
best before their apps are started.

It takes nothing back. An app that has a record keeps its owner, and the higher
of both epochs counts. Sessions of nodes are not restored: they are lives.`,
		Example: `  regent restore cluster.json --dry-run
  regent restore cluster.json`,
		Args: arguments(false, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keeperError("restore", t.restore(cmd, args[0], dry))
		},
	}
	t.bind(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	return cmd
}

func (t *target) restore(cmd *cobra.Command, file string, dry bool) error {
	entries, err := t.readBackup(file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	store, done, err := t.bucket(cmd)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), quorumMax, errNoQuorum)
	defer cancel()
	// What was written is found again by the next attempt, and kept.
	restored, err := persistent(ctx, func() ([]kv.Restored, error) { return store.Restore(ctx, entries, dry) })
	if err != nil {
		return err
	}
	for _, r := range restored {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-24s  %s\n", r.Key, r.What); err != nil {
			return err
		}
		if r.Warning != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "regent: warning:", oneLine(r.Warning))
		}
	}
	return nil
}

// readBackup checks the whole file before anything is written.
func (t *target) readBackup(file string, in io.Reader) ([]kv.Entry, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("restore", "%w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	var b backup
	d := json.NewDecoder(in)
	if err := d.Decode(&b); err != nil {
		return nil, usage("restore", "%s is not a backup: %w", file, err)
	}
	switch {
	case b.Schema != 1:
		return nil, usage("restore", "%s is not a backup that this version reads: schema %d, expected 1", file, b.Schema)
	case b.Cluster != t.cluster:
		e := usage("restore", "%s is a backup of cluster %q, not of %q", file, b.Cluster, t.cluster)
		e.Hint = fmt.Sprintf("say which cluster is meant: --cluster %s", b.Cluster)
		return nil, e
	}
	var entries []kv.Entry
	for _, k := range b.Keys {
		if k.Key == "" || len(k.Value) == 0 && len(k.Raw) == 0 {
			return nil, usage("restore", "%s is damaged: a key without name or value", file)
		}
		entries = append(entries, kv.Entry{Key: k.Key, Revision: policy.Revision(k.Revision), Value: compact(k)})
	}
	return entries, nil
}

// compact is a value as it was stored: people, and this program, indent files.
func compact(k backupKey) []byte {
	if len(k.Raw) > 0 {
		return k.Raw
	}
	text, err := json.Marshal(k.Value)
	if err != nil {
		return k.Value
	}
	return text
}

// bucket opens the cluster's bucket for those who keep it.
func (t *target) bucket(cmd *cobra.Command) (*kv.Store, func(), error) {
	l, err := t.dial(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), quorumMax, errNoQuorum)
	defer cancel()
	s, err := kv.Bind(ctx, l.nc, kv.Options{Cluster: string(l.cluster), APIPrefix: l.apiPrefix, Node: clientName, WaitFor: reachMax})
	if err != nil {
		l.close()
		return nil, nil, err
	}
	return s, l.close, nil
}

// persistent goes on as long as only the servers are in the way.
func persistent[T any](ctx context.Context, try func() (T, error)) (T, error) {
	for {
		got, err := try()
		if !transient(err) || !pause(ctx, againPause) {
			return got, err
		}
	}
}

// keeperError gives the failure of a command that reads or writes the bucket
// its exit code.
func keeperError(what string, err error) error {
	if _, ok := errors.AsType[*ExitError](err); ok || err == nil {
		return err
	}
	e := &ExitError{Code: exitFailed, What: what, Err: err, Hint: kv.Hint(err)}
	switch {
	case errors.Is(err, kv.ErrNoRights), errors.Is(err, kv.ErrOtherCookie):
		e.Code = exitRefused
	case transient(err), errors.Is(err, kv.ErrNoBucket), errors.Is(err, context.DeadlineExceeded):
		e.Code = exitNoCluster
	}
	return e
}
