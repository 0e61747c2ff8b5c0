package warden

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/manager/samehost"
)

// kill sends SIGKILL to the group, and to what has left the group for a session
// of its own but not its cgroup. The agent keeps a group's number taken until
// the group has gone, so a leader of another start time means that it has.
func (g group) kill() {
	leader, err := samehost.Find(g.PGID)
	if err == nil && leader.StartTime == g.Start || errors.Is(err, fs.ErrNotExist) {
		_ = unix.Kill(-g.PGID, unix.SIGKILL)
	}
	g.Cgroup.Kill()
}

// gone reports whether nothing of the group is alive. It follows a kill. What
// can't be looked at is alive.
//
// A cgroup holds all that the app ever started, so that its word is enough. To
// look through the process table costs milliseconds on a host with many
// processes; once is enough, since what has a SIGKILL pending doesn't fork.
func (g group) gone() bool {
	if g.Cgroup != "" {
		return g.Cgroup.Empty()
	}
	if errors.Is(unix.Kill(-g.PGID, 0), unix.ESRCH) {
		return true
	}
	if leader, err := samehost.Find(g.PGID); err == nil && leader.StartTime != g.Start {
		return true
	}
	members, err := samehost.Members(g.PGID)
	return err == nil && len(members) == 0
}
