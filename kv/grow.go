package kv

import (
	"context"
	"fmt"
)

// Grow gives the bucket, and the event stream beside it, the replicas of
// Options where they have fewer: the number of voters was raised. It fails with
// ErrTooFewServers as long as the new ones are not there; repeating it does no
// harm.
func (s *Store) Grow(ctx context.Context) error {
	for _, stream := range []string{s.stream, ledgerOf(s).stream} {
		info, err := s.api.info(ctx, stream, "")
		if err != nil {
			return fmt.Errorf("grow %s: %w", stream, err)
		}
		if info.Config.Replicas >= s.opts.Replicas {
			continue
		}
		next := info.Config
		next.Replicas = s.opts.Replicas
		var resp struct{}
		if err := s.api.call(ctx, "STREAM.UPDATE."+stream, next, &resp); err != nil {
			return fmt.Errorf("grow %s: %w", stream, err)
		}
	}
	return nil
}
