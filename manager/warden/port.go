package warden

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
)

// Certifier reaches the cluster for a warden.
type Certifier interface {
	// Certify makes the records say that the life is over, if they still name
	// it as live. nil means that they say so, or that they name another life:
	// either way there is nothing left to say. The caller has confirmed that
	// the agent and all its groups are gone. Errors are those of ctx.
	Certify(ctx context.Context) error
	// Renew takes what Life.Reach would be now: the credentials have changed. It
	// is not called once Certify is.
	Renew(reach json.RawMessage) error
	// Close gives the connection back.
	Close()
}

// Connect makes the Certifier of a life. It returns at once and connects in the
// background, so that the connection is there when it is needed.
type Connect func(Life, *slog.Logger) (Certifier, error)

// ErrNone is the error of a start that needs a warden where there is none.
var ErrNone = errors.New("no warden")
