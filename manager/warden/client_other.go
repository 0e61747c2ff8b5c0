//go:build !linux

package warden

import (
	"encoding/json"
	"os"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// Client is nil on this system, and does nothing.
type Client struct{}

// Start returns nil: there are no wardens on this system. With
// Options.Required that is ErrNone.
func Start(o Options) (*Client, error) {
	if o.Required {
		return nil, ErrNone
	}
	return nil, nil
}

// Add is never called.
func (c *Client) Add(samehost.Group) error { return ErrNone }

// Remove is never called.
func (c *Client) Remove(samehost.Group) {}

// Open makes no place.
func (c *Client) Open() *os.File { return nil }

// Arm does nothing.
func (c *Client) Arm(time.Duration) {}

// Renew does nothing.
func (c *Client) Renew(json.RawMessage) {}

// Close does nothing.
func (c *Client) Close() {}

// RemoveCgroups does nothing.
func RemoveCgroups(string) {}
