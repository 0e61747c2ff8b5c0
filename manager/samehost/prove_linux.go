package samehost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

// Prove reports whether the life of a node is over: its agent and every process
// group on its list are gone. True stays true. False without an error means
// that something is alive; an error wraps ErrNoProof and says why it can't be
// known from here.
func Prove(rec policy.SessionRecord) (gone bool, err error) {
	groups, gone, err := leftBehind(rec)
	if err != nil || !gone {
		return false, err
	}
	if watched(groups) {
		return false, nil
	}
	for _, g := range groups {
		alive, err := g.Alive()
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrNoProof, err)
		}
		if alive {
			return false, nil
		}
	}
	return true, nil
}

// AgentGone reports whether the agent itself is gone, whatever it left behind.
func AgentGone(rec policy.SessionRecord) (bool, error) {
	if err := visible(rec); err != nil {
		return false, err
	}
	alive, err := agentAlive(rec)
	return err == nil && !alive, err
}

// KillLeftovers sends SIGKILL to the process groups that a dead agent left
// behind, and returns how many living processes they had. It kills nothing
// while the agent lives, and nothing that it can't recognize; an error says so.
// Whether they are gone is for Prove to say. The agent's warden is at the same
// work, and quicker, as long as it is there and executes: mercy says what it is
// left to.
func KillLeftovers(rec policy.SessionRecord, mercy Mercy) (killed int, err error) {
	groups, _, err := leftBehind(rec)
	if err != nil {
		return 0, err
	}
	if mercy == LeaveToWarden && watched(groups) {
		return 0, nil
	}
	var errs []error
	for _, g := range groups {
		if g.App == "" && mercy != SpareNobody {
			continue
		}
		n, err := g.Kill(rec.Session)
		killed += n
		errs = append(errs, err)
	}
	return killed, errors.Join(errs...)
}

// EndFormer ends what a former life of a node has left, by that life's list, and
// returns how many living processes there were. It is for who holds that node's
// data directory and starts a new life in it, which is why no record is needed:
// the agent is gone, whatever has become of its lease. Nil means that nothing of
// the list is alive any more; an error, that something is, that it was not
// recognized, or that the list can't be read.
func EndFormer(list, node string, limit time.Duration) (killed int, err error) {
	groups, err := ReadGroups(list)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, g := range groups {
		if g.App == "" {
			continue // the warden ends by itself
		}
		n, err := g.kill("REGENT_NODE", node)
		killed += n
		if err == nil {
			err = g.awaitEnd(limit)
		}
		errs = append(errs, err)
	}
	return killed, errors.Join(errs...)
}

// awaitEnd waits until a group that was killed is gone.
func (g Group) awaitEnd(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		alive, err := g.Alive()
		switch {
		case err != nil:
			return err
		case !alive:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("process group %d of app %q is alive %v after SIGKILL", g.PGID, g.App, limit)
		}
	}
}

// watched reports whether the dead agent's warden is alive, which is a look at
// one process and not at all of the host's.
func watched(groups []Group) bool {
	for _, g := range groups {
		if g.App != "" {
			continue
		}
		if p, err := Find(g.PGID); err == nil && p.StartTime == g.StartTime && !p.Gone() {
			return true
		}
	}
	return false
}

// leftBehind lists the groups of a dead agent, those known to be gone left out.
// The agent is looked at first: once it is gone the list can't grow.
func leftBehind(rec policy.SessionRecord) (groups []Group, dead bool, err error) {
	if err := visible(rec); err != nil {
		return nil, false, err
	}
	alive, err := agentAlive(rec)
	if err != nil || alive {
		return nil, false, err
	}
	groups, err = ReadGroups(rec.Groups)
	return groups, err == nil, err
}

// visible makes sure that the processes of the record would be seen from here
// if there were any.
func visible(rec policy.SessionRecord) error {
	here, err := Host()
	switch {
	case err != nil:
		return err
	case rec.Host != here:
		return fmt.Errorf("%w: node %q lived on another host or in another PID namespace", ErrNoProof, rec.Node)
	case rec.UID != os.Getuid():
		return fmt.Errorf("%w: node %q ran as user %d", ErrNoProof, rec.Node, rec.UID)
	case rec.PID <= 0 || rec.StartTime == 0 || rec.Groups == "":
		return fmt.Errorf("%w: the record of node %q names no process", ErrNoProof, rec.Node)
	}
	return nil
}

func agentAlive(rec policy.SessionRecord) (bool, error) {
	p, err := Find(rec.PID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	return p.StartTime == rec.StartTime && !p.Gone(), nil
}
