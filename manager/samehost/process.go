package samehost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Process is what the process table says of one process at one moment.
type Process struct {
	PID       int
	PGID      int
	StartTime uint64 // in clock ticks after boot
	State     byte   // a letter of proc(5), Z for a zombie
	Threads   int
}

// Gone reports whether the process executes nothing any more. A zombie with
// more than one thread is a process whose first thread has ended before the
// others.
func (p Process) Gone() bool {
	return (p.State == 'Z' || p.State == 'X') && p.Threads <= 1
}

var errStat = errors.New("not the content of /proc/PID/stat")

// Fields of /proc/PID/stat after the command, whose number in proc(5) is 3 more.
const (
	statState     = 0
	statPGID      = 2
	statThreads   = 17
	statStartTime = 19
)

// parseStat reads the content of /proc/PID/stat. The command in it is in
// parentheses and may contain anything, parentheses and blanks included, so
// what counts is the last closing one.
func parseStat(s string) (Process, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return Process{}, fmt.Errorf("%w: %q", errStat, s)
	}
	f := strings.Fields(s[end+1:])
	if len(f) <= statStartTime || len(f[statState]) != 1 || !isLetter(f[statState][0]) {
		return Process{}, fmt.Errorf("%w: %q", errStat, s)
	}
	p := Process{State: f[statState][0]}
	var errs [4]error
	p.PID, errs[0] = strconv.Atoi(strings.TrimSpace(s[:open]))
	p.PGID, errs[1] = strconv.Atoi(f[statPGID])
	p.Threads, errs[2] = strconv.Atoi(f[statThreads])
	p.StartTime, errs[3] = strconv.ParseUint(f[statStartTime], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return Process{}, fmt.Errorf("%w: %q: %w", errStat, s, err)
	}
	return p, nil
}

func isLetter(b byte) bool { return 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' }
