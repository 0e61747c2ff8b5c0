package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/seed7529eb29/regent/policy"
)

// Entry is one key of the bucket as a backup has it.
type Entry struct {
	Key      string
	Revision policy.Revision
	Value    []byte
}

// Entries are all keys that a backup needs, sorted, as they were at one
// moment: read through the leader, like the snapshot of Watch. Keys that were
// deleted are left out, and so is what belongs to the bucket itself.
func (s *Store) Entries(ctx context.Context) ([]Entry, error) {
	l, _, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for subject, m := range l.messages {
		key := strings.TrimPrefix(subject, s.prefix)
		if key == identityKey || key == probeKey || removed(header(m.Header)) != "" {
			continue
		}
		all = append(all, Entry{key, m.Seq, m.Data})
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// Restored is what Restore did with one key.
type Restored struct {
	Key     string
	Changed bool
	What    string // in words
	Warning string // what should not be as it was found; usually empty
}

// restoreTries bounds the attempts at one key that others write too.
const restoreTries = 100

// Restore brings back what entries say and the bucket does not know, and takes
// nothing back: the record of an app that exists keeps its owner, and the
// highest epoch of both counts. Sessions are lives and are not restored. plan
// says what would be done, and nothing is done.
func (s *Store) Restore(ctx context.Context, entries []Entry, plan bool) ([]Restored, error) {
	var all []Restored
	for _, e := range entries {
		r, err := s.restore(ctx, e, plan)
		if err != nil {
			return all, fmt.Errorf("restore %s: %w", e.Key, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func (s *Store) restore(ctx context.Context, e Entry, plan bool) (Restored, error) {
	key, cell := keyOf(e.Key)
	switch {
	case e.Key == identityKey || e.Key == probeKey:
		return Restored{Key: e.Key, What: "left alone: it is the bucket's own"}, nil
	case cell && key.Kind == policy.KeyNode:
		return Restored{Key: e.Key, What: "left alone: a session is one life of a node"}, nil
	case cell && key.Kind == policy.KeyApp:
		return s.restoreApp(ctx, key, e, plan)
	}
	return s.restoreValue(ctx, e, plan)
}

// restoreValue writes a key that is not there.
func (s *Store) restoreValue(ctx context.Context, e Entry, plan bool) (Restored, error) {
	value, rev, err := s.ReadKey(ctx, e.Key)
	switch {
	case err != nil:
		return Restored{}, err
	case value != nil:
		return Restored{Key: e.Key, What: "kept: the cluster has one"}, nil
	case plan:
		return Restored{Key: e.Key, Changed: true, What: "written"}, nil
	}
	_, outcome, err := s.CASKey(ctx, e.Key, e.Value, rev, uuid.NewString())
	switch outcome {
	case policy.OutcomeOK:
		return Restored{Key: e.Key, Changed: true, What: "written"}, nil
	case policy.OutcomeRefused:
		return Restored{Key: e.Key, What: "kept: the cluster has one"}, nil
	}
	return Restored{}, err
}

// restoreApp lets epochs go on above those of the backup.
func (s *Store) restoreApp(ctx context.Context, key policy.Key, e Entry, plan bool) (Restored, error) {
	old := decode(key, e.Revision, e.Value)
	if old.App == nil {
		return Restored{Key: e.Key, What: "left alone: damaged in the backup", Warning: "the backup's record of " + key.Name + " is damaged: " + old.Damaged}, nil
	}
	high := highest(old.App)
	for range restoreTries {
		now, err := s.Read(ctx, key)
		if err != nil {
			return Restored{}, err
		}
		next, r := restoredApp(now, old.App, high)
		if !r.Changed || plan {
			return r, nil
		}
		_, outcome, err := s.CAS(ctx, policy.Write{Cell: next, Expect: now.Rev, ID: uuid.NewString()})
		switch outcome {
		case policy.OutcomeOK:
			return r, nil
		case policy.OutcomeUnknown:
			return Restored{}, err
		}
	}
	return Restored{}, errors.New("its record changes faster than it can be written")
}

// highest is the highest epoch that a record has ever given.
func highest(r *policy.AppRecord) policy.Epoch {
	return max(r.High, r.Owner.Epoch, r.Next.Epoch, r.Prev.Epoch)
}

// restoredApp is what becomes of a record; only with Changed it is written.
func restoredApp(now policy.Cell, old *policy.AppRecord, high policy.Epoch) (policy.Cell, Restored) {
	r := Restored{Key: now.Key.String()}
	switch {
	case now.App != nil && highest(now.App) >= high:
		r.What = fmt.Sprintf("kept: its epochs are at %d, in the backup at %d", highest(now.App), high)
		return now, r
	case now.App != nil:
		rec := *now.App
		rec.High = high
		r.Changed, r.What = true, fmt.Sprintf("epochs go on above %d instead of %d", high, highest(now.App))
		if rec.Owner.Node != "" && rec.Owner.Epoch < high {
			r.Warning = fmt.Sprintf("%s runs at %s with epoch %d, below the %d of the backup: stop it and start it again", old.App, rec.Owner.Node, rec.Owner.Epoch, high)
		}
		return policy.Cell{Key: now.Key, App: &rec}, r
	case !now.Absent():
		r.What, r.Warning = "left alone: damaged", fmt.Sprintf("the record of %s is damaged (%s): its nodes mend it, restore again afterwards", old.App, now.Damaged)
		return now, r
	}
	r.Changed, r.What = true, fmt.Sprintf("written: nobody runs it, its epochs go on above %d", high)
	return policy.Cell{Key: now.Key, App: &policy.AppRecord{
		App: old.App, High: high, Want: old.Want, Pinned: old.Pinned, Since: old.Since, Payload: old.Payload, From: old.From,
	}}, r
}
