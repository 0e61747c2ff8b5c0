package warden

import (
	"log/slog"
	"time"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// Options are what a Client is made of. All but Cgroup and Required are needed.
type Options struct {
	Life   Life
	Groups *samehost.Groups // the list that other processes of this host read
	Renew  time.Duration    // how long a warden may be silent, and starts may wait for one
	Late   time.Duration    // how late a timer may be
	Log    *slog.Logger

	// Required refuses to start apps as long as there is no warden. Otherwise
	// they start after Renew, with the lease and the kernel's timer alone.
	Required bool
	// Cgroup names the directory, below the agent's own cgroup, in which each
	// app gets a cgroup, where that is allowed. Empty: none.
	Cgroup string
}
