package proc

import (
	"errors"
	"fmt"
	"strings"
)

// Reason is why a process ended, or why it seems to have (OTP: the exit
// reason).
type Reason string

// Reasons with a meaning of their own. Any other text may be one.
const (
	Normal       Reason = "normal"       // the function returned without an error; ends nobody who is linked
	Shutdown     Reason = "shutdown"     // the node is stopping, or somebody asked for it
	Kill         Reason = "kill"         // can't be trapped; those linked see Killed
	Killed       Reason = "killed"       //
	NoProc       Reason = "noproc"       // there is no such process
	NoConnection Reason = "noconnection" // the node is gone or can't be reached: its processes may be alive
	MailboxFull  Reason = "mailbox_full" // see FullExit
)

const reasonMax = 1024 // bytes

// reasonOf is the reason of a process whose function returned err.
func reasonOf(err error) Reason {
	if err == nil {
		return Normal
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Reason
	}
	return cleanReason(Reason(err.Error()))
}

// cleanReason makes any text a reason: one line of bounded length.
func cleanReason(r Reason) Reason {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(r), "\uFFFD"))
	if len(s) > reasonMax {
		s = strings.ToValidUTF8(s[:reasonMax], "")
	}
	if s = strings.TrimSpace(s); s == "" {
		return "unknown"
	}
	return Reason(s)
}

// ExitError says that a process has ended. A function that returns one ends
// with that reason; it is the cause of the context of a process that was told
// to end, and the error of a call whose process ended before it answered.
type ExitError struct{ Reason Reason }

func (e *ExitError) Error() string { return "exit: " + string(e.Reason) }

// Is lets errors.Is find the sentinels of the reasons that have one.
func (e *ExitError) Is(target error) bool {
	switch target {
	case ErrNoProc:
		return e.Reason == NoProc
	case ErrNoConnection:
		return e.Reason == NoConnection
	}
	return false
}

// Errors of a System, beside *ExitError.
var (
	// ErrNoProc: there is no such process. Nothing was done.
	ErrNoProc = errors.New("no such process")

	// ErrNoFunction: the node has no function of that name. Nothing was done.
	ErrNoFunction = errors.New("no such function")

	// ErrNoConnection: the node can't be reached, or the connection ended
	// before the answer came: then it may have been done or not.
	ErrNoConnection = errors.New("no connection to the node")

	// ErrNotAllowed: Allow has listed nodes, here or there, and this is none of
	// them.
	ErrNotAllowed = errors.New("disallowed node")

	// ErrNewer: the other node speaks a newer version and doesn't understand
	// this one's.
	ErrNewer = errors.New("the nodes speak different versions")

	// ErrTooLarge: the payload is larger than a message may be. Nothing was
	// sent.
	ErrTooLarge = errors.New("payload too large")

	// ErrMailboxFull: the mailbox of the process is full. Nothing was done.
	ErrMailboxFull = errors.New("mailbox full")

	// ErrPayload: a payload can't be encoded or decoded.
	ErrPayload = errors.New("payload")

	// ErrNameTaken: the name is registered already.
	ErrNameTaken = errors.New("name already registered")

	// ErrNotRegistered: nobody has the name.
	ErrNotRegistered = errors.New("name not registered")

	// ErrClosed: the system has ended.
	ErrClosed = errors.New("the node has ended")
)

// RemoteError is an error that a function returned, or that a reply carried.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// failure is how an error of the other side crosses the wire.
type failure byte

const (
	failNone failure = iota
	failExit         // the process ended; the text is the reason
	failNoFunction
	failMailbox
	failError // the function's own
)

func (f failure) error(text string) error {
	switch f {
	case failNone:
		return nil
	case failExit:
		return &ExitError{Reason(text)}
	case failNoFunction:
		return fmt.Errorf("%w: %s", ErrNoFunction, text)
	case failMailbox:
		return ErrMailboxFull
	}
	return &RemoteError{text}
}
