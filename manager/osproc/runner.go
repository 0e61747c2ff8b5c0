package osproc

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/manager/app"
	"github.com/seed7529eb29/regent/manager/samehost"
)

// ErrNoMain says that this program didn't call Main, which a Runner needs on
// Linux: the child would run the program once more instead of the command.
var ErrNoMain = errors.New("osproc.Main was not called at the start of this program")

// ErrNoCommand says that a Command is empty.
var ErrNoCommand = errors.New("no command")

// Command is what to run for an app, and how to end it.
type Command struct {
	// Args is the program and its arguments. A program without a slash is
	// looked up in the PATH of the command's environment, a relative one with a
	// slash begins at Dir.
	Args []string
	// Env is added to the environment of this process.
	Env map[string]string
	// Dir is the working directory; empty means that of this process.
	Dir string
	// StopSignal asks the group to end (see Signal). 0 means SIGTERM.
	StopSignal syscall.Signal
	// StopTimeout is the time from the stop signal to SIGKILL. 0 is none.
	StopTimeout time.Duration
}

// Ledger is told of every process group, so that somebody else can end the
// group if this process can't: the list of package samehost, the warden, or
// both. Its methods may be called by any goroutine.
type Ledger interface {
	// Add returns nil when everybody who must know the group knows it. With an
	// error the command is not executed.
	Add(group samehost.Group) error
	// Remove says that the group is confirmed gone, or never was executed.
	Remove(group samehost.Group)
}

// Cradle gives every child a place of its own from its first moment, in which
// all that it ever starts stays: a cgroup. To move a process there later takes
// milliseconds.
type Cradle interface {
	// Open makes a place and opens its directory; nil: there are none. The ledger
	// removes the place of a group that it is told is gone.
	Open() *os.File
}

var _ Ledger = (*samehost.Groups)(nil)

// Runner starts instances of one command. It implements app.Runner.
type Runner struct {
	Command Command
	// Ledger must be set.
	Ledger Ledger
	// Nursery, if not nil, has processes ready for starts, and their places.
	Nursery *Nursery
	// Files is a directory in which every start has one of its own for what it
	// is given as files. It must exist; empty means that for temporary files.
	Files string
	// NATS writes what a start needs to connect to NATS into dir, with mode
	// 0600. nil: commands are given nothing of the kind.
	NATS func(s app.Start, dir string) (NATS, error)
	// Output is called for every line that the command prints, one call at a
	// time per stream. It must not block: the command would, with its next
	// line. nil drops the output.
	Output func(Line)
}

var _ app.Runner = (*Runner)(nil)

// Start implements app.Runner. The error of a failed start wraps fs.ErrNotExist
// or fs.ErrPermission where the program or the directory is missing or can't be
// used, and names it.
func (r *Runner) Start(s app.Start) app.Instance {
	i := newInstance(r, s)
	go i.live()
	return i
}
