package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed7529eb29/regent/policy"
)

// Past calls each with the revisions of the apps' records that the bucket still
// keeps, oldest first, read through the stream's leader, until there are no more
// or each returns an error, which Past returns.
func (s *Store) Past(ctx context.Context, each func(policy.Cell) error) error {
	for next := policy.Revision(1); ; {
		msg, err := s.api.get(ctx, s.stream, getRequest{Next: s.prefix + string(policy.KeyApp) + ".>", Seq: next})
		switch {
		case errors.Is(err, errNoMessage):
			return nil
		case err != nil:
			return fmt.Errorf("read past records: %w", err)
		}
		next = msg.Seq + 1
		if key, ok := keyOf(strings.TrimPrefix(msg.Subject, s.prefix)); ok {
			if err := each(cellOf(key, msg)); err != nil {
				return err
			}
		}
	}
}
