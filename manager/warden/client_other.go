//go:build !linux

package warden

import (
	"errors"
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

// Settle does nothing.
func (c *Client) Settle(*os.File, int) {}

// Leave does nothing.
func (c *Client) Leave(int) {}

// Arm does nothing.
func (c *Client) Arm(time.Duration) {}

// Close does nothing.
func (c *Client) Close() {}

// Cgroups says why no app of this process could be put in a cgroup of its own.
func Cgroups() error { return errors.New("there are cgroups on Linux only") }
