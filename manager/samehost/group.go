package samehost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed7529eb29/regent/policy"
)

// ErrNoProof is wrapped by every error that means: it can't be known from here.
var ErrNoProof = errors.New("no same-host proof")

// Group is one process group that a node started. Its number is the pid of its
// first process, the leader.
type Group struct {
	App       policy.App // empty: not an app's (the warden's)
	PGID      int
	StartTime uint64 // of the leader, in clock ticks after boot
	Cgroup    Cgroup // holds all that the group ever started; empty: none does
}

// Mercy is what KillLeftovers leaves to the warden of a dead agent.
type Mercy int

// Mercies, in the order of a host's patience.
const (
	LeaveToWarden Mercy = iota // everything, as long as it is there
	SpareWarden                // its own life: it may be standing still, and groups may not wait for it
	SpareNobody                // nothing: it is killed, too
)

// Cgroup is the directory of a cgroup of version 2 in which nothing is but one
// group and what has left that group for a process session of its own.
type Cgroup string

// noApp stands for an empty app; an app's name begins with a letter.
const noApp = "-"

func (g Group) line(verb byte) string {
	app := string(g.App)
	if app == "" {
		app = noApp
	}
	line := fmt.Sprintf("%c %d %d %s", verb, g.PGID, g.StartTime, app)
	if g.Cgroup != "" {
		line += " " + strconv.Quote(string(g.Cgroup))
	}
	return line + "\n"
}

var errLine = errors.New("not a line of a groups file")

// parseLine is the inverse of line, without the newline.
func parseLine(s string) (verb byte, g Group, err error) {
	f := strings.SplitN(s, " ", 5)
	if len(f) < 4 || f[0] != string(lineAdd) && f[0] != string(lineGone) {
		return 0, Group{}, fmt.Errorf("%w: %q", errLine, s)
	}
	pgid, errPGID := strconv.Atoi(f[1])
	start, errStart := strconv.ParseUint(f[2], 10, 64)
	g = Group{App: policy.App(f[3]), PGID: pgid, StartTime: start}
	if len(f) == 5 {
		dir, err := strconv.Unquote(f[4])
		if err != nil {
			return 0, Group{}, fmt.Errorf("%w: %q", errLine, s)
		}
		g.Cgroup = Cgroup(dir)
	}
	if f[3] == noApp {
		g.App = ""
	} else if _, err := policy.ParseApp(f[3]); err != nil {
		return 0, Group{}, fmt.Errorf("%w: %q: %w", errLine, s, err)
	}
	// 0 would be the reader's own group and 1 is init: neither was ever started
	// by a node, and both must never get near a kill.
	if errPGID != nil || errStart != nil || pgid <= 1 || g.line(f[0][0]) != s+"\n" {
		return 0, Group{}, fmt.Errorf("%w: %q", errLine, s)
	}
	return f[0][0], g, nil
}
