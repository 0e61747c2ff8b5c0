package samehost

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/policy"
)

// Self is this process.
func Self() (Process, error) { return Find(os.Getpid()) }

// Find looks a process up. The error wraps fs.ErrNotExist when there is none,
// not even a zombie.
func Find(pid int) (Process, error) {
	p, err := find(pid)
	if errors.Is(err, unix.ESRCH) { // it ended between the opening and the reading
		err = fs.ErrNotExist
	}
	if err != nil {
		return Process{}, fmt.Errorf("find process %d: %w", pid, err)
	}
	return p, nil
}

// statMax holds the fields of /proc/PID/stat that are of interest: the command,
// of at most 64 bytes, and 21 numbers.
const statMax = 1024

// find reads with bare system calls, since it is done for every process of the
// host before an instance is called gone, and hand-overs wait for that.
func find(pid int) (Process, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Process{}, err
	}
	var content [statMax]byte
	n, err := unix.Read(fd, content[:])
	_ = unix.Close(fd)
	if err != nil {
		return Process{}, err
	}
	return parseStat(string(content[:n]))
}

// Members lists the processes of a group that are not gone.
//
// A process may fork while the list is made, and a child with a lower pid may be
// overlooked. So an empty list is proof only of a group that was killed before
// as a whole: what has a SIGKILL pending doesn't fork.
func Members(pgid int) ([]Process, error) {
	pids, err := list()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var members []Process
	for _, pid := range pids {
		p, err := Find(pid)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case p.PGID == pgid && !p.Gone():
			members = append(members, p)
		}
	}
	return members, nil
}

// list is the pids of all processes.
func list() (pids []int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// Alive reports whether anything of the group is alive. When it says false,
// nothing is, and never will be again.
func (g Group) Alive() (bool, error) {
	if !g.Cgroup.Empty() {
		return true, nil
	}
	members, err := g.members()
	if err != nil || len(members) > 0 {
		return true, err
	}
	if errors.Is(unix.Kill(-g.PGID, 0), unix.ESRCH) {
		return false, nil
	}
	// Zombies only, so it seems; a child forked behind the eyes of the first
	// look has its pid for good and is seen by the second.
	members, err = g.members()
	return len(members) > 0 || err != nil, err
}

// members lists what is alive of the recorded group: none if its number was
// given to another process since, which needs the group to be gone.
func (g Group) members() ([]Process, error) {
	if leader, err := Find(g.PGID); err == nil && leader.StartTime != g.StartTime {
		return nil, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return Members(g.PGID)
}

// Kill sends SIGKILL to the group if it is certain that it is this one: its
// leader has the recorded start time, or a member has the session in its
// environment. What has left the group goes with it if there is a cgroup. It
// returns the number of processes that were alive in the group.
func (g Group) Kill(session policy.Session) (killed int, err error) {
	return g.kill("REGENT_SESSION", string(session))
}

// kill is Kill with any variable of the environment that members are known by.
func (g Group) kill(variable, value string) (killed int, err error) {
	g.Cgroup.Kill()
	members, err := g.members()
	if err != nil || len(members) == 0 {
		return 0, err
	}
	if !g.recognized(members, variable, value) {
		return 0, fmt.Errorf("%w: process group %d has %d processes that can't be recognized as those of app %q",
			ErrNoProof, g.PGID, len(members), g.App)
	}
	if err := unix.Kill(-g.PGID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, fmt.Errorf("kill process group %d of app %q: %w", g.PGID, g.App, err)
	}
	return len(members), nil
}

func (g Group) recognized(members []Process, variable, value string) bool {
	if leader, err := Find(g.PGID); err == nil {
		return leader.StartTime == g.StartTime
	}
	for _, p := range members {
		if value != "" && hasEnv(p.PID, variable+"="+value) {
			return true
		}
	}
	return false
}

// hasEnv looks into the environment that a process was started with.
func hasEnv(pid int, variable string) bool {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(content, []byte{0}) {
		if string(v) == variable {
			return true
		}
	}
	return false
}

// checkTable makes sure that /proc shows the processes of this PID namespace,
// and not only those of this user.
func checkTable() error {
	self, err := os.Readlink("/proc/self")
	switch {
	case err != nil:
		return fmt.Errorf("%w: /proc: %w", ErrNoProof, err)
	case self != strconv.Itoa(os.Getpid()):
		return fmt.Errorf("%w: /proc is that of another PID namespace", ErrNoProof)
	}
	if _, err := Find(1); err != nil {
		return fmt.Errorf("%w: /proc hides processes: %w", ErrNoProof, err)
	}
	return nil
}

// checkTime refuses a time namespace with an offset of its own: start times
// read outside of it differ, and a living process would look like another.
func checkTime() error {
	content, err := os.ReadFile("/proc/self/timens_offsets")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without time namespaces
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	for line := range strings.Lines(string(content)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "boottime" && (f[1] != "0" || f[2] != "0") {
			return fmt.Errorf("%w: this process is in a time namespace", ErrNoProof)
		}
	}
	return nil
}
